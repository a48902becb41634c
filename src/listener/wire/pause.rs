//! How long the gateway has waited for the other side.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::timer::Timer;
use crate::os::clock;

/// How often the length of a pause is checked.
const TICK: Duration = Duration::from_secs(1);

/// The current pause and the earlier ones.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// When the current pause began; `None` without one.
    pub(super) since: Option<Instant>,
    /// The length of the earlier pauses together.
    earlier: Duration,
    pub(super) timer: Timer,
}

impl Pause {
    /// Ready when all pauses together are longer than `limit`.
    pub(super) fn exceeds(&mut self, limit: Duration, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let since = *self.since.get_or_insert_with(clock::now);
            let left = limit.saturating_sub(self.earlier);
            if left.is_zero() {
                return Poll::Ready(());
            }
            ready!(self.timer.poll(since + left.min(TICK), context));
            self.ends();
        }
    }

    /// Ends the current pause and adds it to the earlier ones. Time in which nothing polled is not counted: hyper does
    /// not read a streamed body while its call is in the queue.
    pub(super) fn ends(&mut self) {
        if let Some(since) = self.since.take() {
            self.earlier += clock::now().saturating_duration_since(since).min(2 * TICK);
        }
    }

    /// Forgets the earlier pauses.
    pub(super) fn restart(&mut self) {
        (self.since, self.earlier) = (None, Duration::ZERO);
    }
}
