//! Records every call that may change something at Zoho.
//!
//! A call that changes nothing ([`Call::changes_nothing`]) leaves no line. Every other call writes a line before each
//! attempt leaves, so that a write is known even if the process dies before the answer. It writes a line with its outcome
//! when it ends: it was answered, it failed, or its caller hung up. The answer is released when that line is written.
//! `audit_id` links the lines of a write. A call that was never about to be sent writes no line. The outcome comes from the
//! call's [`AttemptLog`]. The audit stands above the retries, so that a call has one outcome however often it was sent.
//!
//! Query and body are written as hashes only, because they hold personal data. A caller that kept its payload can prove by the hash
//! that it was sent.

mod entry;
mod hash;
mod service;

pub use service::Audit;

#[cfg(doc)]
use crate::call::{Call, attempt_log::AttemptLog};
