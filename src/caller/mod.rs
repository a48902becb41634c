//! The caller room: who is calling.
//!
//! In comes the request as the listener read it, on goes an [`Identified`] with what its caller may do. Where
//! `[callers]` are configured, refused is everybody who shows none of their keys, and who asks more often than its limit
//! allows; where none are, all are one anonymous caller, which only loopback and Unix sockets let in.
//!
//! Guards: a caller's key goes no further than this room; the forward room strips the field that it stands in.

mod keys;
mod limit;
mod service;

pub use keys::{KeyHash, Keys, Registered};
pub use limit::CallerLimit;
pub use service::{Identify, IdentifyLayer};

#[cfg(doc)]
use crate::call::Identified;
