//! The ledger: at most `requests` calls of a route arrive at Zoho in any `window`, and none during a lock.
//!
//! Zoho counts calls when they *arrive*; the gateway only knows when it sent and when the answer came. So a slot is
//! charged from just before the first byte is written until `window` after the answer's head arrived, and a call may
//! be sent only while fewer than `requests` slots are charged. ARCHITECTURE.md has the proof.
//!
//! [`Bucket`] is the rule, a pure function of its state and the time. [`Line`] puts a fair queue before it and alone
//! mints [`Permit`]s, each of them after the [`Journal`] has made it durable; what a permit takes, its `Drop` gives back.

mod bell;
mod bucket;
mod caller;
mod charges;
mod claim;
mod daily;
mod forecast;
pub mod gcra;
mod journal;
mod line;
#[cfg(test)]
mod line_tests;
mod lines;
#[cfg(all(test, feature = "model"))]
mod model;
mod pacer;
mod past;
mod permit;
mod queue;
mod recorder;
#[cfg(test)]
mod simulation;
pub mod store;
mod sync;
#[cfg(test)]
mod tests;
mod waiting_room;

pub use bucket::{Bucket, Denied, NO_ANSWER_GRACE, Quota, Taken};
pub use caller::Caller;
pub use claim::{Claim, Entrance};
pub use journal::{Health, Journal, Unrecorded};
pub use line::{Allowance, Line, Met, Refused, Standing};
pub use lines::{Books, Lines};
pub use past::Past;
pub use permit::Permit;
pub use queue::Urgency;
pub use recorder::Recorder;
pub use waiting_room::{Limit, Limits, WaitingRoom};
