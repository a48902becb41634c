//! The part of a login's limits that one of several gateways uses.

use std::{fmt, num::NonZeroU32, str::FromStr};

/// More gateways than any login has.
const MOST: u32 = 1000;

/// A part of a login's limits, at most the whole.
///
/// Gateways whose shares add up to at most the whole never exceed a limit together, because each rounds down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    numerator: u32,
    denominator: u32,
}

/// A text that is not a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a share such as \"1/3\": N/M with 1 <= N <= M <= {MOST}")]
pub struct ShareError;

impl Share {
    /// Everything: no other gateway uses the login.
    pub const WHOLE: Self = Self { numerator: 1, denominator: 1 };

    /// Whether it is everything.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.numerator == self.denominator
    }

    /// This part of a number, rounded down.
    #[must_use]
    pub fn part_of(self, number: u32) -> u32 {
        let part = u64::from(number) * u64::from(self.numerator) / u64::from(self.denominator);
        u32::try_from(part).expect("a share is at most the whole")
    }

    /// This part of a limit. It is at least 1, because a limit cannot be zero: the configuration rejects a share that
    /// [leaves nothing](Self::leaves_nothing_of) of a limit in use.
    #[must_use]
    pub fn of(self, limit: NonZeroU32) -> NonZeroU32 {
        NonZeroU32::new(self.part_of(limit.get())).unwrap_or(NonZeroU32::MIN)
    }

    /// Whether this part of a limit, rounded down, is zero.
    #[must_use]
    pub fn leaves_nothing_of(self, limit: NonZeroU32) -> bool {
        self.part_of(limit.get()) == 0
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (numerator, denominator) = text.split_once('/').ok_or(ShareError)?;
        let share = Self { numerator: number(numerator)?, denominator: number(denominator)? };
        let fits = 1 <= share.numerator && share.numerator <= share.denominator && share.denominator <= MOST;
        if fits { Ok(share) } else { Err(ShareError) }
    }
}

fn number(text: &str) -> Result<u32, ShareError> {
    let digits = text.trim_matches(' ');
    // `parse` alone would take a plus sign.
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits).ok_or(ShareError)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, shown) in [("1/3", "1/3"), (" 2 / 6 ", "2/6"), ("1/1", "1/1"), ("1000/1000", "1000/1000")] {
            let share: Share = text.parse().unwrap();
            assert_eq!(share.to_string(), shown, "{text}");
            assert_eq!(share.is_whole(), matches!(text, "1/1" | "1000/1000"), "{text}");
        }
        for text in [
            "",
            "/",
            "1",
            "1/",
            "/3",
            "0/3",
            "4/3",
            "1/0",
            "0/0",
            "1/1001",
            "-1/3",
            "+1/3",
            "1/+3",
            "1/3/4",
            "0.5",
            "50%",
            "1/3\n",
            "1/ 3 0",
            "\u{661}/3",
            "1:3",
            "1/99999999999999999999",
        ] {
            assert_eq!(text.parse::<Share>(), Err(ShareError), "{text:?}");
        }
    }

    #[test]
    fn rounds_down_and_keeps_a_limit_above_zero() {
        let parts = |text: &str, limit| {
            let (share, limit): (Share, _) = (text.parse().unwrap(), NonZeroU32::new(limit).unwrap());
            (share.part_of(limit.get()), share.of(limit).get(), share.leaves_nothing_of(limit))
        };
        assert_eq!(parts("1/3", 30), (10, 10, false));
        assert_eq!(parts("1/3", 10), (3, 3, false));
        assert_eq!(parts("2/3", 10), (6, 6, false));
        assert_eq!(parts("1/3", 3), (1, 1, false));
        assert_eq!(parts("1/3", 2), (0, 1, true));
        assert_eq!(parts("2/3", 1), (0, 1, true));
        assert_eq!(parts("999/1000", u32::MAX), (4_290_672_327, 4_290_672_327, false));
        assert_eq!(Share::WHOLE.of(NonZeroU32::MAX), NonZeroU32::MAX);
    }

    proptest! {
        /// The sum over all gateways never exceeds the limit.
        #[test]
        fn shares_of_one_whole_keep_within_the_limit(limit in 0..=u32::MAX, parts in prop::collection::vec(1..=50_u32, 1..20)) {
            let denominator: u32 = parts.iter().sum();
            let part = |numerator: &u32| u64::from(Share { numerator: *numerator, denominator }.part_of(limit));
            prop_assert!(parts.iter().map(part).sum::<u64>() <= u64::from(limit));
        }
    }
}
