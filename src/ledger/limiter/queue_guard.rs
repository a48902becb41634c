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
    state::refused,
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
        if let Some(refusal) = state.refusals.remove(&self.ticket) {
            return Err(refusal);
        }
        if self.signal.is_evicted() {
            return Err(state.full(&self.request, now, Limit::Lent));
        }
        let deadline = self.request.deadline;
        let mut until = state.next_review().map_or(deadline, |review| review.min(deadline));
        if state.queue.head() == Some(self.ticket) {
            match self.limiter.slots.take(now) {
                Ok(grant) => {
                    state.queue.serve(self.ticket);
                    state.used(&self.request.caller, now);
                    let request = self.request.clone();
                    return Ok(ControlFlow::Break(Attempt::with_slot(&self.limiter, grant, request)));
                }
                Err(Denied::Until(at)) => until = until.min(at),
                Err(Denied::Unanswered) => {}
            }
        }
        if now >= deadline {
            let ahead = state.queue.ahead_of(self.ticket);
            return Err(refused(&self.limiter.slots.outlook(now), ahead));
        }
        Ok(ControlFlow::Continue(until))
    }
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        let mut state = self.limiter.state.lock();
        state.queue.leave(self.ticket);
        state.refusals.remove(&self.ticket);
        state.wake_head();
    }
}
