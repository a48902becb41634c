//! The audit room: what was sent that may have changed something at Zoho.
//!
//! A call that changes nothing ([`Call::changes_nothing`]) passes by. Every other one makes a line before each attempt
//! leaves, so that a write is known even if the process dies before the answer, and a line with its outcome when its
//! visit is over: it was answered, it failed, or its caller hung up. The answer is released when that line is written.
//! `audit_id` links the lines of a write. A call that never came so far as to be sent makes no line; what became of the
//! others is read in the call's [`AttemptLog`], which the forward room leaves. The room stands above the retry room, so that a
//! call has one outcome however often it was sent.
//!
//! Neither query nor body is written, only their hashes: Zoho's calls carry personal data in them. Who kept a payload can
//! tell by the hash that it is the one that was sent.

mod entry;
mod hash;
mod service;

pub use service::Audit;

#[cfg(doc)]
use crate::call::{Call, attempt_log::AttemptLog};
