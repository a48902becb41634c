//! Paths that all servers read in the same way.

use percent_encoding::percent_decode_str;

/// A path with decoded segments, to be matched against templates.
#[derive(Debug, PartialEq, Eq)]
pub struct Path(String);

/// Why Zoho could serve another call than the gateway matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// `//`
    #[error("has two slashes in a row, which servers read differently")]
    EmptySegment,
    /// `.` or `..`, encoded or not.
    #[error("has a dot segment; send the path without it")]
    DotSegment,
    /// `%2F`, `\`, `%5C`
    #[error("has a slash or backslash inside a segment")]
    SlashInSegment,
    /// `;`, `%3B`
    #[error("has a semicolon; some servers cut a segment there")]
    Semicolon,
    /// `%zz`
    #[error("has a broken percent-encoding; write % as %25")]
    BrokenEncoding,
    /// `%252e`
    #[error("is percent-encoded twice")]
    EncodedTwice,
    /// `%00`, `%0A`
    #[error("has a control character")]
    ControlCharacter,
    /// `%ff`
    #[error("is not UTF-8 after percent-decoding")]
    NotUtf8,
}

impl Path {
    /// Decodes a path. Ignores a trailing slash, because Zoho may ignore it too.
    ///
    /// # Errors
    /// [`PathFault`], for a path that two servers could read differently.
    pub fn parse(path: &str) -> Result<Self, PathFault> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut decoded = String::with_capacity(path.len() + 1);
        if path.is_empty() {
            return Ok(Self("/".into()));
        }
        for raw in path.split('/') {
            decoded.push('/');
            decoded.push_str(&segment(raw)?);
        }
        Ok(Self(decoded))
    }

    /// `/api/v1/courses/1/share`
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn segment(raw: &str) -> Result<std::borrow::Cow<'_, str>, PathFault> {
    if raw.is_empty() {
        return Err(PathFault::EmptySegment);
    }
    if broken_encoding(raw) {
        return Err(PathFault::BrokenEncoding);
    }
    let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| PathFault::NotUtf8)?;
    if decoded.contains(['/', '\\']) {
        return Err(PathFault::SlashInSegment);
    }
    // Also an encoded one: a proxy may decode it, and then a server cuts the segment there.
    if decoded.contains(';') {
        return Err(PathFault::Semicolon);
    }
    if decoded.chars().any(char::is_control) {
        return Err(PathFault::ControlCharacter);
    }
    if matches!(&*decoded, "." | "..") {
        return Err(PathFault::DotSegment);
    }
    if decoded.contains('%') && !broken_encoding(&decoded) {
        return Err(PathFault::EncodedTwice);
    }
    Ok(decoded)
}

fn broken_encoding(text: &str) -> bool {
    let mut rest = text.split('%').skip(1);
    rest.any(|after| !after.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_unambiguous_paths() {
        for (path, expected) in [
            ("/", "/"),
            ("/api/v1/courses/1/share", "/api/v1/courses/1/share"),
            ("/api/v1/courses/1/share/", "/api/v1/courses/1/share"),
            ("/api/v1/courses/1/%73hare", "/api/v1/courses/1/share"),
            ("/a%20b/%C3%A9", "/a b/é"),
            ("/100%25", "/100%"),
        ] {
            assert_eq!(Path::parse(path).as_ref().map(Path::as_str), Ok(expected), "{path}");
        }
    }

    #[test]
    fn rejects_what_two_servers_could_read_differently() {
        for (path, fault) in [
            ("/api//share", PathFault::EmptySegment),
            ("//api", PathFault::EmptySegment),
            ("/api/share//", PathFault::EmptySegment),
            ("/api/../share", PathFault::DotSegment),
            ("/api/./share", PathFault::DotSegment),
            ("/api/%2e%2E/share", PathFault::DotSegment),
            ("/api/.%2e/share", PathFault::DotSegment),
            ("/api%2Fshare", PathFault::SlashInSegment),
            ("/api\\share", PathFault::SlashInSegment),
            ("/api%5cshare", PathFault::SlashInSegment),
            ("/api/share;x=1", PathFault::Semicolon),
            ("/api/share%3Bx=1", PathFault::Semicolon),
            ("/api/share%3bx=1", PathFault::Semicolon),
            ("/api/%zz", PathFault::BrokenEncoding),
            ("/api/%2", PathFault::BrokenEncoding),
            ("/api/%", PathFault::BrokenEncoding),
            ("/api/%252e%252e", PathFault::EncodedTwice),
            ("/api/%00", PathFault::ControlCharacter),
            ("/api/%0a", PathFault::ControlCharacter),
            ("/api/%ff", PathFault::NotUtf8),
            ("/api/%c0%af", PathFault::NotUtf8),
        ] {
            assert_eq!(Path::parse(path), Err(fault), "{path}");
        }
    }
}
