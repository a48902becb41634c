//! Bytes in hexadecimal digits.

use std::fmt::Write;

/// Two lower-case digits for each byte. The text is written once, so that no part of a secret is left behind by growing.
#[must_use]
pub fn lower(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_two_digits_for_each_byte() {
        assert_eq!(lower(&[0, 0x0a, 0xff]), "000aff");
        assert_eq!(lower(&[]), "");
    }
}
