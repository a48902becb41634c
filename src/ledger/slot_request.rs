//! A call's request for a slot.

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use tokio::time::Instant;

use super::{Caller, Observer, Urgency};

/// What a call says about itself when it asks for a slot.
#[derive(Debug, Clone)]
pub struct SlotRequest {
    /// Who makes the call.
    pub caller: Caller,
    /// How urgent it is among its caller's own calls.
    pub urgency: Urgency,
    /// Whether it is new or requeued.
    pub arrival: Arrival,
    /// When it stops waiting.
    pub deadline: Instant,
    /// What shows that the same call comes again; `None` for a call that keeps no turn when it is refused.
    pub identity: Option<Identity>,
    /// How much memory it holds while it waits, in bytes.
    pub bytes: usize,
    /// Its id in logs and answers.
    pub request_id: Box<str>,
    /// Receives the steps of this call's attempts, in addition to the observers of all calls.
    pub observer: Option<Arc<dyn Observer>>,
}

/// What shows that a call that was refused comes again.
#[derive(Debug, Clone)]
pub struct Identity {
    /// A hash of the call.
    pub fingerprint: u64,
    /// Lives as long as the call's connection.
    pub connection: Weak<dyn Any + Send + Sync>,
}

/// Whether a call is new or requeued after a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrival {
    /// It had a slot and hit a lock: it goes before all new calls.
    Requeued,
    /// It had no slot yet: it goes after all calls of the same caller and urgency.
    New,
}

impl SlotRequest {
    /// An anonymous call of default urgency: the gateway's own, or a test's.
    #[must_use]
    pub fn plain(deadline: Instant) -> Self {
        Self {
            caller: Caller::anonymous(),
            urgency: Urgency::default(),
            arrival: Arrival::New,
            deadline,
            identity: None,
            bytes: 0,
            request_id: Box::default(),
            observer: None,
        }
    }
}
