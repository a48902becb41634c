//! `pace = "smooth"`: calls spread evenly over the window, by governor's GCRA with a burst of one.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, FakeRelativeClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use crate::catalogue::Threshold;

/// Says when the next call may go, beside the ledger and never instead of it.
#[derive(Debug)]
pub(super) struct Pacer {
    limiter: RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<Nanos>>,
    /// Moved by hand to the moment of each question: the rule never reads the time by itself.
    clock: FakeRelativeClock,
    clock_stands_at: Option<Instant>,
    interval: Duration,
    next: Option<Instant>,
}

impl Pacer {
    pub(super) fn new(threshold: &Threshold) -> Self {
        let interval = (threshold.window / threshold.requests.get()).max(Duration::from_nanos(1));
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(interval).unwrap_or(Quota::per_second(NonZeroU32::MAX));
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(NonZeroU32::MIN), clock.clone());
        Self { limiter, clock, clock_stands_at: None, interval, next: None }
    }

    /// Takes the next place in time, or says when it comes.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let stood_at = self.clock_stands_at.replace(now).unwrap_or(now);
        self.clock.advance(now.saturating_duration_since(stood_at));
        match self.limiter.check() {
            Ok(()) => {
                self.next = Some(now + self.interval);
                Ok(())
            }
            Err(not_until) => Err(now + not_until.wait_time_from(self.clock.now())),
        }
    }

    /// When the next call may go, and how long after it the one behind.
    pub(super) fn forecast(&self, now: Instant) -> (Instant, Duration) {
        (self.next.map_or(now, |next| next.max(now)), self.interval)
    }
}
