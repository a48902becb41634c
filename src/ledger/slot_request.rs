//! What a call that wants a slot says about itself.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Caller, Observer, Urgency};

/// One call's request for a slot.
#[derive(Debug, Clone)]
pub struct SlotRequest {
    /// Who makes the call.
    pub caller: Caller,
    /// How urgent it is among its caller's own calls.
    pub urgency: Urgency,
    /// Whether it comes to the queue again.
    pub arrival: Arrival,
    /// Until when it waits.
    pub deadline: Instant,
    /// What it holds in memory while it waits, in bytes.
    pub bytes: usize,
    /// Its name in logs and answers.
    pub request_id: Box<str>,
    /// Who learns what becomes of it, besides those who learn of all calls.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Whether a call is new or requeued after a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrival {
    /// It had its turn and met a lock: it goes before all calls that had none yet.
    Requeued,
    /// It had none yet: it goes behind all calls of the same caller and urgency.
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
            observer: None,
        }
    }
}
