//! The way out: first no new work, then, when the drain's time is up, no work at all.

use std::time::Duration;

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// How long a drain waits for what a call needs before it can wait for its turn or be sent.
const MOMENT: Duration = Duration::from_secs(2);

/// The state of a shutdown; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    cut_off: CancellationToken,
    in_flight: TaskTracker,
}

impl Shutdown {
    /// No new work from here on.
    pub fn drain(&self) {
        self.draining.cancel();
        self.in_flight.close();
    }

    /// Whether new work is refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Resolves when the drain begins.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Resolves when a drain is under way and has had a moment for what usually takes no longer: the rest of a body, a
    /// token. Asked later, it gives that moment from then on.
    pub async fn impatient(&self) {
        self.draining().await;
        tokio::time::sleep(MOMENT).await;
    }

    /// Ends what is still under way.
    pub fn cut(&self) {
        self.cut_off.cancel();
    }

    /// Resolves when what is still under way has to end.
    pub async fn cut_off(&self) {
        self.cut_off.cancelled().await;
    }

    /// Stands for one request until dropped.
    pub fn in_flight(&self) -> TaskTrackerToken {
        self.in_flight.token()
    }

    /// Resolves when a drain has begun and no request is under way.
    pub async fn drained(&self) {
        self.in_flight.wait().await;
    }
}
