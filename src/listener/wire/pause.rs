//! How long somebody was waited for.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::timer::Timer;
use crate::os::clock;

/// How often it is looked at how long a body was waited for.
const TICK: Duration = Duration::from_secs(1);

/// A pause that is going on, and those before it.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// Since when; `None` while there is none.
    pub(super) since: Option<Instant>,
    /// How long those before were together.
    pub(super) before: Duration,
    pub(super) timer: Timer,
}

impl Pause {
    /// Ready once this pause and those before are longer than `timeouts`.
    pub(super) fn exceeds(&mut self, timeouts: Duration, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let since = *self.since.get_or_insert_with(clock::now);
            let left = timeouts.saturating_sub(self.before);
            if left.is_zero() {
                return Poll::Ready(());
            }
            ready!(self.timer.poll(since + left.min(TICK), context));
            self.ends();
        }
    }

    /// Something came, or it is looked at how long nothing did. Whoever did not even ask was not waiting: a body that
    /// streams is left alone while its call queues.
    pub(super) fn ends(&mut self) {
        if let Some(since) = self.since.take() {
            self.before += clock::now().saturating_duration_since(since).min(2 * TICK);
        }
    }
}
