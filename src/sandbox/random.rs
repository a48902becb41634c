//! Random numbers, for delays and for unique tokens.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// A xorshift64* generator. The numbers need not be unguessable, only different from run to run; that does not justify
/// another dependency.
pub(super) struct Random(u64);

impl Random {
    /// Starts at a number from the operating system: std seeds its hash maps with one, and the hash of nothing reveals
    /// it. A xorshift must not start at zero, where it would stay.
    pub(super) fn seeded() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    /// A duration between zero and `most`, both included.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        // An f64 represents 53 bits exactly.
        let all = (1_u64 << 53) - 1;
        most.mul_f64((self.next() >> 11) as f64 / all as f64)
    }

    /// Thirty-two hexadecimal digits. Each call differs: a xorshift produces every number once before it repeats.
    pub(super) fn hex(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_the_delay() {
        let mut random = Random::seeded();
        let most = Duration::from_millis(500);
        let drawn: Vec<_> = (0..1000).map(|_| random.up_to(most)).collect();
        assert!(drawn.iter().all(|delay| *delay <= most));
        assert!(drawn.iter().any(|delay| *delay < most / 4));
        assert!(drawn.iter().any(|delay| *delay > most / 4 * 3));
    }
}
