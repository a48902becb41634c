//! The parts of a `multipart/form-data` body (RFC 7578, RFC 2046 section 5.1).
//!
//! The bytes of a file are only counted. A body that does not follow the grammar is left to Zoho: its parts are unknown.

use memchr::memmem;

use super::content::Value;

/// A part.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) value: Value<'a>,
}

/// All parts; `None` if the body is not complete, or a part has no name.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let delimiter = format!("\r\n--{boundary}");
    let first = delimiter.trim_start().as_bytes();
    // The first delimiter may follow a preamble, or begin the body.
    let mut rest = match body.strip_prefix(first) {
        Some(rest) => rest,
        None => &body[memmem::find(body, delimiter.as_bytes())? + delimiter.len()..],
    };
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let line_end = memmem::find(rest, b"\r\n")?;
        let after = &rest[line_end..];
        let end = memmem::find(after, delimiter.as_bytes())?;
        // A part without fields begins with the empty line itself.
        let (fields, content) = split_at(&after[..end], b"\r\n\r\n")?;
        parts.push(part(std::str::from_utf8(fields).ok()?, content)?);
        rest = &after[end + delimiter.len()..];
    }
    Some(parts)
}

fn part<'a>(fields: &str, content: &'a [u8]) -> Option<Part<'a>> {
    let mut lines = fields.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, disposition) = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
    let name = parameter(disposition, "name")?;
    let is_file = disposition.to_ascii_lowercase().contains("filename");
    let value = match std::str::from_utf8(content) {
        Ok(text) if !is_file => Value::Text(text.into()),
        _ => Value::File(content.len()),
    };
    Some(Part { name, value })
}

/// A parameter of `Content-Disposition` (RFC 6266): a quoted string, as browsers and clients write it, or a token.
fn parameter(disposition: &str, wanted: &str) -> Option<String> {
    let mut rest = disposition.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(';').map_or((after, ""), |(value, left)| (value, left)),
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.trim_end().to_owned());
        }
        rest = left.trim_start().trim_start_matches(';');
    }
}

fn split_at<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memmem::find(text, separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<Vec<(String, String)>> {
        let show = |part: Part<'_>| {
            let value = match part.value {
                Value::Text(text) => text.into_owned(),
                Value::File(size) => format!("{size} bytes"),
                other => format!("{other:?}"),
            };
            (part.name, value)
        };
        Some(parts(body.replace('\n', "\r\n").as_bytes(), "X")?.into_iter().map(show).collect())
    }

    #[test]
    fn reads_fields_and_files() {
        let body = "preamble\n--X\nContent-Disposition: form-data; name=\"a b\"\n\nx\ny\n--X \n\
                    content-disposition: form-data; filename=\"na;me=1.txt\"; name=f\nContent-Type: text/plain\n\n\
                    12345\n--X--\nepilogue";
        let expected = [("a b", "x\r\ny"), ("f", "5 bytes")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(body).unwrap(), expected);
        assert_eq!(read("--X--").unwrap(), []);
    }

    #[test]
    fn leaves_what_it_cannot_read() {
        for body in [
            "",
            "--X",
            "--Y\n",
            "--X\nContent-Disposition: form-data; name=\"a\"\n\nx",
            "--X\nContent-Disposition: form-data\n\nx\n--X--",
            "--X\nContent-Type: text/plain\n\nx\n--X--",
            "--X\nx\n--X--",
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }
}
