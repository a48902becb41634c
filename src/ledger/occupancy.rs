//! The slots in use of answered or lost calls, by when they come free.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// How many different moments are stored. A threshold of up to this many calls is exact. With a greater one, moments
/// are rounded up to multiples of a grain, so that a day's 25,000 calls, or a test's million, take no more memory than
/// this.
const MOMENTS: u32 = 1024;

/// How many slots come free at which moment.
#[derive(Debug, Clone)]
pub(super) struct Occupancy {
    /// Earliest first.
    ends: VecDeque<End>,
    /// How many slots are in use, including those that came free since the last [`expire`](Self::expire).
    pub(super) total: u32,
    /// The moments are multiples of the grain, counted from this one.
    origin: Instant,
    /// In nanoseconds.
    grain: u64,
}

/// Packed, because there may be very many routes: 12 bytes and not 16, or 24 with an [`Instant`].
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed(4))]
struct End {
    /// In nanoseconds since the origin.
    at: u64,
    slots: u32,
}

impl Occupancy {
    /// No slot in use yet, of a threshold of `requests` whose slots are in use for at most `longest`.
    pub(super) fn new(requests: u32, longest: Duration, now: Instant) -> Self {
        let grain = if requests > MOMENTS { nanoseconds(longest / MOMENTS).max(1) } else { 1 };
        Self { ends: VecDeque::new(), total: 0, origin: now, grain }
    }

    /// Marks `slots` as in use until `at`.
    pub(super) fn occupy(&mut self, at: Instant, slots: u32) {
        if slots == 0 {
            return;
        }
        let at = self.since_origin(at).div_ceil(self.grain).saturating_mul(self.grain);
        self.total = self.total.saturating_add(slots);
        // All but lost calls belong at the end.
        let before = self.ends.iter().rposition(|end| end.at <= at);
        match before.and_then(|before| self.ends.get_mut(before)) {
            Some(end) if end.at == at => end.slots = end.slots.saturating_add(slots),
            _ => self.ends.insert(before.map_or(0, |before| before + 1), End { at, slots }),
        }
    }

    /// Removes the slots that have come free by now.
    pub(super) fn expire(&mut self, now: Instant) {
        let now = self.since_origin(now);
        while let Some(end) = self.ends.pop_front_if(|end| end.at <= now) {
            self.total -= end.slots;
        }
    }

    /// How many slots come free at which moment, earliest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Instant, u32)> {
        self.ends.iter().map(|end| (self.moment(*end), end.slots))
    }

    /// When the next slot comes free after `before` others.
    pub(super) fn nth(&self, before: u32) -> Option<Instant> {
        let mut passed = 0;
        let end = self.ends.iter().find(|end| {
            passed += end.slots;
            passed > before
        });
        end.map(|end| self.moment(*end))
    }

    /// How many slots are still in use after this moment.
    pub(super) fn count_after(&self, at: Instant) -> u32 {
        let at = self.since_origin(at);
        let over: u32 = self.ends.iter().take_while(|end| end.at <= at).map(|end| end.slots).sum();
        self.total.saturating_sub(over)
    }

    fn moment(&self, end: End) -> Instant {
        self.origin + Duration::from_nanos(end.at)
    }

    fn since_origin(&self, at: Instant) -> u64 {
        nanoseconds(at.saturating_duration_since(self.origin))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn small_thresholds_are_exact_and_in_order() {
        let now = clock::now();
        let mut occupancy = Occupancy::new(30, second(65), now);
        for at in [5, 9, 7, 7, 1] {
            occupancy.occupy(now + second(at), 1);
        }
        let moments: Vec<_> = occupancy.iter().map(|(at, slots)| ((at - now).as_secs(), slots)).collect();
        assert_eq!(moments, [(1, 1), (5, 1), (7, 2), (9, 1)]);
        let nth: Vec<_> = (0..6).map(|n| occupancy.nth(n).map(|at| (at - now).as_secs())).collect();
        assert_eq!(nth, [Some(1), Some(5), Some(7), Some(7), Some(9), None]);
        occupancy.expire(now + second(7));
        assert_eq!((occupancy.total, occupancy.iter().count()), (1, 1));
    }

    #[test]
    fn a_days_calls_are_rounded_up_in_bounded_memory() {
        let (now, day) = (clock::now(), second(24 * 3600));
        let mut occupancy = Occupancy::new(25_000, day, now);
        for call in 0..25_000 {
            let at = now + second(3) * call + day;
            occupancy.occupy(at, 1);
            let (kept, _) = occupancy.iter().last().unwrap();
            assert!(kept >= at && kept - at <= day / MOMENTS, "{:?}", kept - at);
            occupancy.expire(now + second(3) * call);
        }
        assert_eq!(occupancy.total, 25_000);
        assert!(occupancy.iter().count() <= MOMENTS as usize + 1, "{}", occupancy.iter().count());
        occupancy.expire(now + day + second(3) * 25_000 + day / MOMENTS);
        assert_eq!(occupancy.total, 0);
    }
}
