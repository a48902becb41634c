//! Checks a call with `Gateway-Dry-Run: ?1` (a boolean of RFC 8941) and does not make it.
//!
//! The call has passed the layers above, so its route and payload are good. The answer says which route it is, how long it
//! would wait, and, where its threshold, a lock or a full queue would refuse it, the same problem that it would get. The
//! answer itself is a 200. Nothing is sent, and no slot, queue entry or token is used, so the answer says nothing about the
//! account's token.
//!
//! A field with another value is refused: a caller that asks for a dry run must not get a real call.

mod boolean;
mod service;

pub use service::DryRun;
