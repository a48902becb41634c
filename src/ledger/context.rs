//! What all limiters of a process share.

use std::sync::Arc;

use super::{Backend, CallHistory, Limits, Observer, QueueCapacity, RecordedBackend};

/// The parts that all limiters of a process share.
#[derive(Debug, Clone)]
pub struct LimiterContext {
    /// How many calls may wait.
    pub capacity: Arc<QueueCapacity>,
    /// Counts and records slots.
    pub backend: Arc<dyn Backend>,
    /// The last calls that were sent.
    pub history: Arc<CallHistory>,
    /// Receive each step of each attempt.
    pub observers: Arc<[Arc<dyn Observer>]>,
}

impl LimiterContext {
    /// For a ledger that is not stored.
    #[must_use]
    pub fn in_memory(limits: Limits) -> Self {
        Self {
            capacity: QueueCapacity::new(limits),
            backend: Arc::new(RecordedBackend::in_memory()),
            history: Arc::default(),
            observers: Arc::default(),
        }
    }
}
