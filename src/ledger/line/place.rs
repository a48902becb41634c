//! A place in the queue; dropping it leaves the queue.

use std::sync::Arc;

use tokio::{sync::futures::Notified, time::Instant};

use super::{
    super::{
        Claim, Permit,
        bell::Bell,
        bucket::Denied,
        queue::Ticket,
        waiting_room::{Limit, Seat},
    },
    Line, Refused,
};
use crate::os::clock;

pub(super) enum Entered {
    Served(Permit),
    Waiting(Place),
}

pub(super) enum Look {
    Served(Permit),
    /// Look again then, or when woken.
    Wait {
        until: Option<Instant>,
    },
}

pub(in crate::ledger) struct Place {
    line: Arc<Line>,
    ticket: Ticket,
    bell: Arc<Bell>,
    claim: Claim,
    /// Given up after the place.
    _seat: Seat,
}

impl Place {
    pub(super) fn new(line: Arc<Line>, ticket: Ticket, bell: Arc<Bell>, claim: Claim, seat: Seat) -> Self {
        Self { line, ticket, bell, claim, _seat: seat }
    }

    pub(super) fn listen(&self) -> Notified<'_> {
        self.bell.listen()
    }

    pub(super) fn look(&self) -> Result<Look, Refused> {
        let now = clock::now();
        let mut state = self.line.state.lock();
        state.review_if_due(now);
        if let Some(refused) = state.told.remove(&self.ticket) {
            return Err(refused);
        }
        if self.bell.is_turned_out() {
            return Err(state.full(&self.claim, now, Limit::Lent));
        }
        let mut until = state.next_review();
        if state.queue.head() == Some(self.ticket) {
            match state.take(now) {
                Ok(taken) => {
                    state.queue.serve(self.ticket);
                    self.line.note(&mut state);
                    return Ok(Look::Served(Permit::new(Arc::clone(&self.line), taken, self.claim.clone())));
                }
                Err(Denied::Until(at)) => until = Some(until.map_or(at, |review| review.min(at))),
                Err(Denied::Unanswered) => {}
            }
        }
        if now >= self.claim.deadline {
            let ahead = state.queue.ahead_of(self.ticket);
            return Err(state.refused(now, ahead));
        }
        Ok(Look::Wait { until })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.line.state.lock();
        state.queue.leave(self.ticket);
        state.told.remove(&self.ticket);
        state.wake_head();
    }
}
