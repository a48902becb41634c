//! In which order those who wait for one bucket are served.
//!
//! 1. Who had a turn and met a lock ([`Arrival::Requeued`]) goes first; among these, first come first served.
//! 2. Between callers: by weight, so that one that floods the queue delays the others by no more than their shares
//!    ([`backlog`]).
//! 3. Within a caller: by urgency, except that waiting counts too ([`flow`]); among equals, first come first served.
//!
//! Nothing here locks, sleeps or reads a clock. Whoever holds the queue asks for [`Queue::position`] to promise a
//! newcomer its moment, lets it [`Queue::join`], and says for each one that goes whether it was served
//! ([`Queue::serve`]) or not ([`Queue::leave`]).
//!
//! With n waiters of c callers every operation costs O(log n + c); in sum, n may be 100,000 and c some hundreds.

mod backlog;
mod enqueued_at;
mod fenwick;
mod flow;
mod level;
#[cfg(test)]
mod tests;
mod ticket;
mod turns;
mod urgency;

use tokio::time::Instant;

pub use self::urgency::Urgency;
use self::{
    backlog::{Backlog, Turn},
    ticket::Lane,
};
pub(super) use self::{enqueued_at::AGEING, ticket::Ticket};
use super::{Arrival, Caller};

/// The waiters of one bucket, each with what its owner keeps of it.
#[derive(Debug)]
pub(super) struct Queue<W> {
    /// `None` while nobody waits: most buckets have no queue, and there may be very many of them.
    backlog: Option<Box<Backlog<W>>>,
    /// How many ever joined, so that no number is given twice.
    joined: u64,
}

/// What a join did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joined {
    /// The newcomer.
    pub(super) ticket: Ticket,
    /// Whether somebody who was there already may be served later than before. What those were promised has to be
    /// looked at again.
    pub(super) delays: bool,
}

// === impl Queue ===

impl<W> Queue<W> {
    /// Nobody waits.
    pub(super) const fn new() -> Self {
        Self { backlog: None, joined: 0 }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.len())
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.backlog.is_none()
    }

    /// How many would be served before a newcomer like this one, if nobody else came.
    pub(super) fn position(&self, caller: &Caller, arrival: Arrival, urgency: Urgency, now: Instant) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| match arrival {
            Arrival::Requeued => backlog.position_at_front(),
            Arrival::New => backlog.position(caller, urgency, now),
        })
    }

    /// Adds a waiter, where [`position`](Self::position) said.
    ///
    /// If its caller has another weight than before, the new one counts from here on, for those who wait already too.
    pub(super) fn join(
        &mut self,
        caller: &Caller,
        arrival: Arrival,
        urgency: Urgency,
        now: Instant,
        waiter: W,
    ) -> Joined {
        let backlog = self.backlog.get_or_insert_with(|| Box::new(Backlog::new(now)));
        let number = self.joined;
        self.joined += 1;
        match arrival {
            Arrival::Requeued => backlog.join_front(number, now, waiter),
            Arrival::New => backlog.join(caller, urgency, number, now, waiter),
        }
    }

    /// How many are served before this one, if nobody else comes. Everybody is served before one that left.
    pub(super) fn ahead_of(&self, ticket: Ticket) -> usize {
        let ahead = self.backlog.as_ref().and_then(|backlog| backlog.ahead_of(ticket));
        ahead.unwrap_or_else(|| self.len())
    }

    /// Who is next.
    pub(super) fn head(&self) -> Option<Ticket> {
        self.backlog.as_ref()?.head()
    }

    /// What is kept of a waiter.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&W> {
        self.backlog.as_ref()?.get(ticket)
    }

    /// The head was served: it goes, and its caller has used a turn.
    pub(super) fn serve(&mut self, ticket: Ticket) -> Option<W> {
        self.remove(ticket, Turn::Used)
    }

    /// Goes without having been served; its caller keeps the turn.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<W> {
        self.remove(ticket, Turn::Kept)
    }

    /// All waiters in the order in which they are served, if nobody else comes.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Ticket, &W)> {
        self.backlog.iter().flat_map(|backlog| backlog.in_order())
    }

    fn remove(&mut self, ticket: Ticket, turn: Turn) -> Option<W> {
        let backlog = self.backlog.as_mut()?;
        let waiter = backlog.remove(ticket, turn)?;
        if backlog.len() == 0 {
            // With nobody there is nobody to be unfair to, so the turns used are forgotten as well.
            self.backlog = None;
        }
        Some(waiter)
    }
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self::new()
    }
}
