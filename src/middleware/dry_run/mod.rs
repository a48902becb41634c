//! The dry-run room: a call with `Gateway-Dry-Run: ?1` (a boolean of RFC 8941) is judged, but not made.
//!
//! It has passed route and validation, so its route and payload are good. The answer says which route it is, how long it
//! would wait, and, where it would be refused for its threshold, a lock or a full queue, the very problem it would get.
//! It is no failure to have asked, so the answer itself is a 200. Nothing is sent, and no slot, seat or token is taken;
//! what the account's token is worth is therefore not known here.
//!
//! Refused is a field that is no boolean: to make the call after all would be a surprise.

mod boolean;
mod service;

pub use service::DryRun;
