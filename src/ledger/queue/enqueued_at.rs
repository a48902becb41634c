//! When somebody came, and by when it wants to be served.

use std::time::Duration;

use tokio::time::Instant;

use super::Urgency;

/// What one step of urgency is worth in waiting: a background call (7) goes before urgent ones (0) that came more than
/// 35 s later, so nobody starves. Shorter, and urgency would mean little where a window is a minute; longer, and a
/// background call would run into its wait's end.
pub(in crate::ledger) const AGEING: Duration = Duration::from_secs(5);

/// When somebody came, in nanoseconds since the queue was last empty: half an [`Instant`]'s size, and good for 584
/// years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct EnqueuedAt(u64);

/// A place among the waiters of one caller: the lesser one is served first, at equal moments the more urgent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due(u64, Urgency);

impl EnqueuedAt {
    pub(super) fn since(epoch: Instant, now: Instant) -> Self {
        Self(nanoseconds(now.saturating_duration_since(epoch)))
    }

    /// The key does not change with time, so what is sorted once stays so.
    pub(super) fn due(self, urgency: Urgency) -> Due {
        let handicap = nanoseconds(AGEING * u32::from(urgency.get()));
        Due(self.0.saturating_add(handicap), urgency)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
