//! Virtual time, and a caller's turns in it.

use std::num::NonZeroU32;

/// The length of one turn of a caller of weight 1. A turn of weight w takes SCALE / w, with a rounding error below one
/// part in four million. 128 bits hold 2^96 turns, more than any queue can serve.
const SCALE: u128 = 1 << 32;

/// A point in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::ledger) struct Tag(u128);

/// The turns of a caller that always has a waiter: the next one, and then one at each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct Turns {
    next: Tag,
    step: u128,
}

impl Tag {
    pub(super) fn just_after(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Turns {
    pub(super) fn new(next: Tag, weight: NonZeroU32) -> Self {
        Self { next, step: SCALE / u128::from(weight.get()) }
    }

    pub(in crate::ledger) fn next(self) -> Tag {
        self.next
    }

    /// The tag of the turn after this number of turns.
    pub(in crate::ledger) fn after(self, turns: usize) -> Tag {
        Tag(self.next.0 + turns as u128 * self.step)
    }

    /// Uses one turn.
    pub(in crate::ledger) fn take(&mut self) {
        self.next = self.after(1);
    }

    /// How many of these turns come before `tag`.
    pub(super) fn before(self, tag: Tag) -> usize {
        let turns = tag.0.saturating_sub(self.next.0).div_ceil(self.step);
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
                assert_eq!(turns.before(tag), count);
                assert_eq!(turns.before(tag.just_after()), count + 1);
            }
        }
    }
}
