//! The audit room: one line for each call that may have changed something at Zoho.
//!
//! A call that changes nothing ([`Call::changes_nothing`]) passes by. Of every other one the line is written when its
//! visit is over, whether it was answered, failed, or its caller hung up: an entry is written by its `Drop`. A call
//! that was never sent makes no line; that and Zoho's word on it are read in the call's [`Trail`], which the forward room
//! leaves. It stands above the retry room, so that a call is one line however often it was sent.
//!
//! Neither query nor body is written, only their hashes: Zoho's calls carry personal data in them. Who kept a payload can
//! tell by the hash that it is the one that was sent.

mod entry;
mod hash;
mod service;

pub use service::{Audit, AuditLayer};

#[cfg(doc)]
use crate::{call::Call, trail::Trail};
