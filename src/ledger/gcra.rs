//! governor's GCRA with our own time: `burst` calls at once, and then one each interval.

use std::{cell::Cell, num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

/// A rate limiter that never reads the time itself.
#[derive(Debug)]
pub struct Gcra {
    limiter: RateLimiter<NotKeyed, InMemoryState, Question, NoOpMiddleware<Duration>>,
    first: Option<Instant>,
    interval: Duration,
}

/// governor's clock: when the current question was asked, counted from the first one.
#[derive(Debug, Default)]
struct Question(Cell<Duration>);

impl Clock for Question {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.get()
    }
}

impl Gcra {
    /// `requests` in each `window`, evenly spread, and of them `burst` at once.
    #[must_use]
    pub fn new(requests: NonZeroU32, window: Duration, burst: NonZeroU32) -> Self {
        let interval = (window / requests.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(interval).unwrap_or(Quota::per_second(NonZeroU32::MAX));
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(burst), Question::default());
        Self { limiter, first: None, interval }
    }

    /// The time between two calls.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Allows a call at `now`, or returns when it will be allowed. Time never goes back: an earlier `now` than that of
    /// the last question counts as that one.
    ///
    /// # Errors
    /// The moment of the next call.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let first = *self.first.get_or_insert(now);
        let Question(asked) = self.limiter.clock();
        asked.set(asked.get().max(now.saturating_duration_since(first)));
        self.limiter.check().map_err(|not_until| first + not_until.earliest_possible())
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

    /// A caller that read the time first may ask last. Its moment counted as the clock's, and the time up to the next
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
