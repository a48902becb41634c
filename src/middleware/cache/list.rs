//! The members of a list field (RFC 9110 section 5.6.1): parted by commas, but not by those inside quotes.

use http::{HeaderMap, HeaderName};

/// Whether a backslash inside quotes takes the meaning from the next character. It does in quoted strings, and does not
/// in entity tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    Strings,
    Tags,
}

/// Every member of every line of the field.
pub(super) fn members<'h>(headers: &'h HeaderMap, name: &HeaderName, quotes: Quotes) -> Vec<&'h str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| parted(line, quotes)).map(str::trim).filter(|member| !member.is_empty()).collect()
}

fn parted(line: &str, quotes: Quotes) -> Vec<&str> {
    let (mut inside, mut escaped) = (false, false);
    line.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if inside && quotes == Quotes::Strings => escaped = true,
            '"' => inside = !inside,
            ',' => return !inside,
            _ => {}
        }
        false
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_inside_quotes_part_nothing() {
        for (line, quotes, expected) in [
            ("a, b=1 ,,c", Quotes::Strings, vec!["a", "b=1", "c"]),
            (r#"a="x, y", b"#, Quotes::Strings, vec![r#"a="x, y""#, "b"]),
            (r#"a="x\", y", b"#, Quotes::Strings, vec![r#"a="x\", y""#, "b"]),
            (r#""x\", "y""#, Quotes::Tags, vec![r#""x\""#, r#""y""#]),
            ("", Quotes::Tags, vec![]),
        ] {
            assert_eq!(
                parted(line, quotes).into_iter().map(str::trim).filter(|member| !member.is_empty()).collect::<Vec<_>>(),
                expected,
                "{line}"
            );
        }
    }
}
