//! The waiters of a queue that is not empty: the requeued ones in front, then the callers' flows in virtual time.
//!
//! Start-time fair queueing: each flow has a tag, and the flow with the least tag is next. Its tag then moves on by a
//! step that is shorter the greater its weight is. Virtual time is the tag that was served last. A flow begins at
//! virtual time: its absence gives it no extra turns and costs it none.

#[cfg(test)]
use std::{cmp::Reverse, collections::BinaryHeap, iter};

use tokio::time::Instant;

use super::{
    Joined, Lane, Line, Ticket, Urgency, WaitingFlow, enqueued_at::EnqueuedAt, flow::Flow, level::Level, turns::Tag,
};
use crate::ledger::Caller;

/// The waiters of a queue that is not empty.
#[derive(Debug)]
pub(super) struct Backlog<W> {
    /// Arrivals are counted from this moment.
    epoch: Instant,
    latest: EnqueuedAt,
    len: usize,
    front: Level<W>,
    /// In the order in which they began, which also decides between equal tags. Each has a waiter.
    flows: Vec<Flow<W>>,
    virtual_time: Tag,
    /// Callers without a waiter that used turns ahead of virtual time. Without this, a caller that sends one call at a
    /// time would begin anew each time and always be next.
    paid_ahead: Vec<(Caller, Tag)>,
}

/// Whether a waiter that leaves was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Used,
    Kept,
}

// === impl Backlog ===

impl<W> Backlog<W> {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            latest: EnqueuedAt::default(),
            len: 0,
            front: Level::new(),
            flows: Vec::new(),
            virtual_time: Tag::default(),
            paid_ahead: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn summaries(&self, now: Instant) -> Vec<WaitingFlow> {
        let now = self.arrival(now);
        self.flows.iter().filter_map(|flow| flow.summary(now)).collect()
    }

    pub(super) fn requeued(&self) -> usize {
        self.front.len()
    }

    pub(super) fn front(&self) -> impl Iterator<Item = (Ticket, &W)> {
        let ticket = |number| Ticket { number, lane: Lane::Front };
        self.front.iter().map(move |(number, _, waiter)| (ticket(number), waiter))
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_, W>> {
        self.flows.iter().map(Flow::line)
    }

    pub(super) fn callers(&self) -> impl Iterator<Item = &Caller> {
        self.flows.iter().map(|flow| &flow.caller)
    }

    pub(super) fn join_front(&mut self, number: u64, now: Instant, waiter: W) -> Joined {
        self.latest = self.arrival(now);
        self.front.push(number, self.latest, waiter);
        self.len += 1;
        Joined { ticket: Ticket { number, lane: Lane::Front }, delays: self.front.len() < self.len }
    }

    pub(super) fn join(&mut self, caller: &Caller, urgency: Urgency, number: u64, now: Instant, waiter: W) -> Joined {
        self.latest = self.arrival(now);
        let index = self.index_of(caller).unwrap_or_else(|| {
            let start = self.start_of(caller);
            self.paid_ahead.retain(|(other, _)| other != caller);
            self.flows.push(Flow::new(caller, start, number));
            self.flows.len() - 1
        });
        let flow = &mut self.flows[index];
        let weight_changed = flow.set_weight(caller);
        let ticket = flow.push(urgency, number, self.latest, waiter);
        self.len += 1;
        let overtakes = self.ahead_of(ticket).is_some_and(|ahead| ahead + 1 < self.len);
        Joined { ticket, delays: overtakes || weight_changed }
    }

    pub(super) fn ahead_of(&self, ticket: Ticket) -> Option<usize> {
        match ticket.lane {
            Lane::Front => self.front.rank(ticket.number).map(|(_, before)| before),
            Lane::Flow { since, urgency } => {
                let index = self.index_since(since)?;
                let flow = &self.flows[index];
                let own = flow.ahead_of(urgency, ticket.number)?;
                Some(self.front.len() + own + self.others_before(flow.turns.after(own), index))
            }
        }
    }

    pub(super) fn head(&self) -> Option<Ticket> {
        match self.front.head() {
            Some((number, _)) => Some(Ticket { number, lane: Lane::Front }),
            None => self.flows.iter().min_by_key(|flow| flow.turns.next()).and_then(Flow::head),
        }
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&W> {
        match ticket.lane {
            Lane::Front => self.front.get(ticket.number),
            Lane::Flow { since, urgency } => self.flows[self.index_since(since)?].level(urgency)?.get(ticket.number),
        }
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut W> {
        match ticket.lane {
            Lane::Front => self.front.get_mut(ticket.number),
            Lane::Flow { since, urgency } => {
                let index = self.index_since(since)?;
                self.flows[index].level_mut(urgency)?.get_mut(ticket.number)
            }
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket, turn: Turn) -> Option<W> {
        let waiter = match ticket.lane {
            Lane::Front => self.front.remove(ticket.number)?,
            Lane::Flow { since, urgency } => {
                let index = self.index_since(since)?;
                let waiter = self.flows[index].remove(urgency, ticket.number)?;
                if turn == Turn::Used {
                    self.use_turn(index);
                }
                if self.flows[index].is_empty() {
                    self.end(index);
                }
                waiter
            }
        };
        self.len -= 1;
        Some(waiter)
    }

    /// The front, then the flows merged by their future turns.
    #[cfg(test)]
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Ticket, &W)> {
        let front = self.front();
        let mut flows: Vec<_> = self.flows.iter().map(|flow| (flow.turns, flow.in_order())).collect();
        let mut next: BinaryHeap<_> =
            flows.iter().enumerate().map(|(index, (turns, _))| Reverse((turns.next(), index))).collect();
        front.chain(iter::from_fn(move || {
            loop {
                let Reverse((_, index)) = next.pop()?;
                let (turns, waiters) = &mut flows[index];
                // A flow without further waiters is not put back.
                if let Some(waiter) = waiters.next() {
                    turns.take();
                    next.push(Reverse((turns.next(), index)));
                    return Some(waiter);
                }
            }
        }))
    }

    /// Virtual time becomes the least tag. That is the served flow's tag if the head was served; otherwise virtual time
    /// does not pass the tag of any flow that waits.
    fn use_turn(&mut self, index: usize) {
        if let Some(least) = self.flows.iter().map(|flow| flow.turns.next()).min() {
            self.virtual_time = self.virtual_time.max(least);
        }
        self.flows[index].turns.take();
        self.paid_ahead.retain(|(_, tag)| *tag > self.virtual_time);
    }

    fn end(&mut self, index: usize) {
        let flow = self.flows.remove(index);
        let tag = flow.turns.next();
        if tag > self.virtual_time {
            self.paid_ahead.push((flow.caller, tag));
        }
    }

    /// Where a flow that begins now starts.
    fn start_of(&self, caller: &Caller) -> Tag {
        let paid = self.paid_ahead.iter().find(|(other, _)| other == caller);
        paid.map_or(self.virtual_time, |(_, tag)| self.virtual_time.max(*tag))
    }

    /// How many of the other flows' waiters are served before the turn at `tag` of the flow at `index`. Of equal tags,
    /// the one of the earlier flow goes first.
    fn others_before(&self, tag: Tag, index: usize) -> usize {
        let others = self.flows.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(other, flow)| flow.served_before(if other < index { tag.just_after() } else { tag })).sum()
    }

    /// Never earlier than the last arrival: the levels have to stay sorted even if the clock steps back.
    fn arrival(&self, now: Instant) -> EnqueuedAt {
        EnqueuedAt::since(self.epoch, now).max(self.latest)
    }

    fn index_since(&self, since: u64) -> Option<usize> {
        self.flows.binary_search_by_key(&since, |flow| flow.since).ok()
    }

    fn index_of(&self, caller: &Caller) -> Option<usize> {
        self.flows.iter().position(|flow| flow.caller == *caller)
    }
}
