//! The limiter's mutex and sleep. The model checker (`model.rs`) replaces both.

#[cfg(not(all(test, feature = "model")))]
pub(super) use parking_lot::Mutex;
#[cfg(not(all(test, feature = "model")))]
pub(super) use tokio::time::sleep_until;

#[cfg(all(test, feature = "model"))]
pub(super) use super::model::{Mutex, sleep_until};
