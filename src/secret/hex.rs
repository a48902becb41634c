//! Bytes as hexadecimal digits.

use std::fmt::Write;

/// Two lower-case digits for each byte. The text is never reallocated, since that would leave parts of a secret in
/// memory.
#[must_use]
pub fn lower(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads exactly N pairs of digits, in upper or lower case.
#[must_use]
pub fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_two_digits_for_each_byte() {
        assert_eq!(lower(&[0, 0x0a, 0xff]), "000aff");
        assert_eq!(lower(&[]), "");
    }

    #[test]
    fn reads_only_what_it_writes() {
        assert_eq!(read("000aff"), Some([0, 0x0a, 0xff]));
        assert_eq!(read("0AfF"), Some([0x0a, 0xff]));
        assert_eq!(read(""), Some([]));
        for text in ["", "00", "00000", "0000000", "+00000", "00 000", "00000g", "0000\u{e9}", "\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(read::<3>(text), None, "{text}");
        }
    }
}
