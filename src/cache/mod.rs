//! The cache room: a repeated read is answered without a call to Zoho.
//!
//! In comes a [`Call`], on goes the same call when the cache cannot answer it. Off unless a route's `cache` says how
//! long its answers keep; then that span, not Zoho's `Cache-Control`, decides freshness (RFC 9111 lets an operator
//! configure it), while the caller's directives are followed. Only complete, successful answers to GET are kept: a
//! failure inside a 200 is not one.
//!
//! A write through the gateway makes every earlier answer for the same path stale (RFC 9111 section 4.4), also one that
//! is still on its way. Identical reads share one flight; it outlives the caller who started it, and if it fails the
//! others make their own call.
//!
//! Guards: no answer crosses from one account to another, and no token is part of a key.

mod directives;
mod epochs;
mod flights;
mod kept;
mod key;
mod service;
#[cfg(test)]
mod tests;

pub use service::{Cache, CacheLayer};

#[cfg(doc)]
use crate::call::Call;
