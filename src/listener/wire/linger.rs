//! The end of a connection that may still be sending.
//!
//! Closing a connection with bytes unread makes the kernel send a RST, which may take away the answer that is on its way
//! (RFC 9112 section 9.6). Many clients look for an answer only when they have sent everything. So the rest of a body is
//! read and dropped to the end that its request declared, as long as it comes steadily.

use std::time::Duration;

use tokio::time::Instant;

use super::{HeadLimits, Timeouts, framing::Framing};
use crate::os::clock;

/// Where no end is declared, so much is read, for so long.
const BYTES: u64 = 1024 * 1024;
pub(super) const LINGER: Duration = Duration::from_millis(500);

/// The rest of a body has to bring so much in each period.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
pub(super) const LEAST: u64 = 16 * 1024;

/// So much of it is read at most, or `max_body` where that is more.
const LONGEST_REST: u64 = 64 * 1024 * 1024;

/// What is still read.
#[derive(Debug)]
pub(super) struct Linger {
    /// The rest of a body.
    rest: Option<Framing>,
    limits: HeadLimits,
    /// How many bytes more may come.
    left: u64,
    /// When it is over, whatever comes.
    end: Instant,
    /// When this period is over, and what it brought.
    period: Instant,
    brought: u64,
}

impl Linger {
    /// With the rest of a body before it, if there is one.
    pub(super) fn new(rest: Option<Framing>, timeouts: &Timeouts) -> Self {
        let now = clock::now();
        let (left, end) = match rest {
            Some(_) => (LONGEST_REST.max(timeouts.max_body), now + timeouts.body_timeout),
            None => (BYTES, now + LINGER),
        };
        Self { rest, limits: timeouts.head, left, end, period: now + PERIOD, brought: 0 }
    }

    /// Takes what came; whether more is read.
    pub(super) fn takes(&mut self, bytes: &[u8]) -> bool {
        let length = bytes.len() as u64;
        if let Some(rest) = &mut self.rest
            && (rest.follow(bytes, self.limits).is_err() || rest.is_done())
        {
            // What comes behind a body has no declared end.
            (self.rest, self.left, self.end) = (None, BYTES, clock::now() + LINGER);
        }
        self.brought += length;
        self.left = self.left.saturating_sub(length);
        self.left > 0 && clock::now() < self.end
    }

    /// When to ask whether it goes on.
    pub(super) fn moment(&self) -> Instant {
        self.end.min(self.period)
    }

    /// At that moment: whether more is read.
    pub(super) fn goes_on(&mut self) -> bool {
        let now = clock::now();
        let enough = self.brought >= LEAST;
        (self.brought, self.period) = (0, now + PERIOD);
        enough && self.rest.is_some() && now < self.end
    }
}
