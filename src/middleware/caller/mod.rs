//! Identifies the caller.
//!
//! Takes the request as the listener read it and passes on an [`Identified`] with the caller's permissions. Where
//! `[callers]` are configured, it rejects requests without valid credentials and requests above their caller's limit.
//! Without `[callers]`, all requests come from one anonymous caller, which only loopback and Unix sockets accept.
//!
//! A caller is known by a key, by a token of a trusted issuer (`[issuers]`), or by the certificate of its connection. Keys
//! and issuers' keys may change while the gateway runs.
//!
//! Guarantees: no layer below reads a caller's key or token, and `forward` strips the field that holds it.

mod authenticator;
mod callers;
mod fetch;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod issuer;
mod jwks;
mod key_set_file;
mod keys;
mod limit;
mod registered;
mod service;
#[cfg(test)]
mod tests;
mod token;

pub use authenticator::Authenticator;
pub use callers::{Callers, SeveralCallers};
pub use files::follow_files;
pub use issuer::{IssuerSettings, Issuers, KeySource, fetch_keys};
pub use jwks::{ALGORITHMS, KeySet, UnusableSet};
pub use keys::{KeyHash, NoKeyHash, UnusableKeys, new_key};
pub use limit::{CallerLimit, CallerLimiters};
pub use registered::Registered;

#[cfg(doc)]
use crate::call::Identified;
