//! Whole numbers from 0, as Zoho counts them: in a signed 64-bit long.

/// Whether `text` is ASCII digits and nothing else, and fits Zoho's long.
///
/// Reads integers only. Through a float, record numbers beyond 2^53 would come out as their neighbours.
pub(super) fn is_long(text: &str) -> bool {
    // Digits first: the standard parser also takes a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_long_when_it_sees_one() {
        for good in ["0", "7", "007", "588882000000212025", "9007199254740993", "9223372036854775807"] {
            assert!(is_long(good), "{good}");
        }
        for bad in ["", "+1", "-1", "-0", "1.0", "1e3", " 1", "1 ", "0x1", "1_000", "９", "٣", "9223372036854775808"]
        {
            assert!(!is_long(bad), "{bad}");
        }
    }
}
