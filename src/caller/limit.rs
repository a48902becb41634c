//! A caller's own limit, by governor's GCRA: `requests` at once, and as many again in each `window`.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, FakeRelativeClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How much a caller may ask for, whatever becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerLimit {
    /// So many requests.
    pub requests: NonZeroU32,
    /// In this span on average.
    pub window: Duration,
}

/// The limit at work.
#[derive(Debug)]
pub(super) struct Limiter {
    limiter: RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<Nanos>>,
    /// Moved by hand to the moment of each question, since only `clock` reads the time.
    clock: Mutex<(FakeRelativeClock, Instant)>,
}

impl Limiter {
    pub(super) fn new(limit: CallerLimit, now: Instant) -> Self {
        let clock = FakeRelativeClock::default();
        let interval = (limit.window / limit.requests.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(interval).unwrap_or(Quota::per_second(NonZeroU32::MAX));
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(limit.requests), clock.clone());
        Self { limiter, clock: Mutex::new((clock, now)) }
    }

    /// Whether one more request is within the limit; otherwise how long until it is.
    pub(super) fn check(&self, now: Instant) -> Result<(), Duration> {
        let mut clock = self.clock.lock();
        let (ticks, stood_at) = &mut *clock;
        ticks.advance(now.saturating_duration_since(*stood_at));
        *stood_at = now.max(*stood_at);
        self.limiter.check().map_err(|not_until| not_until.wait_time_from(ticks.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn takes_a_burst_and_then_one_at_a_time() {
        let now = clock::now();
        let limit = CallerLimit { requests: NonZeroU32::new(3).unwrap(), window: Duration::from_secs(30) };
        let limiter = Limiter::new(limit, now);
        for _ in 0..3 {
            limiter.check(now).unwrap();
        }
        assert_eq!(limiter.check(now), Err(Duration::from_secs(10)));
        limiter.check(now + Duration::from_secs(10)).unwrap();
        assert!(limiter.check(now + Duration::from_secs(10)).is_err());
    }
}
