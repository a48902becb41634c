//! How often a call may be made.

use std::{num::NonZeroU32, time::Duration};

/// Zoho's "Threshold Limit" and "Lock period" of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// How many calls may arrive in any span of `window`.
    pub requests: NonZeroU32,
    /// The span; a minute on Zoho's pages. At least a millisecond.
    pub window: Duration,
    /// How long Zoho refuses the call after one too many arrived.
    pub lock: Duration,
    /// How the allowance is spent within the window.
    pub pace: Pace,
}

/// How an allowance is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// A caller that wants the route alone spends it as it asks; when several want it, it is spread among them.
    #[default]
    Fair,
    /// As soon as the ledger allows.
    Burst,
    /// Spread evenly over the window.
    Smooth,
}

/// One of several limits of a call that hold at the same time: `{ requests = 100, window = "1h" }`.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// How many calls may arrive in any span of `window`.
    pub requests: NonZeroU32,
    /// The span.
    pub window: Duration,
    /// How long Zoho refuses the call after one too many: the same after any of them.
    pub lock: Option<Duration>,
}

impl Threshold {
    /// The limit of the shortest window as the call's threshold, and the others from the shortest window on. `lock` holds
    /// unless one of them says another.
    ///
    /// # Errors
    /// What was expected.
    pub fn of_limits(mut limits: Vec<Limit>, lock: Duration) -> Result<(Self, Vec<Self>), &'static str> {
        limits.sort_unstable_by_key(|limit| limit.window);
        if limits.windows(2).any(|pair| pair[0].window == pair[1].window) {
            return Err("expected limits of different windows");
        }
        let mut locks = limits.iter().filter_map(|limit| limit.lock);
        let lock = locks.next().unwrap_or(lock);
        if locks.any(|other| other != lock) {
            return Err("expected one lock: Zoho locks the call, whichever limit it exceeded");
        }
        let threshold = |limit: Limit, pace| Self { requests: limit.requests, window: limit.window, lock, pace };
        let mut limits = limits.into_iter();
        let first = limits.next().ok_or("expected at least one limit")?;
        Ok((threshold(first, Pace::default()), limits.map(|limit| threshold(limit, Pace::Burst)).collect()))
    }
}
