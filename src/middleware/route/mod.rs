//! Finds the account and the catalogue route of a request.
//!
//! Takes an [`Identified`] request and gives a [`Matched`] one. Rejects an account that is not configured, a target
//! that is not on one of the account's hosts, a path that two servers could read differently, and, with
//! `routing.unknown = "deny"`, a call that the catalogue does not know.
//!
//! In the answer it rewrites Zoho's redirects to the form in which the caller calls the gateway (`location`).
//!
//! Invariants: each request goes to a host of its account, and Zoho serves it as the call that the gateway counts.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod location;
mod matcher;
mod path;
#[cfg(test)]
mod properties;
mod service;
mod target;

pub use matcher::{Ambiguity, AmbiguousRoutes, Matcher};
pub use path::{Path, PathFault};
pub use service::Router;
pub use target::of_gateway_path;

#[cfg(doc)]
use crate::call::{Identified, Matched};
