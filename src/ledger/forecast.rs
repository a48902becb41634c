//! When a bucket could serve a caller that has so many others before it.

use std::time::Duration;

use tokio::time::Instant;

use super::occupancy::Occupancy;

/// A bucket's future, if nobody leaves the queue and answers take as long as usual.
#[derive(Debug)]
pub(super) struct Forecast {
    /// From here on calls may go.
    pub(super) opens: Instant,
    /// At first one goes alone and this long passes before the next.
    pub(super) alone: Option<Duration>,
    pub(super) requests: u32,
    /// Slots free already.
    pub(super) free: u32,
    /// How many of the others have come free by when, earliest first.
    pub(super) moments: Vec<(u32, Instant)>,
    /// From sending a call until its slot is free again.
    pub(super) generation: Duration,
    /// Where calls are spread: when the next may go, and how long after it the one behind.
    pub(super) pace: Option<(Instant, Duration)>,
}

impl Forecast {
    /// How many slots have come free by when, of the charges and the calls on their way that are left once `surplus` of
    /// them have come free: until then more are charged than the threshold has.
    pub(super) fn moments(occupancy: &Occupancy, unanswered: (Instant, u32), surplus: u32) -> Vec<(u32, Instant)> {
        let before = occupancy.iter().take_while(|(at, _)| *at <= unanswered.0);
        let after = occupancy.iter().skip_while(|(at, _)| *at <= unanswered.0);
        let mut passed = 0u32;
        let counted = before.chain([unanswered]).chain(after).map(|(at, slots)| {
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

    /// Slots come free in one order again and again, a generation apart.
    fn by_slots(&self, ahead: u32) -> Instant {
        let (slot, generations) = (ahead % self.requests, ahead / self.requests);
        let head = self.comes_free(0).max(self.opens);
        let first = if slot == 0 {
            head
        } else {
            // One that is charged for longer, after a lost call, is passed by those that come round again.
            self.comes_free(slot).max(head + self.alone.unwrap_or_default()).min(head + self.generation)
        };
        first + self.generation.saturating_mul(generations)
    }

    fn comes_free(&self, slot: u32) -> Instant {
        let Some(behind) = slot.checked_sub(self.free) else { return self.opens };
        let known = self.moments.partition_point(|(count, _)| *count <= behind);
        self.moments.get(known).map_or(self.opens, |(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        ledger::{Denied, Grant, Window, tests::threshold_of},
        os::clock,
        zoho::catalogue::{Pace, Threshold},
    };

    const CALLERS: usize = 60;

    /// One thing that happened to the bucket, and how long after the one before it.
    #[derive(Debug, Clone, Copy)]
    enum Recovered {
        Executed,
        Unread,
        Unanswered,
        Lost,
        Locked,
    }

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// A bucket with a past, the calls on their way, and now.
    fn window(requests: u32, pace: Pace, trip: u64, past: &[(u64, Recovered)]) -> (Window, Vec<Grant>, Instant) {
        let mut now = clock::now();
        let threshold = Threshold { lock: micros(100_000), ..threshold_of(requests, micros(1_000_000), pace) };
        let mut window = Window::new(threshold, now);
        let mut unanswered = Vec::new();
        for &(later, past) in past {
            now += micros(later);
            let Ok(grant) = window.take(now) else { continue };
            match past {
                Recovered::Unanswered => unanswered.push(grant),
                Recovered::Lost => window.lost(now, grant),
                Recovered::Executed | Recovered::Unread | Recovered::Locked => {
                    let sent = now;
                    now += micros(trip);
                    window.answered(now, sent);
                    match past {
                        Recovered::Executed => window.executed(grant),
                        Recovered::Locked => drop(window.locked(now, None)),
                        _ => window.unread(grant),
                    }
                }
            }
        }
        (window, unanswered, now)
    }

    /// When callers who wait for nothing but the bucket are served, one by one, each answer taking the usual time.
    fn simulated(mut window: Window, unanswered: Vec<Grant>, mut now: Instant) -> Vec<Instant> {
        let trip = window.usual_round_trip();
        let mut on_their_way: Vec<_> = unanswered.into_iter().map(|grant| (now + trip, now, grant)).collect();
        let mut served = Vec::new();
        while served.len() < CALLERS {
            on_their_way.retain(|&(at, sent, grant)| {
                if at <= now {
                    window.answered(at, sent);
                    window.executed(grant);
                }
                at > now
            });
            let next = on_their_way.iter().map(|(at, ..)| *at).min();
            match window.take(now) {
                Ok(grant) => {
                    served.push(now);
                    on_their_way.push((now + trip, now, grant));
                }
                Err(Denied::Until(at)) => now = next.map_or(at, |next| next.min(at)),
                Err(Denied::Unanswered) => now = next.expect("an answer comes"),
            }
        }
        served
    }

    /// A call was still on its way when a lock came that outlasts its window many times. Its slot was forecast free only a
    /// window after the lock's end, and whoever could not wait that long was turned away, though it could have been
    /// served at the lock's end.
    #[test]
    fn a_lock_outlasts_the_calls_on_their_way() {
        let (mut window, _, now) = window(2, Pace::Burst, 1, &[(0, Recovered::Unanswered), (0, Recovered::Executed)]);
        let until = window.locked(now, Some(micros(9_000_000))).unwrap();
        let forecast = window.forecast(now);
        assert_eq!(forecast.at(0), until);
        assert_eq!(forecast.at(1), until + micros(1), "when it is known how the first one went");
    }

    fn past(kinds: &'static [Recovered]) -> impl Strategy<Value = Vec<(u64, Recovered)>> {
        vec((0..400_000u64, prop::sample::select(kinds)), 0..12)
    }

    proptest! {
        #[test]
        fn is_exact_when_all_are_answered(
            requests in 1..6u32, trip in 0..300_000u64,
            past in past(&[Recovered::Executed, Recovered::Executed, Recovered::Unread, Recovered::Locked]),
        ) {
            let (mut window, unanswered, now) = window(requests, Pace::Burst, trip, &past);
            let forecast = window.forecast(now);
            for (ahead, at) in simulated(window, unanswered, now).into_iter().enumerate() {
                prop_assert_eq!(forecast.at(ahead) - now, at - now, "{} ahead", ahead);
            }
        }

        /// So nobody is turned away who could have been served.
        #[test]
        fn is_never_later_than_it_comes(
            requests in 1..6u32, trip in 0..300_000u64, smooth in any::<bool>(),
            past in past(&[Recovered::Executed, Recovered::Unread, Recovered::Unanswered, Recovered::Lost, Recovered::Locked]),
        ) {
            let pace = if smooth { Pace::Smooth } else { Pace::Burst };
            let (mut window, unanswered, now) = window(requests, pace, trip, &past);
            let forecast = window.forecast(now);
            for (ahead, at) in simulated(window, unanswered, now).into_iter().enumerate() {
                let later = forecast.at(ahead).saturating_duration_since(at);
                prop_assert!(later <= Duration::from_nanos(CALLERS as u64), "{ahead} ahead: {later:?} too late");
            }
        }
    }
}
