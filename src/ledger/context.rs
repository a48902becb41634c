//! What all limiters of a process share.

use std::sync::Arc;

use super::{Backend, CallHistory, Limits, Observer, QueueCapacity, RecordedBackend};

/// What all limiters share.
#[derive(Debug, Clone)]
pub struct LimiterContext {
    /// How many callers may wait.
    pub room: Arc<QueueCapacity>,
    /// Where slots are counted and recorded.
    pub backend: Arc<dyn Backend>,
    /// The last calls that were sent.
    pub history: Arc<CallHistory>,
    /// Who learns of each step of each attempt.
    pub observers: Arc<[Arc<dyn Observer>]>,
}

impl LimiterContext {
    /// Of a ledger that is forgotten with the process.
    #[must_use]
    pub fn in_memory(limits: Limits) -> Self {
        Self {
            room: QueueCapacity::new(limits),
            backend: Arc::new(RecordedBackend::in_memory()),
            history: Arc::default(),
            observers: Arc::default(),
        }
    }
}
