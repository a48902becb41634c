//! Sends a signed call to Zoho and returns Zoho's answer.
//!
//! In comes a [`Signed`], out goes an [`Answer`]: the bytes of Zoho's answer, and whether it says that the call was not
//! executed. Refused is a call that got no answer. Method, target, end-to-end headers and body go out as they came;
//! [`hygiene`] lists what does not.
//!
//! Guards: the ledger knows of every call before its first byte leaves, and of its answer as soon as the head is here.

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
