//! The answer to a call, and what the log says of it.

use std::time::Duration;

use crate::{
    call::request_id::RequestId,
    ledger::LockHit,
    message::body::Body,
    zoho::{account::AccountName, catalogue::RouteId, reply::TokenRefusal},
};

/// Zoho's answer, with the gateway's judgement of it.
#[derive(Debug)]
pub struct Answer {
    /// The answer for the caller.
    pub response: http::Response<Body>,
    /// The reason for a retry, if Zoho did not execute the call.
    pub retry: Option<RetryReason>,
}

/// Why Zoho did not execute a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryReason {
    /// Zoho refused its token.
    TokenRefused(TokenRefusal),
    /// The route is locked, as the ledger recorded it.
    Locked(LockHit),
}

/// Summary of a request for the log, in the answer's extensions.
#[derive(Debug, Clone)]
pub struct RequestSummary {
    /// The account it used.
    pub account: AccountName,
    /// The route it matched.
    pub route: RouteId,
    /// How long it waited in the queue, if it left the queue.
    pub waited: Option<Duration>,
}

/// The id of the merged call that an answer is from, for the log; in the answer's extensions.
#[derive(Debug, Clone)]
pub struct MergedInto(pub RequestId);

/// The part of the cache in an answer, for log and metrics; in the answer's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// Answered from the cache.
    Hit,
    /// Answered from the cache, no longer fresh, because Zoho could not be asked.
    Stale,
    /// Answered by Zoho.
    Miss,
    /// Answered by Zoho to another caller's identical read.
    Collapsed,
    /// A read that the cache must not answer.
    Bypass,
    /// Not answered: the caller accepts only an answer from the cache.
    NotCached,
}

impl CacheOutcome {
    /// All outcomes.
    pub const ALL: [Self; 6] = [Self::Hit, Self::Stale, Self::Miss, Self::Collapsed, Self::Bypass, Self::NotCached];

    /// Its name in log and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
            Self::NotCached => "not_cached",
        }
    }
}
