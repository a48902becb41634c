//! A timer whose moment moves with each request, and that hardly ever rings.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Made at the first pause and then kept: a moment that moves back is not told to the runtime before the old one came.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once `moment` has come.
    pub(super) fn poll(&mut self, moment: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(moment)));
        if moment < sleep.deadline() {
            sleep.as_mut().reset(moment);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if moment <= sleep.deadline() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(moment);
        }
        Poll::Pending
    }
}
