//! Virtual time: when a caller's turns come.

use std::num::NonZeroU32;

/// One turn of a caller of weight 1. A turn of weight w takes SCALE / w, rounded by less than one part in four
/// millions; and 128 bits hold 2^96 turns, which no queue lives to see.
const SCALE: u128 = 1 << 32;

/// A point in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Tag(u128);

/// The turns of one caller that always has somebody waiting: the next one, and from there at even steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turns {
    next: Tag,
    step: u128,
}

/// Who goes first of two whose turns come at the same tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tie {
    First,
    Second,
}

impl Turns {
    pub(super) fn new(next: Tag, weight: NonZeroU32) -> Self {
        Self { next, step: SCALE / u128::from(weight.get()) }
    }

    pub(super) fn next(self) -> Tag {
        self.next
    }

    /// The tag of the turn after so many others.
    pub(super) fn after(self, turns: usize) -> Tag {
        Tag(self.next.0 + turns as u128 * self.step)
    }

    /// One turn is used.
    pub(super) fn take(&mut self) {
        self.next = self.after(1);
    }

    /// How many of these turns come before somebody else's at `tag`.
    pub(super) fn before(self, tag: Tag, tie: Tie) -> usize {
        let end = match tie {
            Tie::First => tag.0 + 1,
            Tie::Second => tag.0,
        };
        let turns = end.saturating_sub(self.next.0).div_ceil(self.step);
        usize::try_from(turns).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_turns_before_a_tag() {
        for (weight, offset) in [(1, 0), (2, 5), (3, 7), (1000, 1)] {
            let turns = Turns::new(Tag(offset), NonZeroU32::new(weight).unwrap());
            for count in 0..5 {
                let tag = turns.after(count);
                assert_eq!(turns.before(tag, Tie::Second), count);
                assert_eq!(turns.before(tag, Tie::First), count + 1);
                assert_eq!(turns.before(Tag(tag.0 + 1), Tie::Second), count + 1);
            }
        }
    }
}
