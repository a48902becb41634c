//! Shutdown: first no new work is accepted, then, at the end of the drain, all work ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// How long a drain waits for the rest of a body or for a token.
const DRAIN_MARGIN: Duration = Duration::from_secs(2);

/// The state of a shutdown; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    cut_off: CancellationToken,
    handed_over: CancellationToken,
    end_asked: CancellationToken,
    /// An operator's drain, which may be undone.
    refuses: Arc<AtomicBool>,
    in_flight: TaskTracker,
}

impl Shutdown {
    /// Starts the drain: new work is rejected from now on.
    pub fn drain(&self) {
        self.draining.cancel();
        self.in_flight.close();
    }

    /// Starts the drain of a process whose sockets another one has taken over: nothing more is accepted, and requests on
    /// the connections that are open are still served.
    pub fn hand_over(&self) {
        self.handed_over.cancel();
        self.drain();
    }

    /// Whether another process has taken over the sockets.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.is_cancelled()
    }

    /// Whether new work is rejected.
    #[must_use]
    pub fn rejects_new_work(&self) -> bool {
        (self.is_draining() && !self.is_handed_over()) || self.refuses.load(Ordering::Acquire)
    }

    /// Whether the drain has started.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Rejects new work, or accepts it again, while the process goes on.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Release);
    }

    /// Whether it should get no more connections, because the process ends or an operator drains it.
    #[must_use]
    pub fn is_out_of_service(&self) -> bool {
        self.is_draining() || self.refuses.load(Ordering::Acquire)
    }

    /// Asks the process to end, as a signal does.
    pub fn ask_to_end(&self) {
        self.end_asked.cancel();
    }

    /// Resolves when a request has asked the process to end.
    pub async fn end_asked(&self) {
        self.end_asked.cancelled().await;
    }

    /// Resolves when the drain starts.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Resolves 2 s after the drain has started, so that the rest of a body or a token can arrive. A later call waits 2
    /// s from then on.
    pub async fn impatient(&self) {
        self.draining().await;
        tokio::time::sleep(DRAIN_MARGIN).await;
    }

    /// Ends all work.
    pub fn cut(&self) {
        self.cut_off.cancel();
    }

    /// Resolves when all work must end.
    pub async fn cut_off(&self) {
        self.cut_off.cancelled().await;
    }

    /// Counts one request as in flight until the token is dropped.
    pub fn in_flight(&self) -> TaskTrackerToken {
        self.in_flight.token()
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.in_flight.len()
    }

    /// Resolves when the drain has started and all requests have ended.
    pub async fn drained(&self) {
        self.in_flight.wait().await;
    }
}
