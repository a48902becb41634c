//! When a window could serve a call that has a given number of others before it.

use std::time::Duration;

use tokio::time::Instant;

use super::occupancy::Occupancy;

/// When a window's slots come free, if no call leaves the queue and answers take as long as usual.
#[derive(Debug)]
pub(super) struct Forecast {
    /// Calls may be sent from this moment on.
    pub(super) opens: Instant,
    /// The first call is a probe: the next one goes this much later.
    pub(super) alone: Option<Duration>,
    /// How many slots there are.
    pub(super) requests: u32,
    /// How many are free already.
    pub(super) free: u32,
    /// How many of the others are free by which moment, earliest first.
    pub(super) moments: Vec<(u32, Instant)>,
    /// The time from sending a call until its slot is free again.
    pub(super) generation: Duration,
    /// With `pace = "smooth"`: when the next call may go, and the interval between calls.
    pub(super) pace: Option<(Instant, Duration)>,
}

impl Forecast {
    /// How many slots are free by which moment, of those in use and of the calls in flight. The first `surplus` of them
    /// do not count: until they are free, more slots are in use than the threshold has.
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

    /// When a call with `ahead` others before it is served.
    pub(super) fn at(&self, ahead: usize) -> Instant {
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        let by_slots = self.by_slots(ahead);
        self.pace.map_or(by_slots, |(next, interval)| by_slots.max(next + interval.saturating_mul(ahead)))
    }

    /// Each slot comes free again one generation later, always in the same order.
    fn by_slots(&self, ahead: u32) -> Instant {
        let (slot, generations) = (ahead % self.requests, ahead / self.requests);
        let head = self.comes_free(0).max(self.opens);
        let first = if slot == 0 {
            head
        } else {
            // A slot that is in use for longer, after a lost call, comes free after the first slots of the next
            // generation.
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

    /// What became of a call.
    #[derive(Debug, Clone, Copy)]
    enum Outcome {
        Executed,
        Unread,
        Unanswered,
        Lost,
        Locked,
    }

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// A window after these calls, each with the time since the one before; the calls in flight; and the present
    /// moment.
    fn window(requests: u32, pace: Pace, trip: u64, past: &[(u64, Outcome)]) -> (Window, Vec<Grant>, Instant) {
        let mut now = clock::now();
        let threshold = Threshold { lock: micros(100_000), ..threshold_of(requests, micros(1_000_000), pace) };
        let mut window = Window::new(threshold, now);
        let mut unanswered = Vec::new();
        for &(later, outcome) in past {
            now += micros(later);
            let Ok(grant) = window.take(now) else { continue };
            match outcome {
                Outcome::Unanswered => unanswered.push(grant),
                Outcome::Lost => window.lost(now, grant),
                Outcome::Executed | Outcome::Unread | Outcome::Locked => {
                    let sent = now;
                    now += micros(trip);
                    window.answered(now, sent);
                    match outcome {
                        Outcome::Executed => window.executed(grant),
                        Outcome::Locked => drop(window.locked(now, None)),
                        _ => window.unread(grant),
                    }
                }
            }
        }
        (window, unanswered, now)
    }

    /// When calls that only wait for the window are served, one by one, if each answer takes the usual time.
    fn simulated(mut window: Window, unanswered: Vec<Grant>, mut now: Instant) -> Vec<Instant> {
        let trip = window.round_trip;
        let mut in_flight: Vec<_> = unanswered.into_iter().map(|grant| (now + trip, now, grant)).collect();
        let mut served = Vec::new();
        while served.len() < CALLERS {
            in_flight.retain(|&(at, sent, grant)| {
                if at <= now {
                    window.answered(at, sent);
                    window.executed(grant);
                }
                at > now
            });
            let next = in_flight.iter().map(|(at, ..)| *at).min();
            match window.take(now) {
                Ok(grant) => {
                    served.push(now);
                    in_flight.push((now + trip, now, grant));
                }
                Err(Denied::Until(at)) => now = next.map_or(at, |next| next.min(at)),
                Err(Denied::Unanswered | Denied::ForCaller) => now = next.expect("an answer comes"),
            }
        }
        served
    }

    /// A call was in flight when a lock came that lasts many windows. Its slot was forecast free only a window after
    /// the end of the lock, and calls that could not wait that long were refused, though they could have been served at
    /// its end.
    #[test]
    fn a_lock_outlasts_the_calls_in_flight() {
        let (mut window, _, now) = window(2, Pace::Burst, 1, &[(0, Outcome::Unanswered), (0, Outcome::Executed)]);
        let until = window.locked(now, Some(micros(9_000_000))).unwrap();
        let forecast = window.forecast(now);
        assert_eq!(forecast.at(0), until);
        assert_eq!(forecast.at(1), until + micros(1), "when the probe is answered");
    }

    fn past(kinds: &'static [Outcome]) -> impl Strategy<Value = Vec<(u64, Outcome)>> {
        vec((0..400_000u64, prop::sample::select(kinds)), 0..12)
    }

    proptest! {
        #[test]
        fn is_exact_when_all_are_answered(
            requests in 1..6u32, trip in 0..300_000u64,
            past in past(&[Outcome::Executed, Outcome::Executed, Outcome::Unread, Outcome::Locked]),
        ) {
            let (mut window, unanswered, now) = window(requests, Pace::Burst, trip, &past);
            let forecast = window.forecast(now);
            for (ahead, at) in simulated(window, unanswered, now).into_iter().enumerate() {
                prop_assert_eq!(forecast.at(ahead) - now, at - now, "{} ahead", ahead);
            }
        }

        /// So each call that can be served in time is accepted.
        #[test]
        fn is_never_later_than_the_slot(
            requests in 1..6u32, trip in 0..300_000u64, smooth in any::<bool>(),
            past in past(&[Outcome::Executed, Outcome::Unread, Outcome::Unanswered, Outcome::Lost, Outcome::Locked]),
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
