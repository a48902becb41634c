//! `pace = "smooth"`: spreads calls evenly over the window, with a GCRA whose burst is one.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use crate::{ledger::gcra::Gcra, zoho::catalogue::Threshold};

/// Decides when the next call may go, in addition to the window's rule.
#[derive(Debug)]
pub(super) struct Pacer {
    gcra: Gcra,
    next: Option<Instant>,
}

impl Pacer {
    pub(super) fn new(threshold: &Threshold) -> Self {
        Self { gcra: Gcra::new(threshold.requests, threshold.window, NonZeroU32::MIN), next: None }
    }

    /// Allows a call now, or returns when the next one is allowed.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.gcra.take(now)?;
        let (at, interval) = self.forecast(now);
        self.next = Some(at + interval);
        Ok(())
    }

    /// When the next call may go, and the interval between calls.
    pub(super) fn forecast(&self, now: Instant) -> (Instant, Duration) {
        (self.next.map_or(now, |next| next.max(now)), self.gcra.interval())
    }
}
