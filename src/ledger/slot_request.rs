//! What a call that wants a slot says of itself.

use tokio::time::Instant;

use super::{Caller, Urgency};

/// One call's claim to a slot.
#[derive(Debug, Clone)]
pub struct SlotRequest {
    /// Whose call it is.
    pub caller: Caller,
    /// How urgent it is among its caller's own.
    pub urgency: Urgency,
    /// As what it comes to the queue.
    pub arrival: Arrival,
    /// Until when it waits.
    pub deadline: Instant,
    /// What it holds in memory while it waits.
    pub bytes: usize,
    /// Its name in the record of what was sent.
    pub request_id: Box<str>,
}

/// As what a call comes to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrival {
    /// It had its turn and met a lock: it goes before those who had none yet.
    Requeued,
    /// It had none yet: it goes behind everybody of the same caller and urgency.
    New,
}

impl SlotRequest {
    /// Of the gateway itself, or in a test: an anonymous call with nothing special about it.
    #[must_use]
    pub fn plain(deadline: Instant) -> Self {
        Self {
            caller: Caller::anonymous(),
            urgency: Urgency::default(),
            arrival: Arrival::New,
            deadline,
            bytes: 0,
            request_id: Box::default(),
        }
    }
}
