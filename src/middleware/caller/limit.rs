//! A caller's own limit: `requests` at once, and as many again in each `window`.

use std::{num::NonZeroU32, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ledger::gcra::Gcra;

/// How much a caller may ask for, whatever becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerLimit {
    /// So many requests.
    pub requests: NonZeroU32,
    /// In this span on average.
    pub window: Duration,
}

/// The limit at work.
#[derive(Debug)]
pub(super) struct Limiter(Mutex<Gcra>);

impl Limiter {
    pub(super) fn new(CallerLimit { requests, window }: CallerLimit) -> Self {
        Self(Mutex::new(Gcra::new(requests, window, requests)))
    }

    /// Whether one more request is within the limit; otherwise how long until it is.
    pub(super) fn check(&self, now: Instant) -> Result<(), Duration> {
        self.0.lock().take(now).map_err(|next| next.saturating_duration_since(now))
    }
}
