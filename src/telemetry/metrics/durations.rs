//! Histograms of durations.

use std::time::Duration;

use prometheus_client::metrics::{family::Family, histogram::Histogram};

use super::{
    bounded::Bounded,
    labels::{OutcomeLabels, RouteLabels},
};
use crate::os::timer::Timer;

/// For how many routes of accounts each histogram has series of its own: a series is about 15 lines of the page. All other
/// routes share one.
const MAX_ROUTES: usize = 1_000;

/// Seconds. A slot comes free within a window (a minute), a lock lasts for five, and calls wait for up to 15 and longer.
const WAITS: [f64; 12] = [0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0];

/// Seconds. Zoho answers within milliseconds, seconds, or not until the timeout.
const UPSTREAM: [f64; 14] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 120.0, 300.0, 900.0];

/// Seconds. A cached or refused call takes microseconds, a waiting one as long as it waits.
const REQUESTS: [f64; 14] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 900.0];

/// Seconds. A good disk or server needs about a millisecond; after five, calls fail.
const STORES: [f64; 9] = [0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0];

/// A histogram of each account and route.
pub(super) type RouteDurations = Bounded<RouteLabels, Histogram>;

/// A histogram of each outcome.
#[derive(Debug, Clone)]
pub(super) struct OutcomeDurations(pub(super) Family<OutcomeLabels, Histogram, fn() -> Histogram>);

pub(super) fn requests() -> Histogram {
    Histogram::new(REQUESTS)
}

pub(super) fn waits() -> RouteDurations {
    Bounded::new(Family::new_with_constructor(|| Histogram::new(WAITS)), MAX_ROUTES)
}

pub(super) fn upstream() -> RouteDurations {
    Bounded::new(Family::new_with_constructor(|| Histogram::new(UPSTREAM)), MAX_ROUTES)
}

pub(super) fn stores() -> OutcomeDurations {
    OutcomeDurations(Family::new_with_constructor(|| Histogram::new(STORES)))
}

/// Adds a duration to the histogram of this route.
pub(super) fn observe(durations: &RouteDurations, labels: RouteLabels, took: Duration) {
    durations.update(labels, RouteLabels::other, |histogram| histogram.observe(took.as_secs_f64()));
}

impl OutcomeDurations {
    /// Creates its series, so that the first failure is seen as an increase.
    pub(super) fn create(&self) {
        for outcome in ["ok", "failed"] {
            drop(self.0.get_or_create(&OutcomeLabels { outcome }));
        }
    }
}

impl Timer for OutcomeDurations {
    fn ended(&self, took: Duration, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.0.get_or_create(&OutcomeLabels { outcome }).observe(took.as_secs_f64());
    }
}
