//! governor's GCRA with our own clock: `burst` calls at once, then one per interval.

use std::{cell::Cell, num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

/// A rate limiter that gets the time from its caller.
#[derive(Debug)]
pub struct Gcra {
    limiter: RateLimiter<NotKeyed, InMemoryState, Now, NoOpMiddleware<Duration>>,
    /// When it was first used; `Now` counts from here.
    first: Option<Instant>,
    interval: Duration,
}

/// governor's clock: the `now` of the current call, counted from the first one.
#[derive(Debug, Default)]
struct Now(Cell<Duration>);

impl Clock for Now {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.get()
    }
}

impl Gcra {
    /// Allows `requests` per `window`, evenly spread, of which `burst` may come at once.
    #[must_use]
    pub fn new(requests: NonZeroU32, window: Duration, burst: NonZeroU32) -> Self {
        let interval = (window / requests.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(interval).unwrap_or(Quota::per_second(NonZeroU32::MAX));
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(burst), Now::default());
        Self { limiter, first: None, interval }
    }

    /// The time between two calls.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Allows a call at `now`. Time does not go back: a `now` before the last one counts as the last one.
    ///
    /// # Errors
    /// When the next call is allowed.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let first = *self.first.get_or_insert(now);
        let Now(latest) = self.limiter.clock();
        latest.set(latest.get().max(now.saturating_duration_since(first)));
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

    /// A task that read the time first may use the limiter last. Its moment was taken as the clock's, and the time up
    /// to the next call was counted twice.
    #[test]
    fn an_earlier_moment_does_not_turn_the_clock_back() {
        let (mut gcra, now) = (three_in_thirty_seconds(1), clock::now() + TEN);
        gcra.take(now).unwrap();
        assert_eq!(gcra.take(now - TEN), Err(now + TEN));
        assert_eq!(gcra.take(now), Err(now + TEN));
        gcra.take(now + TEN).unwrap();
    }
}
