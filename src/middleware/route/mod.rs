//! Finds the account of a request, and which of Zoho's calls it is.
//!
//! In comes an [`Identified`] request, on goes a [`Matched`]. Refused is an account that is not configured, a
//! target that is none of the account's hosts, a path that two servers could read differently, and, with
//! `routing.unknown = "deny"`, a call that the catalogue does not know.
//!
//! On the way back it rewrites Zoho's redirects to the form in which the caller calls (`location`).
//!
//! Guards: no request leaves for a host that is not its account's, and none is counted as one call and served as another.

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
