//! The rules of the design, each of which can be broken to see that the simulation notices.

/// One broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger::shared) enum Flaw {
    /// The longest call is not part of the time after which a member is gone.
    NoLongest,
    /// Neither is the time for which a process may be frozen.
    NoFrozen,
    /// Nor the grace of bytes that are under way.
    NoGrace,
    /// Frozen processes are not killed.
    NoFreezeGuard,
    /// Nothing is checked just before a call is sent.
    NoCheckBeforeSending,
    /// The lease begins when an answer arrives.
    LeaseFromAnswer,
    /// The lease stops while the machine sleeps.
    LeaseSleeps,
    /// Others are counted as silent from when the request was sent.
    SilenceFromRequest,
    /// Nobody is gone by its own clock.
    NeverGone,
    /// What a failed request may have granted is believed to be held.
    GrantsOfFailedRequests,
    /// An answer to a request that failed is believed.
    LateAnswers,
    /// Slots are given back before they are given up.
    GivenTwice,
    /// The rest of a lock is counted from when the request was sent.
    LockFromRequest,
    /// An id goes on in the next epoch.
    SameId,
}
