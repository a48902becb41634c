//! A call that waits for the slot of another call, without a place in the queue.

use std::sync::Arc;

use super::{
    super::{SlotRequest, queue_capacity::QueueAdmission, waiter_signal::WaiterSignal},
    Refused, RouteLimiter,
};
use crate::os::clock;

/// Counts as a waiting call until it is dropped.
#[derive(Debug)]
pub struct WaitingWithoutPlace {
    signal: Arc<WaiterSignal>,
    _admission: QueueAdmission,
}

impl RouteLimiter {
    /// Counts a call that waits, but takes no place in the queue.
    ///
    /// # Errors
    /// [`Refused::Full`], if no more calls may wait.
    pub fn wait_without_place(&self, request: &SlotRequest) -> Result<WaitingWithoutPlace, Refused> {
        let (now, signal) = (clock::now(), Arc::new(WaiterSignal::default()));
        let mut state = self.state.lock();
        let admission =
            self.context.capacity.enter(request, &signal, now).map_err(|limit| state.full(request, now, limit))?;
        Ok(WaitingWithoutPlace { signal, _admission: admission })
    }
}

impl WaitingWithoutPlace {
    /// Resolves when another caller needs its share of the waiting calls.
    pub async fn evicted(&self) {
        while !self.signal.is_evicted() {
            self.signal.listen().await;
        }
    }
}
