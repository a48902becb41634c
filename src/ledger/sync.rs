//! The mutex of the queue, and its sleep. The model checker (`model.rs`) puts its own in their place.

#[cfg(not(all(test, feature = "model")))]
pub(super) use parking_lot::Mutex;
#[cfg(not(all(test, feature = "model")))]
pub(super) use tokio::time::sleep_until;

#[cfg(all(test, feature = "model"))]
pub(super) use super::model::{Mutex, sleep_until};
