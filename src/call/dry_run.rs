//! The field `Gateway-Dry-Run`: a boolean item of a structured field (RFC 9651 section 3.3.6), `?1` or `?0`, with any
//! parameters.

use http::{HeaderMap, HeaderValue};

const DRY_RUN: &str = "gateway-dry-run";

/// Whether these fields ask for a dry run. `None` if that cannot be told, so that nothing may be called by mistake.
#[must_use]
pub fn is_asked(headers: &HeaderMap) -> Option<bool> {
    let mut values = headers.get_all(DRY_RUN).iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (None, _) => Some(false),
        (Some(value), None) => parse(value),
        // Two fields make a list, not a boolean.
        (Some(_), Some(_)) => None,
    }
}

/// The boolean, if the field's value is one by the grammar of section 4.2.
fn parse(value: &[u8]) -> Option<bool> {
    sfv::Parser::new(value).parse_item::<bool>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_boolean_and_nothing_else() {
        for (value, expected) in [
            ("?1", Some(true)),
            ("?0", Some(false)),
            ("  ?1 ", Some(true)),
            ("?1;x", Some(true)),
            ("?1;x=1", Some(true)),
            ("?0; x=-1.5;y=\"a\\\"b;\";*z=tok/en;w=:YQ==:;v=?0", Some(false)),
            ("", None),
            ("1", None),
            ("true", None),
            ("?2", None),
            ("?10", None),
            ("? 1", None),
            ("\t?1", None),
            ("?1, ?1", None),
            ("?1,", None),
            ("(?1)", None),
            ("?1 ;x", None),
            ("?1;", None),
            ("?1;X", None),
            ("?1;x=", None),
            ("?1;x=1.2345", None),
            ("?1;x=1234567890123456", None),
            ("?1;x=\"open", None),
            ("?1;x=\"\\n\"", None),
            ("?1;x=:a b:", None),
            ("?1;x=?2", None),
            ("?1;x=é", None),
        ] {
            assert_eq!(parse(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn truncated_values_do_not_panic() {
        let whole = b"?1;x=-1.5;y=\"a\\\"b\";z=:YQ==:;v=?0;w=t";
        for end in 0..whole.len() {
            let _ = parse(&whole[..end]);
        }
    }
}
