//! Identifies a waiter.

use super::Urgency;

/// One waiter of one queue. Each number is used once, so the ticket of a waiter that has left finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ledger) struct Ticket {
    pub(super) number: u64,
    pub(super) lane: Lane,
}

impl Ticket {
    /// Whether its call was requeued after a lock.
    pub(in crate::ledger) fn is_requeued(self) -> bool {
        self.lane == Lane::Front
    }
}

/// Where in the queue it waits, so that only one level has to be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Among the calls that were requeued after a lock.
    Front,
    /// In its caller's flow.
    Flow {
        /// The number of the flow's first waiter: a flow that ended and began again is another flow.
        since: u64,
        urgency: Urgency,
    },
}
