//! What a call that wants a slot says of itself.

use tokio::time::Instant;

use super::{Caller, Urgency};

/// One call's claim to a slot.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Whose call it is.
    pub caller: Caller,
    /// How urgent it is among its caller's own.
    pub urgency: Urgency,
    /// Where it enters the queue.
    pub entrance: Entrance,
    /// Until when it waits.
    pub deadline: Instant,
    /// What it holds in memory while it waits.
    pub bytes: usize,
    /// Its name in the record of what was sent.
    pub request_id: Box<str>,
}

/// Where a caller enters the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entrance {
    /// Before those who had no turn yet: it had one and met a lock.
    Front,
    /// Behind everybody of the same caller and urgency.
    Back,
}

impl Claim {
    /// Of the gateway itself, or in a test: an anonymous call with nothing special about it.
    #[must_use]
    pub fn plain(deadline: Instant) -> Self {
        Self {
            caller: Caller::anonymous(),
            urgency: Urgency::default(),
            entrance: Entrance::Back,
            deadline,
            bytes: 0,
            request_id: Box::default(),
        }
    }
}
