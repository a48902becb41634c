//! Characters and small rules that a head and the parts of a body have in common.

use memchr::memchr;

/// RFC 9110 section 5.6.2.
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What stands in a URI without further thought.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/?&=%-._~:@!$'()*+,;[]".contains(&byte)
}

/// Without the blanks and tabs around it (RFC 9110 section 5.6.3): `trim_ascii` would take away a bare CR as well.
pub(super) fn without_blanks(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let begin = value.iter().take_while(is_blank).count();
    let end = value[begin..].iter().rev().take_while(is_blank).count();
    &value[begin..value.len() - end]
}

/// A name, an IPv4 address, or an IPv6 address in brackets; perhaps with a port; or nothing (RFC 3986 section 3.2.2).
pub(super) fn is_host(value: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let in_brackets = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
    let port = match value {
        [b'[', rest @ ..] => {
            let Some(end) = memchr(b']', rest).filter(|end| rest[..*end].iter().all(in_brackets)) else { return false };
            &rest[end + 1..]
        }
        _ => {
            let (name, port) = value.split_at(memchr(b':', value).unwrap_or(value.len()));
            let mut labels = name.strip_suffix(b".").unwrap_or(name).split(|byte| *byte == b'.');
            if !name.iter().all(fits) || !value.is_empty() && labels.any(<[u8]>::is_empty) {
                return false;
            }
            port
        }
    };
    match port {
        [] | [b':'] => true,
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
        }
        _ => false,
    }
}
