//! Records every call that may change something at Zoho.
//!
//! A call that changes nothing ([`Call::changes_nothing`]) leaves no line. Every other call writes a line before each
//! attempt leaves, so that a write is known even if the process dies before the answer. It writes a line with its outcome
//! when it ends: it was answered, it failed, or its caller left. The answer is released when that line is written.
//! `audit_id` links the lines of a write. A call that was rejected before its first attempt writes no line. The outcome
//! comes from the call's [`AttemptLog`]. The layer is above the retries, so a call has one outcome however often it was sent.
//!
//! Query and body are written as hashes only, because they hold personal data. A caller that kept its payload can prove with
//! the hash that it was sent.

mod entry;
mod hash;
mod service;

pub use service::Audit;

#[cfg(doc)]
use crate::call::{Call, attempt_log::AttemptLog};
