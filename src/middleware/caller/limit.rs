//! A caller's request limit: `requests` at once, and as many again per `window`.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ledger::{Caller, gcra::Gcra};

/// How many requests a caller may make, whatever their outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerLimit {
    /// The number of requests.
    pub requests: NonZeroU32,
    /// The span in which that number is allowed on average.
    pub window: Duration,
}

/// The limits of all callers, with what they have used. A reload keeps the use of each limit that it does not change.
#[derive(Debug, Default)]
pub struct CallerLimiters(Mutex<HashMap<Caller, (CallerLimit, Arc<Limiter>)>>);

impl CallerLimiters {
    /// The one that enforces this limit.
    pub(super) fn of(&self, caller: &Caller, limit: CallerLimit) -> Arc<Limiter> {
        let mut limiters = self.0.lock();
        match limiters.get(caller) {
            Some((same, limiter)) if *same == limit => Arc::clone(limiter),
            _ => {
                let limiter = Arc::new(Limiter::new(limit));
                limiters.insert(caller.clone(), (limit, Arc::clone(&limiter)));
                limiter
            }
        }
    }
}

/// Enforces a caller's limit.
#[derive(Debug)]
pub(super) struct Limiter(Mutex<Gcra>);

impl Limiter {
    pub(super) fn new(CallerLimit { requests, window }: CallerLimit) -> Self {
        Self(Mutex::new(Gcra::new(requests, window, requests)))
    }

    /// Counts one request; if it exceeds the limit, returns the wait until the next one is allowed.
    pub(super) fn check(&self, now: Instant) -> Result<(), Duration> {
        self.0.lock().take(now).map_err(|next| next.saturating_duration_since(now))
    }
}
