//! Mistakes that a gateway could make, to show that the simulation finds each of them.

/// A mistake of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A slot is in use for a window from when its call was sent, as in the usual limiter.
    CountsAtSend,
    /// Bytes of calls that were given up are assumed not to arrive.
    NoGrace,
    /// The row is written after the call was sent.
    WritesAfterSending,
    /// A new process starts without the rows.
    ForgetsRows,
    /// A new process treats calls without an answer as answered at its start.
    TakesUnansweredForAnswered,
    /// The rows are read with a wall clock that stepped between two processes.
    TrustsTheWallClock,
    /// A lost store is treated as one that was never used.
    IgnoresTheLoss,
    /// A new process starts without the locks.
    ForgetsLocks,
    /// An attempt from before a lock is sent during it.
    SendsIntoALock,
    /// After a lock there is no probe.
    NoProbeAfterALock,
    /// After a reload with a longer window, the calls that the shorter one no longer counted are not counted.
    ForgetsAtReload,
    /// After a reload with a smaller threshold, all attempts are sent that had their slots before.
    SendsSurplus,
}

impl Flaw {
    pub(super) const ALL: [Self; 12] = [
        Self::CountsAtSend,
        Self::NoGrace,
        Self::WritesAfterSending,
        Self::ForgetsRows,
        Self::TakesUnansweredForAnswered,
        Self::TrustsTheWallClock,
        Self::IgnoresTheLoss,
        Self::ForgetsLocks,
        Self::SendsIntoALock,
        Self::NoProbeAfterALock,
        Self::ForgetsAtReload,
        Self::SendsSurplus,
    ];

    /// The other flaws show in the number of arrivals.
    pub(super) fn concerns_locks(self) -> bool {
        matches!(self, Self::ForgetsLocks | Self::SendsIntoALock | Self::NoProbeAfterALock)
    }
}
