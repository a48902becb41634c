//! The end of a connection whose caller may still be sending.
//!
//! When a connection is closed with unread bytes, the kernel sends a RST, which may destroy the answer on its way (RFC
//! 9112 section 9.6). Many clients look for an answer only after they have sent everything. So the rest of a body is
//! read and dropped up to its declared end, as long as it arrives steadily.

use std::time::Duration;

use tokio::time::Instant;

use super::{HeadLimits, Timeouts, framing::Framing};
use crate::os::clock;

/// How many bytes are read, and for how long, where no end is declared.
const UNDECLARED_BYTES: u64 = 1024 * 1024;
pub(super) const LINGER: Duration = Duration::from_millis(500);

/// The rest of a body must bring at least `MIN_PER_PERIOD` bytes in each period.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
pub(super) const MIN_PER_PERIOD: u64 = 16 * 1024;

/// How many bytes of the rest are read at most; `max_body` where that is more.
const MAX_REST: u64 = 64 * 1024 * 1024;

/// The limits of the reading that is left.
#[derive(Debug)]
pub(super) struct Linger {
    /// The rest of a body, where its end is declared.
    rest: Option<Framing>,
    limits: HeadLimits,
    /// How many more bytes are read.
    left: u64,
    /// When reading ends in any case.
    end: Instant,
    /// When the current period ends, and how many bytes it brought.
    period_end: Instant,
    brought: u64,
}

impl Linger {
    /// Begins to read, first the rest of a body if there is one.
    pub(super) fn new(rest: Option<Framing>, timeouts: &Timeouts) -> Self {
        let now = clock::now();
        let (left, end) = match rest {
            Some(_) => (MAX_REST.max(timeouts.max_body), now + timeouts.body_timeout),
            None => (UNDECLARED_BYTES, now + LINGER),
        };
        Self { rest, limits: timeouts.head, left, end, period_end: now + PERIOD, brought: 0 }
    }

    /// Takes bytes that arrived. Whether to read more.
    pub(super) fn takes(&mut self, bytes: &[u8]) -> bool {
        let length = bytes.len() as u64;
        if let Some(rest) = &mut self.rest
            && (rest.follow(bytes, self.limits).is_err() || rest.is_done())
        {
            // The bytes after a body have no declared end.
            (self.rest, self.left, self.end) = (None, UNDECLARED_BYTES, clock::now() + LINGER);
        }
        self.brought += length;
        self.left = self.left.saturating_sub(length);
        self.left > 0 && clock::now() < self.end
    }

    /// When to call [`goes_on`](Self::goes_on).
    pub(super) fn deadline(&self) -> Instant {
        self.end.min(self.period_end)
    }

    /// Whether to read more at the deadline.
    pub(super) fn goes_on(&mut self) -> bool {
        let now = clock::now();
        let enough = self.brought >= MIN_PER_PERIOD;
        (self.brought, self.period_end) = (0, now + PERIOD);
        enough && self.rest.is_some() && now < self.end
    }
}
