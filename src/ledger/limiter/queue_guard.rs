//! A caller's place in the queue. Dropping it leaves the queue.

use std::sync::Arc;

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
};
use crate::os::clock;

pub(super) enum Entered {
    Served(Attempt),
    Waiting(QueueGuard),
}

pub(super) enum Look {
    Served(Attempt),
    /// Look again then, or when woken.
    Wait {
        until: Option<Instant>,
    },
}

pub(in crate::ledger) struct QueueGuard {
    limiter: Arc<RouteLimiter>,
    ticket: Ticket,
    signal: Arc<WaiterSignal>,
    request: SlotRequest,
    /// Given up after the place.
    _admission: QueueAdmission,
}

impl QueueGuard {
    pub(super) fn new(
        limiter: Arc<RouteLimiter>,
        ticket: Ticket,
        signal: Arc<WaiterSignal>,
        request: SlotRequest,
        admission: QueueAdmission,
    ) -> Self {
        Self { limiter, ticket, signal, request, _admission: admission }
    }

    pub(super) fn listen(&self) -> Notified<'_> {
        self.signal.listen()
    }

    pub(super) fn look(&self) -> Result<Look, Refused> {
        let now = clock::now();
        let mut state = self.limiter.state.lock();
        state.review_if_due(now);
        if let Some(refused) = state.told.remove(&self.ticket) {
            return Err(refused);
        }
        if self.signal.is_turned_out() {
            return Err(state.full(&self.request, now, Limit::Lent));
        }
        let mut until = state.next_review();
        if state.queue.head() == Some(self.ticket) {
            match self.limiter.slots.take(now) {
                Ok(grant) => {
                    state.queue.serve(self.ticket);
                    let request = self.request.clone();
                    return Ok(Look::Served(Attempt::with_slot(&self.limiter, grant, request)));
                }
                Err(Denied::Until(at)) => until = Some(until.map_or(at, |review| review.min(at))),
                Err(Denied::Unanswered) => {}
            }
        }
        if now >= self.request.deadline {
            let ahead = state.queue.ahead_of(self.ticket);
            return Err(state.refused(now, ahead));
        }
        Ok(Look::Wait { until })
    }
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        let mut state = self.limiter.state.lock();
        state.queue.leave(self.ticket);
        state.told.remove(&self.ticket);
        state.wake_head();
    }
}
