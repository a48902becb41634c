//! Grammar rules that heads and bodies share.

use memchr::memchr;

/// Whether a token may have this byte (RFC 9110 section 5.6.2).
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a URI may have this byte without further checks.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/?&=%-._~:@!$'()*+,;[]".contains(&byte)
}

/// The value without the spaces and tabs around it (RFC 9110 section 5.6.3). `trim_ascii` would also remove a bare CR.
pub(super) fn trim_blanks(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let begin = value.iter().take_while(is_blank).count();
    let end = value[begin..].iter().rev().take_while(is_blank).count();
    &value[begin..value.len() - end]
}

/// Whether it is a name, an IPv4 address or an IPv6 address in brackets, perhaps with a port; or empty (RFC 3986
/// section 3.2.2).
pub(super) fn is_host(value: &[u8]) -> bool {
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let in_brackets = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
    let port = match value {
        [b'[', rest @ ..] => {
            let Some(end) = memchr(b']', rest).filter(|end| rest[..*end].iter().all(in_brackets)) else { return false };
            &rest[end + 1..]
        }
        _ => {
            let (name, port) = value.split_at(memchr(b':', value).unwrap_or(value.len()));
            let mut labels = name.strip_suffix(b".").unwrap_or(name).split(|byte| *byte == b'.');
            if !name.iter().all(in_name) || !value.is_empty() && labels.any(<[u8]>::is_empty) {
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
