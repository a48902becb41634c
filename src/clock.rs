//! The one place that reads the time, so that tests can stop it.

use tokio::time::Instant;

/// Now, on the monotonic clock; virtual under a paused tokio runtime.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, for dates that others wrote. Never for spans: it may step.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
pub fn wall() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
