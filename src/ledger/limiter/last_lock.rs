//! The last lock of a route: how much of the threshold was used when Zoho refused a call, and what that says about its
//! cause.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    super::{
        LockHit, Quota,
        call_history::{Incident, LockCause},
    },
    RouteLimiter,
};
use crate::os::clock;

/// A lock that Zoho reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastLock {
    /// When Zoho refused the first call.
    pub at: Instant,
    /// When the lock ends.
    pub until: Instant,
    /// How many slots were in use then.
    pub used: u32,
    /// The threshold.
    pub requests: u32,
    /// Its window.
    pub window: Duration,
    /// What that says about the cause.
    pub cause: LockCause,
}

impl RouteLimiter {
    /// Keeps what is known about a lock. Calls that were in flight when it began report it again and change only its end.
    pub(super) fn keep(&self, last: &mut Option<LastLock>, hit: LockHit, quota: Quota, now: Instant) {
        if let Some(last) = last.as_mut().filter(|last| last.until > now) {
            last.until = last.until.max(hit.until);
            return;
        }
        let (requests, used) = (quota.requests.get(), quota.requests.get() - quota.remaining);
        let cause = match hit.external {
            true => LockCause::ExternalUse,
            false if self.slots.are_shared() => LockCause::NotKnown,
            false => LockCause::ThresholdUsedUp,
        };
        *last = Some(LastLock { at: now, until: hit.until, used, requests, window: quota.window, cause });
        self.context.history.keep_last_lock(self.incident(hit.until, quota, now), now, cause);
    }

    /// Records an incident with the calls of the last window.
    pub(super) fn report(&self, until: Instant, quota: Quota, now: Instant) {
        let text = self.context.history.keep(&self.incident(until, quota, now));
        self.context.backend.keep_incident(text);
    }

    fn incident(&self, until: Instant, quota: Quota, now: Instant) -> Incident {
        let since = now.checked_sub(quota.window).unwrap_or(now);
        let (calls, calls_are_complete) = self.context.history.calls(&self.key, since);
        Incident {
            at: clock::rfc3339(clock::wall()),
            account: self.key.account.clone(),
            route: self.key.limit.clone(),
            requests: quota.requests.get(),
            window_seconds: quota.window.as_secs_f64(),
            charged: quota.requests.get() - quota.remaining,
            locked_for_seconds: until.saturating_duration_since(now).as_secs_f64(),
            calls,
            calls_are_complete,
        }
    }
}
