//! The ledger: at most `requests` calls of a route arrive at Zoho in any `window`, and none during a lock.
//!
//! Zoho counts calls when they *arrive*; the gateway only knows when it sent and when the answer came. So a slot is
//! charged from just before the first byte is written until `window` after the answer's head arrived, and a call may
//! be sent only while fewer than `requests` slots are charged. ARCHITECTURE.md has the proof.
//!
//! [`Bucket`] is the rule, a pure function of its state and the time. [`Line`] puts a first-come queue before it and
//! alone mints [`Permit`]s; what a permit takes, its `Drop` gives back.

mod bucket;
mod caller;
mod line;
mod lines;
mod pacer;
mod permit;
#[cfg_attr(not(test), expect(dead_code, reason = "the line is built on it next"))]
mod queue;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Denied, NO_ANSWER_GRACE, Quota, Taken};
pub use caller::Caller;
pub use line::{Entrance, Line, Refused, WaitingRoom};
pub use lines::Lines;
pub use permit::Permit;
pub use queue::Urgency;
