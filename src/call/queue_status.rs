//! Shows callers that share a call whether it waits.

use tokio::sync::watch;

/// Whether a call waits in the queue. Only calls that others share are observed; for all others this is `None`.
#[derive(Debug, Clone, Default)]
pub struct QueueStatus(Option<watch::Sender<bool>>);

impl QueueStatus {
    /// An observed status, and its observer.
    #[must_use]
    pub fn watched() -> (Self, watch::Receiver<bool>) {
        let (left, watched) = watch::channel(false);
        (Self(Some(left)), watched)
    }

    /// The call starts to wait, perhaps again.
    pub fn queues(&self) {
        self.set(false);
    }

    /// The call has its slot.
    pub fn leaves(&self) {
        self.set(true);
    }

    fn set(&self, left: bool) {
        if let Some(watched) = &self.0 {
            watched.send_replace(left);
        }
    }
}
