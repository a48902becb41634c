//! A call's request for a slot.

use std::{
    any::Any,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
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
    pub request_id: Arc<str>,
    /// Learns whether the call joined the queue.
    pub waited: Waited,
    /// Receives the steps of this call's attempts, in addition to the observers of all calls.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Whether a call had to wait for a slot. Clones share the answer, and are one call. Only calls that may merge are
/// observed; for all others this is `None`.
#[derive(Debug, Clone, Default)]
pub struct Waited(Option<Arc<AtomicBool>>);

impl Waited {
    /// An observed call that has not waited.
    #[must_use]
    pub fn observed() -> Self {
        Self(Some(Arc::default()))
    }

    /// The call waits.
    pub fn set(&self) {
        if let Some(waited) = &self.0 {
            waited.store(true, Ordering::Release);
        }
    }

    /// Whether the call has waited.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.as_ref().is_some_and(|waited| waited.load(Ordering::Acquire))
    }

    /// Whether the call is observed.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.0.is_some()
    }

    /// Whether both belong to one call.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.as_ref().zip(other.0.as_ref()).is_some_and(|(own, other)| Arc::ptr_eq(own, other))
    }
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
            request_id: Arc::default(),
            waited: Waited::default(),
            observer: None,
        }
    }
}
