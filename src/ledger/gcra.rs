//! governor's GCRA, asked with our own time: so many at once, and as many again in each window.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, FakeRelativeClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

/// ConnectionLimit in time, each of them given once.
#[derive(Debug)]
pub struct Gcra {
    limiter: RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<Nanos>>,
    /// Moved by hand to the moment of each question: the rule never reads the time by itself.
    clock: FakeRelativeClock,
    clock_stands_at: Option<Instant>,
    interval: Duration,
}

impl Gcra {
    /// `requests` in each `window`, evenly spread, and of them `burst` at once.
    #[must_use]
    pub fn new(requests: NonZeroU32, window: Duration, burst: NonZeroU32) -> Self {
        let interval = (window / requests.get()).max(Duration::from_nanos(1));
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(interval).unwrap_or(Quota::per_second(NonZeroU32::MAX));
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(burst), clock.clone());
        Self { limiter, clock, clock_stands_at: None, interval }
    }

    /// From one place to the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes the next place in time, or says when it comes. The clock never goes back: a moment before the last one is
    /// as good as that.
    ///
    /// # Errors
    /// The moment of the next place.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let stood_at = self.clock_stands_at.unwrap_or(now);
        let now = now.max(stood_at);
        self.clock.advance(now - stood_at);
        self.clock_stands_at = Some(now);
        self.limiter.check().map_err(|not_until| now + not_until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;

    const TEN: Duration = Duration::from_secs(10);

    fn three_in_thirty_seconds(burst: u32) -> Gcra {
        Gcra::new(NonZeroU32::new(3).unwrap(), 3 * TEN, NonZeroU32::new(burst).unwrap())
    }

    #[test]
    fn takes_a_burst_and_then_one_at_a_time() {
        let (mut gcra, now) = (three_in_thirty_seconds(3), clock::now());
        for _ in 0..3 {
            gcra.take(now).unwrap();
        }
        assert_eq!(gcra.take(now), Err(now + TEN));
        gcra.take(now + TEN).unwrap();
        assert!(gcra.take(now + TEN).is_err());
    }

    /// Whoever read the time first may ask last. Its moment counted as the clock's, and the span up to the next
    /// question was counted twice.
    #[test]
    fn an_earlier_moment_does_not_turn_the_clock_back() {
        let (mut gcra, now) = (three_in_thirty_seconds(1), clock::now() + TEN);
        gcra.take(now).unwrap();
        assert_eq!(gcra.take(now - TEN), Err(now + TEN));
        assert_eq!(gcra.take(now), Err(now + TEN));
        gcra.take(now + TEN).unwrap();
    }
}
