//! Shutdown: first no new work, then, at the end of the drain, no work at all.

use std::time::Duration;

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// How long a drain waits for the rest of a body or for a token.
const MOMENT: Duration = Duration::from_secs(2);

/// The state of a shutdown; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    cut_off: CancellationToken,
    in_flight: TaskTracker,
}

impl Shutdown {
    /// Begins the drain: no new work from here on.
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

    /// Resolves a moment after the drain has begun, so that the rest of a body or a token can arrive. Called later, it
    /// waits a moment from then on.
    pub async fn impatient(&self) {
        self.draining().await;
        tokio::time::sleep(MOMENT).await;
    }

    /// Ends all work.
    pub fn cut(&self) {
        self.cut_off.cancel();
    }

    /// Resolves when all work has to end.
    pub async fn cut_off(&self) {
        self.cut_off.cancelled().await;
    }

    /// Counts one request as in flight until the token is dropped.
    pub fn in_flight(&self) -> TaskTrackerToken {
        self.in_flight.token()
    }

    /// Resolves when the drain has begun and no request is in flight.
    pub async fn drained(&self) {
        self.in_flight.wait().await;
    }
}
