//! Lets each call wait for its turn under Zoho's threshold.
//!
//! In comes a [`Call`], on goes a [`Permitted`] with the slot it was given; a route with `throttle = "off"` passes
//! without a slot and costs no ledger work. Refused is a call that cannot be served within its caller's wait: at once,
//! with the moment it could be. A caller that hangs up leaves the queue and spends nothing, because dropping the future
//! drops its place. A body that streams is read on with the slot held, so that no slot is spent for a caller that is gone
//! already (`ahead.rs`).
//!
//! Guards: nothing is forwarded to a throttled route without a permit of its line.

mod ahead;
mod service;

pub use service::Throttle;

#[cfg(doc)]
use crate::call::{Call, Permitted};
