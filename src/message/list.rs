//! Comma-separated list fields (RFC 9110 section 5.6.1).

use http::{HeaderMap, header::AsHeaderName};

/// What quotes mean inside a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// Members have quoted strings: a comma inside does not separate, and a backslash escapes the next character.
    Strings,
    /// Members are entity tags: a comma inside quotes does not separate, and a backslash is a character like others.
    Tags,
    /// Members are tokens: quotes mean nothing, and every comma separates.
    Tokens,
}

/// The members of all lines of a field, without empty ones. A line with other bytes than visible ASCII is ignored.
pub fn members(headers: &HeaderMap, name: impl AsHeaderName, quotes: Quotes) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(move |line| split(line.as_bytes(), quotes)).filter_map(|member| str::from_utf8(member).ok())
}

/// The members of one line, without empty ones.
pub fn split(line: &[u8], quotes: Quotes) -> impl Iterator<Item = &[u8]> + Clone {
    let (mut inside, mut escaped) = (false, false);
    let members = line.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside && quotes == Quotes::Strings => escaped = true,
            b'"' if quotes != Quotes::Tokens => inside = !inside,
            b',' => return !inside,
            _ => {}
        }
        false
    });
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_inside_quotes_do_not_separate() {
        for (line, quotes, expected) in [
            ("a, b=1 ,,c", Quotes::Strings, vec!["a", "b=1", "c"]),
            (r#"a="x, y", b"#, Quotes::Strings, vec![r#"a="x, y""#, "b"]),
            (r#"a="x\", y", b"#, Quotes::Strings, vec![r#"a="x\", y""#, "b"]),
            (r#""x\", "y""#, Quotes::Tags, vec![r#""x\""#, r#""y""#]),
            (r#"a="x, y", b"#, Quotes::Tokens, vec![r#"a="x"#, r#"y""#, "b"]),
            ("", Quotes::Tags, vec![]),
        ] {
            let headers = HeaderMap::from_iter([(http::header::VARY, line.parse().unwrap())]);
            assert_eq!(members(&headers, http::header::VARY, quotes).collect::<Vec<_>>(), expected, "{line}");
        }
    }
}
