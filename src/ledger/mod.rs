//! The ledger: at most `requests` calls of a route arrive at Zoho in any `window`, and none during a lock.
//!
//! Zoho counts calls when they *arrive*; the gateway only knows when it sent and when the answer came. So a slot is
//! charged from just before the first byte is written until `window` after the answer's head arrived, and a call may
//! be sent only while fewer than `requests` slots are charged. ARCHITECTURE.md has the proof.
//!
//! [`Window`] is the rule, a pure function of its state and the time. [`RouteLimiter`] puts a fair queue before it and alone
//! mints [`Permit`]s, each of them after the [`Journal`] has made it durable; what a permit takes, its `Drop` gives back.

mod call_history;
mod caller;
mod daily;
mod forecast;
pub mod gcra;
mod journal;
mod limiter;
#[cfg(test)]
mod limiter_tests;
mod limiters;
#[cfg(all(test, feature = "model"))]
mod model;
mod occupancy;
mod pacer;
mod permit;
mod queue;
mod queue_capacity;
mod recovered;
#[cfg(test)]
mod simulation;
mod slot_request;
pub mod store;
mod sync;
#[cfg(test)]
mod tests;
mod waiter_signal;
mod window;

pub use call_history::CallHistory;
pub use caller::Caller;
pub use journal::{Health, Journal, Unrecorded};
pub use limiter::{Allowance, LockHit, Refused, RouteLimiter, Standing};
pub use limiters::{LimiterContext, Limiters};
pub use permit::Permit;
pub use queue::Urgency;
pub use queue_capacity::{Limit, Limits, QueueCapacity};
pub use recovered::Recovered;
pub use slot_request::{Arrival, SlotRequest};
pub use window::{Denied, Grant, NO_ANSWER_GRACE, Quota, Window};
