//! Lets each call wait for a slot under Zoho's threshold.
//!
//! Takes a [`Call`] and passes on a [`Permitted`] with its attempt. A route with `throttle = "off"` needs no slot and no
//! ledger work. Rejects a call that cannot get a slot within its caller's wait: at once, with the time when it could. A
//! caller that leaves also leaves the queue without using a slot, because dropping the future drops its queue entry. A
//! streamed body is partly read before its slot is used, so that no slot is used for a caller that has left (`ahead.rs`).
//!
//! Guarantees: nothing is sent to a throttled route without an attempt from its limiter.

mod ahead;
mod service;

pub use service::Throttle;

#[cfg(doc)]
use crate::call::{Call, Permitted};
