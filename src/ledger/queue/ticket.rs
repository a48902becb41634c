//! What a waiter is found again by.

use super::Urgency;

/// One waiter of one queue. A number is given out once, so a ticket whose waiter left finds nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ledger) struct Ticket {
    pub(super) number: u64,
    pub(super) lane: Lane,
}

/// Where in the queue it waits, so that nothing has to be searched but one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Among those who return from a lock.
    Front,
    /// In its caller's flow.
    Flow {
        /// The number of the join that made the flow: a flow that ended and began again is another one.
        since: u64,
        urgency: Urgency,
    },
}
