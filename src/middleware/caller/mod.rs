//! Finds out who calls.
//!
//! In comes the request as the listener read it, on goes an [`Identified`] with what its caller may do. Where
//! `[callers]` are configured, refused is everybody who shows nothing of theirs, and who asks more often than its limit
//! allows; where none are, all are one anonymous caller, which only loopback and Unix sockets let in.
//!
//! A caller is known by a key, by a token of an issuer that is believed (`[issuers]`), or by the certificate of its
//! connection; keys and issuers' keys may change while the gateway runs.
//!
//! Guards: no layer below reads a caller's key or token, and `forward` strips the field that holds it.

mod authenticator;
mod callers;
mod fetch;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod issuer;
mod jwks;
mod keys;
mod limit;
mod service;
#[cfg(test)]
mod tests;
mod token;

pub use authenticator::Authenticator;
pub use callers::{Callers, Registered, SeveralCallers};
pub use files::follow_files;
pub use issuer::{IssuerSettings, Issuers, KeySource, fetch_keys};
pub use jwks::{ALGORITHMS, KeySet, UnusableSet};
pub use keys::{KeyHash, NoKeyHash, UnusableKeys, new_key};
pub use limit::CallerLimit;

#[cfg(doc)]
use crate::call::Identified;
