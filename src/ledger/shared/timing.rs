//! The spans of time of the shared ledger, and its two clocks.

use std::time::Duration;

use tokio::time::Instant;

use super::message::millis_up;

/// How often a member speaks although it has no news.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// Slots of windows longer than this are sealed when they are dealt out: a member that dies would keep them for long.
/// Token requests are among them: a gateway that dies must not take those of all others with it for ten minutes.
pub(super) const LONG: Duration = Duration::from_secs(5 * 60);

/// The present moment, on two clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Stops while the machine sleeps. Uses of slots, silences and locks are measured with it.
    pub(super) monotonic: Instant,
    /// Goes on while the machine sleeps. The lease is measured with it.
    pub(super) boot: Duration,
}

/// The spans that all members of a namespace have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// How long a member may release calls after it was in touch.
    pub(super) lease: Duration,
    /// How long a released call may take until it is answered or its connection is closed.
    pub(super) longest: Duration,
    /// How long a process may be frozen without being killed.
    pub(super) frozen: Duration,
    /// How much later bytes of a closed connection may still arrive.
    pub(super) grace: Duration,
    /// How often a member speaks although it has no news.
    pub(super) beat: Duration,
}

impl Timing {
    /// How long after its last touch a member is gone. A call that it released before its lease ended has ended by then,
    /// so `window` later none of its slots is in use.
    pub(super) fn gone_after(&self) -> Duration {
        self.lease + self.longest + self.frozen + self.grace
    }

    /// The same by the clocks of others, whose rates agree within a percent, in milliseconds.
    pub(super) fn gone_after_with_margin(&self) -> u64 {
        millis_up(self.gone_after() + self.gone_after() / 100)
    }
}
