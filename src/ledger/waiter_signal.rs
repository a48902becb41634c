//! How a waiter is told to look again.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, futures::Notified};

/// One waiter's bell. Whoever rings it holds no lock of the waiter's line.
#[derive(Debug, Default)]
pub(super) struct WaiterSignal {
    notify: Notify,
    turned_out: AtomicBool,
}

impl WaiterSignal {
    pub(super) fn listen(&self) -> Notified<'_> {
        self.notify.notified()
    }

    pub(super) fn ring(&self) {
        self.notify.notify_one();
    }

    /// The waiter's seat is given to somebody else.
    pub(super) fn turn_out(&self) {
        self.turned_out.store(true, Ordering::Release);
        self.ring();
    }

    pub(super) fn is_turned_out(&self) -> bool {
        self.turned_out.load(Ordering::Acquire)
    }
}
