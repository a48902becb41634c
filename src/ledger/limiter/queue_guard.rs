//! A call that waits in the queue. Dropping it leaves the queue.

use std::{ops::ControlFlow, sync::Arc};

use tokio::time::Instant;

use super::{
    super::{
        SlotRequest,
        queue::Ticket,
        queue_capacity::{Limit, QueueAdmission},
        sync::sleep_until,
        waiter_signal::WaiterSignal,
        window::{Denied, Grant},
    },
    Refused, RouteLimiter,
};
use crate::os::clock;

/// Borrows the request, so that a waiting call holds it once.
pub(in crate::ledger) struct QueueGuard<'a> {
    pub(super) limiter: &'a RouteLimiter,
    pub(super) ticket: Ticket,
    pub(super) signal: Arc<WaiterSignal>,
    pub(super) request: &'a SlotRequest,
    /// Dropped after the ticket has left the queue.
    pub(super) _admission: QueueAdmission,
}

impl QueueGuard<'_> {
    /// Waits for the turn of this call.
    pub(super) async fn take_slot(self) -> Result<Grant, Refused> {
        loop {
            // Listening starts first, so that no wake-up between the two is missed.
            let woken = self.signal.listen();
            let until = match self.try_take()? {
                ControlFlow::Break(grant) => return Ok(grant),
                ControlFlow::Continue(until) => until,
            };
            tokio::select! {
                () = woken => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Takes a slot if it is this call's turn, or returns when to try again unless it is woken before.
    fn try_take(&self) -> Result<ControlFlow<Grant, Instant>, Refused> {
        let now = clock::now();
        let mut state = self.limiter.state.lock();
        state.review_if_due(now);
        if let Some(refusal) = state.take_refusal(self.ticket, self.request, now) {
            return Err(refusal);
        }
        if self.signal.is_evicted() {
            state.leave(self.ticket, &self.signal);
            return Err(state.full(self.request, now, Limit::Lent));
        }
        let deadline = self.request.deadline;
        let mut until = state.next_review().map_or(deadline, |review| review.min(deadline));
        if let Some(next) = state.next(now) {
            state.found(next.ticket, self.ticket);
            if next.ticket == self.ticket {
                // Without a free slot, the slots themselves say when there may be one.
                if next.at > now && self.limiter.slots.can_take(now) {
                    until = until.min(next.at);
                } else {
                    match state.take(self.ticket, &self.request.caller, now) {
                        Ok(grant) => return Ok(ControlFlow::Break(grant)),
                        Err(Denied::Until(at)) => until = until.min(at),
                        Err(Denied::Unanswered) => {}
                    }
                }
            }
        }
        if now >= deadline {
            let refused = state.late(self.ticket, now);
            return Err(state.refuse(self.ticket, self.request, refused, now));
        }
        Ok(ControlFlow::Continue(until))
    }
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state.lock();
        state.leave(self.ticket, &self.signal);
        state.wake_next(clock::now());
    }
}
