//! Checks a call with `Gateway-Dry-Run: ?1` (a boolean of RFC 9651) and does not send it.
//!
//! The call has passed the layers above, so its route and payload are good. The answer says which route it is, how long it
//! would wait, and, where its threshold, a lock or a full queue would reject it, the problem that it would get. The
//! answer itself is a 200. Nothing is sent, and no slot, queue entry or token is used, so the answer says nothing about the
//! account's token.
//!
//! Another value in the field is rejected, because a caller that asks for a dry run must not cause a real call.

mod service;

pub use service::DryRun;
