//! `pace = "smooth"`: calls spread evenly over the window, by a GCRA with a burst of one.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use crate::{ledger::gcra::Gcra, zoho::catalogue::Threshold};

/// Says when the next call may go, beside the ledger and never instead of it.
#[derive(Debug)]
pub(super) struct Pacer {
    gcra: Gcra,
    next: Option<Instant>,
}

impl Pacer {
    pub(super) fn new(threshold: &Threshold) -> Self {
        Self { gcra: Gcra::new(threshold.requests, threshold.window, NonZeroU32::MIN), next: None }
    }

    /// Takes the next place in time, or says when it comes.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.gcra.take(now)?;
        let (at, interval) = self.forecast(now);
        self.next = Some(at + interval);
        Ok(())
    }

    /// When the next call may go, and how long after it the one behind.
    pub(super) fn forecast(&self, now: Instant) -> (Instant, Duration) {
        (self.next.map_or(now, |next| next.max(now)), self.gcra.interval())
    }
}
