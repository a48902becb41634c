//! Answers a repeated read without a call to Zoho.
//!
//! In comes a [`Call`], on goes the same call when the cache cannot answer it. Off unless a route's `cache` says how
//! long its answers keep; then that span, not Zoho's `Cache-Control`, decides freshness: Zoho marks all of its answers
//! as not to be kept, and RFC 9111 section 4.2.4 lets a cache be configured otherwise. The caller's directives are
//! followed (`directives`, `conditions`). Only complete, successful answers to GET are kept: a failure inside a 200 is
//! not one ([`reply`](crate::zoho::reply)).
//!
//! A write through the gateway makes every earlier answer for the same path stale (RFC 9111 section 4.4), also one that
//! is still on its way (`epochs`). Identical reads share one call (`collapse`); it outlives the caller that started it, and its
//! failure is that caller's alone: of the others the next one tries.
//!
//! When Zoho cannot be asked, an answer that is no longer fresh may serve for `stale_if_error` more (RFC 5861
//! section 4), and says so.
//!
//! CachedResponse answers are not revalidated: asking Zoho whether one still holds would cost a slot, as reading it anew does.
//!
//! Guards: no answer crosses from one account to another, no token is part of a key, and nothing from before a write
//! is served after it.

mod answers;
mod cached_response;
mod collapse;
mod conditions;
mod directives;
mod epochs;
mod key;
mod read;
#[cfg(test)]
mod rfc_tests;
mod service;
#[cfg(test)]
mod tests;

pub use service::Cache;

#[cfg(doc)]
use crate::call::Call;
