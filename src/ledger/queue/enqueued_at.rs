//! When a call joined the queue, and when it is due.

use std::time::Duration;

use tokio::time::Instant;

use super::Urgency;

/// One step of urgency counts as much as this waiting time: a background call (7) goes before urgent ones (0) that came
/// more than 35 s later, so every call is served. A shorter time would make urgency mean little where a window is a
/// minute; with a longer one, background calls would reach their deadlines.
pub(in crate::ledger) const AGEING: Duration = Duration::from_secs(5);

/// When a call joined, in nanoseconds since the queue was last empty: half the size of an [`Instant`], and enough for
/// 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct EnqueuedAt(u64);

/// The sort key among the waiters of one caller: the least is served first; at equal moments, the more urgent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due(u64, Urgency);

impl EnqueuedAt {
    pub(super) fn since(epoch: Instant, now: Instant) -> Self {
        Self(nanoseconds(now.saturating_duration_since(epoch)))
    }

    /// How long it has waited, if it is `now` this time since the queue was last empty.
    pub(super) fn waited(self, now: Self) -> Duration {
        Duration::from_nanos(now.0.saturating_sub(self.0))
    }

    /// The key does not change with time, so a sorted list stays sorted.
    pub(super) fn due(self, urgency: Urgency) -> Due {
        let handicap = nanoseconds(AGEING * u32::from(urgency.get()));
        Due(self.0.saturating_add(handicap), urgency)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
