//! What all limiters of a process share.

use std::{fmt::Debug, sync::Arc};

use super::{Backend, CallHistory, Caller, Limits, Observer, Pauses, QueueCapacity, RecordedBackend};
use crate::zoho::{account::AccountName, catalogue::Route};

/// Knows which callers keep slots for themselves, or may not use all.
pub trait Reserves: Debug + Send + Sync {
    /// The callers with a `reserve` or a `max_share` that may use this route.
    fn limited_callers(&self, account: &AccountName, route: &Route) -> Vec<Caller>;
}

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
    /// What operators have paused.
    pub pauses: Arc<Pauses>,
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
            pauses: Arc::default(),
        }
    }
}
