//! Random numbers, the same for the same seed.

#[derive(Debug, Clone)]
pub(in crate::ledger) struct Random(u64);

impl Random {
    pub(in crate::ledger) fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed.wrapping_add(1)) | 1)
    }

    /// 0 to `bound` - 1; 0 if `bound` is 0.
    pub(in crate::ledger) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if bound == 0 { 0 } else { (self.0 >> 8) % bound }
    }

    pub(in crate::ledger) fn in_a_thousand(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }
}
