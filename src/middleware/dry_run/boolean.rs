//! A boolean item of a structured field (RFC 8941 section 3.3.6): `?1`, `?0`, with parameters that mean nothing to us.

/// The boolean, if the field's value is one by the grammar of section 4.2.
pub(super) fn parse(value: &[u8]) -> Option<bool> {
    let (boolean, parameters) = match trimmed(value) {
        [b'?', b'1', rest @ ..] => (true, rest),
        [b'?', b'0', rest @ ..] => (false, rest),
        _ => return None,
    };
    are_parameters(parameters).then_some(boolean)
}

/// Without the spaces around it. Tabs are none of the grammar's.
fn trimmed(value: &[u8]) -> &[u8] {
    let start = spaces(value);
    let end = value[start..].iter().rev().take_while(|&&byte| byte == b' ').count();
    &value[start..value.len() - end]
}

fn spaces(text: &[u8]) -> usize {
    text.iter().take_while(|&&byte| byte == b' ').count()
}

/// `;key`, `;key=item`, any number of times.
fn are_parameters(mut rest: &[u8]) -> bool {
    while let Some(after) = rest.strip_prefix(b";") {
        let after = &after[spaces(after)..];
        let in_key = |byte: &&u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*');
        let length = after.iter().take_while(in_key).count();
        if !matches!(after.first(), Some(b'a'..=b'z' | b'*')) {
            return false;
        }
        rest = &after[length..];
        if let Some(item) = rest.strip_prefix(b"=") {
            let Some(length) = bare_item(item) else { return false };
            rest = &item[length..];
        }
    }
    rest.is_empty()
}

/// How long the bare item is that `text` begins with (section 3.3).
fn bare_item(text: &[u8]) -> Option<usize> {
    match *text.first()? {
        b'?' => matches!(text.get(1), Some(b'0' | b'1')).then_some(2),
        b'"' => string(text),
        b':' => {
            let inside = text[1..].iter().position(|&byte| byte == b':')?;
            let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
            text[1..=inside].iter().all(base64).then_some(inside + 2)
        }
        b'-' | b'0'..=b'9' => number(text),
        b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
            let in_token = |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(byte);
            Some(text.iter().take_while(in_token).count())
        }
        _ => None,
    }
}

fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                if !matches!(text.get(at + 1), Some(b'"' | b'\\')) {
                    return None;
                }
                at += 2;
            }
            b' '..=b'~' => at += 1,
            _ => return None,
        }
    }
}

/// An integer of up to 15 digits, or a decimal of up to 12 with up to 3 after the point.
fn number(text: &[u8]) -> Option<usize> {
    let sign = usize::from(text.starts_with(b"-"));
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(&text[sign..]);
    let rest = &text[sign + whole..];
    if !rest.starts_with(b".") {
        return (1..=15).contains(&whole).then_some(sign + whole);
    }
    let fraction = digits(&rest[1..]);
    ((1..=12).contains(&whole) && (1..=3).contains(&fraction)).then_some(sign + whole + 1 + fraction)
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
    fn stops_in_the_midst_of_nothing() {
        let whole = b"?1;x=-1.5;y=\"a\\\"b\";z=:YQ==:;v=?0;w=t";
        for end in 0..whole.len() {
            // Never a panic, whatever is cut off.
            let _ = parse(&whole[..end]);
        }
    }
}
