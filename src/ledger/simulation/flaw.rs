//! Ways to get it wrong, to see that each is found out.

/// One mistake of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A slot is charged for a window from when its call was sent: the usual limiter.
    CountsAtSend,
    /// Bytes that nobody waits for any more are thought never to arrive.
    NoGrace,
    /// The row is written when the call has gone already.
    WritesAfterSending,
    /// A new process begins without the rows.
    ForgetsRows,
    /// A new process takes calls without an answer for calls answered when it began.
    TakesUnansweredForAnswered,
    /// The rows are read by a wall clock that stepped between two processes.
    TrustsTheWallClock,
    /// A store that was lost is taken for one that was never used.
    IgnoresTheLoss,
    /// A new process begins without the locks.
    ForgetsLocks,
    /// A permit given before a lock came is used in it.
    SendsIntoALock,
    /// After a lock nobody goes alone.
    AllAtOnceAfterALock,
}

impl Flaw {
    pub(super) const ALL: [Self; 10] = [
        Self::CountsAtSend,
        Self::NoGrace,
        Self::WritesAfterSending,
        Self::ForgetsRows,
        Self::TakesUnansweredForAnswered,
        Self::TrustsTheWallClock,
        Self::IgnoresTheLoss,
        Self::ForgetsLocks,
        Self::SendsIntoALock,
        Self::AllAtOnceAfterALock,
    ];

    /// The others are to be seen in the number of arrivals.
    pub(super) fn is_about_locks(self) -> bool {
        matches!(self, Self::ForgetsLocks | Self::SendsIntoALock | Self::AllAtOnceAfterALock)
    }
}
