//! A call that waits in the queue. Dropping it leaves the queue.

use std::{ops::ControlFlow, sync::Arc};

use tokio::{sync::futures::Notified, time::Instant};

use super::{
    super::{
        SlotRequest,
        queue::Ticket,
        queue_capacity::{Limit, QueueAdmission},
        waiter_signal::WaiterSignal,
        window::Denied,
    },
    Attempt, Refused, RouteLimiter,
    recent_use::PASSED,
};
use crate::os::clock;

pub(in crate::ledger) struct QueueGuard {
    pub(super) limiter: Arc<RouteLimiter>,
    pub(super) ticket: Ticket,
    pub(super) signal: Arc<WaiterSignal>,
    pub(super) request: SlotRequest,
    /// Dropped after the ticket has left the queue.
    pub(super) _admission: QueueAdmission,
}

impl QueueGuard {
    pub(super) fn listen(&self) -> Notified<'_> {
        self.signal.listen()
    }

    /// Takes a slot if it is this call's turn, or returns when to try again unless it is woken before.
    pub(super) fn try_take(&self) -> Result<ControlFlow<Attempt, Instant>, Refused> {
        let now = clock::now();
        let mut state = self.limiter.state.lock();
        state.review_if_due(now);
        if let Some(refusal) = state.take_refusal(self.ticket, &self.request, now) {
            return Err(refusal);
        }
        if self.signal.is_evicted() {
            state.leave(self.ticket, &self.signal);
            return Err(state.full(&self.request, now, Limit::Lent));
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
                        Ok(grant) => {
                            let request = self.request.clone();
                            return Ok(ControlFlow::Break(Attempt::with_slot(&self.limiter, grant, request)));
                        }
                        Err(Denied::Until(at)) => until = until.min(at),
                        Err(Denied::Unanswered) => {}
                        Err(Denied::ForCaller) => {
                            // The calls of others pass it.
                            until = until.min(now + PASSED);
                            if let Some(next) = state.next(now) {
                                state.found(next.ticket, self.ticket);
                            }
                        }
                    }
                }
            }
        }
        if now >= deadline {
            let refused = state.late(self.ticket, now);
            return Err(state.refuse(self.ticket, &self.request, refused, now));
        }
        Ok(ControlFlow::Continue(until))
    }
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        let mut state = self.limiter.state.lock();
        state.leave(self.ticket, &self.signal);
        state.wake_next(clock::now());
    }
}
