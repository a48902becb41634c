//! Answers a repeated read without a call to Zoho.
//!
//! Takes a [`Call`] and passes it on if the cache cannot answer it. A route is cached only if its `cache` sets a lifetime.
//! Then that lifetime decides freshness, not Zoho's `Cache-Control`: Zoho marks all of its answers as not storable, and RFC
//! 9111 section 4.2.4 lets a cache be configured otherwise. The caller's directives are obeyed (`directives`, `conditions`).
//! Only complete, successful answers to GET are stored; a 200 may contain an error ([`reply`](crate::zoho::reply)).
//!
//! A write through the gateway makes all earlier answers of the same path stale (RFC 9111 section 4.4), even those that are
//! still on the way (`epochs`), and those of other gateways (`invalidations`). Identical reads share one call (`collapse`). It continues when the caller that started it
//! leaves. If it fails, only that caller gets the failure, and one of the others makes the next call.
//!
//! When Zoho cannot answer, a stale answer may be served for `stale_if_error` longer (RFC 5861 section 4), and says so.
//!
//! Stored answers are not revalidated, because that would cost a slot, as reading again does.
//!
//! Guarantees: no answer goes to another account, no token is part of a key, and no answer from before a write through this
//! gateway is served after it.

mod answers;
mod cached_response;
mod collapse;
mod conditions;
mod directives;
mod epochs;
mod invalidations;
mod key;
mod read;
#[cfg(test)]
mod rfc_tests;
mod service;
#[cfg(test)]
mod tests;
mod write;

pub use epochs::LinkedRead;
pub use service::Cache;

#[cfg(doc)]
use crate::call::Call;
