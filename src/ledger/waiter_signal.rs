//! Wakes one waiter, so that it checks its situation again.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, futures::Notified};

/// The wake-up of one waiter. It needs no lock of the waiter's limiter, so any other limiter may use it.
#[derive(Debug, Default)]
pub(super) struct WaiterSignal {
    notify: Notify,
    evicted: AtomicBool,
}

impl WaiterSignal {
    pub(super) fn listen(&self) -> Notified<'_> {
        self.notify.notified()
    }

    pub(super) fn wake(&self) {
        self.notify.notify_one();
    }

    /// Its part of the queue's capacity now belongs to another call.
    pub(super) fn evict(&self) {
        self.evicted.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire)
    }
}
