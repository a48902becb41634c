//! Random numbers, with a seed that a failure prints.

use std::hash::{BuildHasher, Hasher, RandomState};

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    /// Before the first number: what it was seeded with.
    pub(crate) fn seed(&self) -> u64 {
        self.0
    }

    /// 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
