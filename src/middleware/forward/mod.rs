//! Sends a signed call to Zoho and returns Zoho's answer.
//!
//! Takes a [`Signed`] and returns an [`Answer`]: Zoho's answer, and whether it says that the call was not executed. Rejects a
//! call that got no answer. Method, target, end-to-end headers and body are sent unchanged; [`hygiene`] lists the headers
//! that are removed.
//!
//! Guarantees: the ledger knows of every call before its first byte leaves, and of its answer as soon as the head arrives.

mod attempt_span;
mod coding;
mod framing;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod hygiene;
mod peek;
mod service;
mod tracing_fields;

pub use service::Forward;

#[cfg(doc)]
use crate::call::{Answer, Signed};
