//! The order in which the calls that wait at one limiter are served.
//!
//! 1. Calls that had a slot and hit a lock ([`Arrival::Requeued`]) go first; among them, first come, first served.
//! 2. Between callers: by weight, so that a caller that floods the queue delays the others by no more than their shares
//!    ([`backlog`]).
//! 3. Within a caller: by urgency and waiting time ([`flow`]); among equals, first come, first served.
//!
//! Nothing here locks, sleeps or reads a clock. The owner of the queue adds a call with [`Queue::join`] and removes it with
//! [`Queue::serve`] if it was served, otherwise with [`Queue::leave`]. It may serve another call than the first: the order
//! says who goes first of those that may go.
//!
//! With n waiters of c callers every operation costs O(log n + c); n may be 100,000 and c some hundreds.

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

use std::time::Duration;

use tokio::time::Instant;

pub use self::urgency::Urgency;
use self::{
    backlog::{Backlog, Turn},
    ticket::Lane,
};
pub(super) use self::{
    enqueued_at::AGEING,
    ticket::Ticket,
    turns::{Tag, Turns},
};
use super::{Arrival, Caller};

/// The waiters of one limiter, each with the owner's data `W`.
#[derive(Debug)]
pub(super) struct Queue<W> {
    /// `None` while the queue is empty: most limiters have no waiters, and there may be very many limiters.
    backlog: Option<Box<Backlog<W>>>,
    /// How many have ever joined, so that each has its own number.
    joined: u64,
}

/// The waiters of one caller.
#[derive(Debug, Clone)]
pub(super) struct WaitingFlow {
    pub(super) caller: Caller,
    pub(super) waiting: usize,
    /// The urgency of the one that goes first.
    pub(super) urgency: Urgency,
    /// How long that one has waited.
    pub(super) waited: Duration,
}

/// The waiters of one caller in their order, and when its turns come.
pub(super) struct Line<'a, W> {
    pub(super) caller: &'a Caller,
    pub(super) turns: Turns,
    pub(super) entries: Box<dyn Iterator<Item = (Ticket, &'a W)> + 'a>,
}

/// The result of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joined {
    /// Identifies the new waiter.
    pub(super) ticket: Ticket,
    /// Whether earlier waiters may now be served later, so that their deadlines have to be checked again.
    pub(super) delays: bool,
}

// === impl Queue ===

impl<W> Queue<W> {
    /// An empty queue.
    pub(super) const fn new() -> Self {
        Self { backlog: None, joined: 0 }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.len())
    }

    /// Whether no call waits.
    pub(super) fn is_empty(&self) -> bool {
        self.backlog.is_none()
    }

    /// Adds a waiter.
    ///
    /// If its caller's weight has changed, the new weight counts from now on, also for calls that already wait.
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

    /// How many are served before this one, if no other comes. For one that has left: all.
    pub(super) fn ahead_of(&self, ticket: Ticket) -> usize {
        let ahead = self.backlog.as_ref().and_then(|backlog| backlog.ahead_of(ticket));
        ahead.unwrap_or_else(|| self.len())
    }

    /// The waiters by caller, without those that were requeued.
    pub(super) fn by_caller(&self, now: Instant) -> Vec<WaitingFlow> {
        self.backlog.as_ref().map_or_else(Vec::new, |backlog| backlog.summaries(now))
    }

    /// How many were requeued; they go first.
    pub(super) fn requeued(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.requeued())
    }

    /// Those that were requeued, in their order.
    pub(super) fn front(&self) -> impl Iterator<Item = (Ticket, &W)> {
        self.backlog.iter().flat_map(|backlog| backlog.front())
    }

    /// The others by caller. Their order is that of their turns, and of the lines among equal turns.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_, W>> {
        self.backlog.iter().flat_map(|backlog| backlog.lines())
    }

    /// The callers of these lines.
    pub(super) fn callers(&self) -> impl Iterator<Item = &Caller> {
        self.backlog.iter().flat_map(|backlog| backlog.callers())
    }

    /// The next waiter to be served.
    pub(super) fn head(&self) -> Option<Ticket> {
        self.backlog.as_ref()?.head()
    }

    /// The owner's data of a waiter.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&W> {
        self.backlog.as_ref()?.get(ticket)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut W> {
        self.backlog.as_mut()?.get_mut(ticket)
    }

    /// Removes a waiter that was served; its caller has used a turn.
    pub(super) fn serve(&mut self, ticket: Ticket) -> Option<W> {
        self.remove(ticket, Turn::Used)
    }

    /// Removes a waiter that was not served; its caller keeps the turn.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<W> {
        self.remove(ticket, Turn::Kept)
    }

    /// All waiters in the order in which they are served, if no other comes.
    #[cfg(test)]
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Ticket, &W)> {
        self.backlog.iter().flat_map(|backlog| backlog.in_order())
    }

    fn remove(&mut self, ticket: Ticket, turn: Turn) -> Option<W> {
        let backlog = self.backlog.as_mut()?;
        let waiter = backlog.remove(ticket, turn)?;
        if backlog.len() == 0 {
            // Fairness matters only between waiters, so the turns that were used are forgotten too.
            self.backlog = None;
        }
        Some(waiter)
    }
}
