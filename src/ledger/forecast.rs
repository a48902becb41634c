//! When a bucket could serve a caller that has so many others before it.

use std::time::Duration;

use tokio::time::Instant;

use super::charges::Charges;

/// A bucket's future, if nobody leaves the queue and answers take as long as usual.
#[derive(Debug)]
pub(super) struct Forecast {
    /// From here on calls may go.
    pub(super) opens: Instant,
    /// At first one goes alone and this long passes before the next.
    pub(super) alone: Option<Duration>,
    pub(super) requests: u32,
    /// Slots free from `opens` on.
    pub(super) free: u32,
    /// How many slots have come free by when, earliest first.
    pub(super) moments: Vec<(u32, Instant)>,
    /// From sending a call until its slot is free again.
    pub(super) generation: Duration,
    /// Where calls are spread: when the next may go, and how long after it the one behind.
    pub(super) pace: Option<(Instant, Duration)>,
}

impl Forecast {
    /// How many slots have come free by when, of the charges that are left once `surplus` of them have come free: until
    /// then more are charged than the threshold has.
    pub(super) fn moments(charges: &Charges, surplus: u32) -> Vec<(u32, Instant)> {
        let mut passed = 0u32;
        let counted = charges.iter().map(|(at, slots)| {
            passed = passed.saturating_add(slots);
            (passed.saturating_sub(surplus), at)
        });
        counted.filter(|(count, _)| *count > 0).collect()
    }

    /// When the caller is served that has `ahead` others before it.
    pub(super) fn at(&self, ahead: usize) -> Instant {
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        let by_slots = self.by_slots(ahead);
        self.pace.map_or(by_slots, |(next, interval)| by_slots.max(next + interval.saturating_mul(ahead)))
    }

    fn by_slots(&self, ahead: u32) -> Instant {
        let alone = self.alone.filter(|_| ahead > 0).unwrap_or_default();
        let opens = self.opens + alone;
        let Some(behind) = ahead.checked_sub(self.free) else { return opens };
        // Slots come free in this order again and again, one generation apart; those in flight come last.
        let (slot, generations) = (behind % self.requests, behind / self.requests);
        let known = self.moments.partition_point(|(count, _)| *count <= slot);
        let first = self.moments.get(known).map_or(self.opens + self.generation, |(_, at)| *at);
        first.max(opens) + self.generation.saturating_mul(generations)
    }
}
