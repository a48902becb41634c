//! Those who wait, while somebody does: the front, and the callers' flows in virtual time.
//!
//! Start-time fair queueing: each flow has a tag, the flow with the least tag is next, its tag then moves on by a step
//! that is shorter the greater its weight is, and virtual time is the tag that was served last. A flow begins at
//! virtual time: it neither saved up turns while it was away nor has to make up for those that others had.

use std::{cmp::Reverse, collections::BinaryHeap, iter};

use tokio::time::Instant;

use super::{
    Joined, Lane, Ticket, Urgency,
    enqueued_at::EnqueuedAt,
    flow::Flow,
    level::Level,
    turns::{Tag, Tie, Turns},
};
use crate::ledger::Caller;

/// The waiters of a queue that is not empty.
#[derive(Debug)]
pub(super) struct Backlog<W> {
    /// What arrivals are counted from.
    epoch: Instant,
    latest: EnqueuedAt,
    len: usize,
    front: Level<W>,
    /// In the order in which they began, which also decides between equal tags. None is empty.
    flows: Vec<Flow<W>>,
    virtual_time: Tag,
    /// Callers that have nobody waiting, but used turns ahead of virtual time. If this were forgotten, one that sends
    /// a call at a time would begin anew each time and always be next.
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

    pub(super) fn position_at_front(&self) -> usize {
        self.front.len()
    }

    pub(super) fn position(&self, caller: &Caller, urgency: Urgency, now: Instant) -> usize {
        let (place, start, own) = match self.place_of(caller) {
            Some(place) => {
                let flow = &self.flows[place];
                (place, flow.turns().next(), flow.ahead_of_newcomer(urgency, self.arrival(now)))
            }
            None => (self.flows.len(), self.start_of(caller), 0),
        };
        let turn = Turns::new(start, caller.weight()).after(own);
        self.front.len() + own + self.others_before(turn, place)
    }

    pub(super) fn join_front(&mut self, number: u64, now: Instant, waiter: W) -> Joined {
        self.latest = self.arrival(now);
        self.front.push(number, self.latest, waiter);
        self.len += 1;
        Joined { ticket: Ticket { number, lane: Lane::Front }, delays: self.front.len() < self.len }
    }

    pub(super) fn join(&mut self, caller: &Caller, urgency: Urgency, number: u64, now: Instant, waiter: W) -> Joined {
        self.latest = self.arrival(now);
        let place = self.place_of(caller).unwrap_or_else(|| {
            let start = self.start_of(caller);
            self.paid_ahead.retain(|(other, _)| other != caller);
            self.flows.push(Flow::new(caller, start, number));
            self.flows.len() - 1
        });
        let flow = &mut self.flows[place];
        let weighed_anew = flow.weigh(caller);
        let ticket = flow.push(urgency, number, self.latest, waiter);
        self.len += 1;
        let overtakes = self.ahead_of(ticket).is_some_and(|ahead| ahead + 1 < self.len);
        Joined { ticket, delays: overtakes || weighed_anew }
    }

    pub(super) fn ahead_of(&self, ticket: Ticket) -> Option<usize> {
        match ticket.lane {
            Lane::Front => self.front.rank(ticket.number).map(|(_, before)| before),
            Lane::Flow { since, urgency } => {
                let place = self.place(since)?;
                let flow = &self.flows[place];
                let own = flow.ahead_of(urgency, ticket.number)?;
                Some(self.front.len() + own + self.others_before(flow.turns().after(own), place))
            }
        }
    }

    pub(super) fn head(&self) -> Option<Ticket> {
        match self.front.head() {
            Some((number, _)) => Some(Ticket { number, lane: Lane::Front }),
            None => self.flows.iter().min_by_key(|flow| flow.turns().next()).and_then(Flow::head),
        }
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&W> {
        match ticket.lane {
            Lane::Front => self.front.get(ticket.number),
            Lane::Flow { since, urgency } => self.flows[self.place(since)?].level(urgency)?.get(ticket.number),
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket, turn: Turn) -> Option<W> {
        let waiter = match ticket.lane {
            Lane::Front => self.front.remove(ticket.number)?,
            Lane::Flow { since, urgency } => {
                let place = self.place(since)?;
                let waiter = self.flows[place].remove(urgency, ticket.number)?;
                if turn == Turn::Used {
                    self.use_turn(place);
                }
                if self.flows[place].is_empty() {
                    self.end(place);
                }
                waiter
            }
        };
        self.len -= 1;
        Some(waiter)
    }

    /// A merge of the flows, each with its turns as they will come.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Ticket, &W)> {
        let ticket = |number| Ticket { number, lane: Lane::Front };
        let front = self.front.iter().map(move |(number, _, waiter)| (ticket(number), waiter));

        let mut flows: Vec<_> = self.flows.iter().map(|flow| (flow.turns(), flow.in_order())).collect();
        let mut next: BinaryHeap<_> =
            flows.iter().enumerate().map(|(place, (turns, _))| Reverse((turns.next(), place))).collect();
        front.chain(iter::from_fn(move || {
            loop {
                let Reverse((_, place)) = next.pop()?;
                let (turns, waiters) = &mut flows[place];
                // A flow that is through is not put back.
                if let Some(waiter) = waiters.next() {
                    turns.take();
                    next.push(Reverse((turns.next(), place)));
                    return Some(waiter);
                }
            }
        }))
    }

    /// Virtual time becomes the least tag. That is the served flow's, if the head was served; if another was, no flow
    /// that waits is left behind by it.
    fn use_turn(&mut self, place: usize) {
        if let Some(least) = self.flows.iter().map(|flow| flow.turns().next()).min() {
            self.virtual_time = self.virtual_time.max(least);
        }
        self.flows[place].take_turn();
        self.paid_ahead.retain(|(_, tag)| *tag > self.virtual_time);
    }

    fn end(&mut self, place: usize) {
        let flow = self.flows.remove(place);
        let tag = flow.turns().next();
        if tag > self.virtual_time {
            self.paid_ahead.push((flow.caller().clone(), tag));
        }
    }

    /// Where a flow that begins now starts.
    fn start_of(&self, caller: &Caller) -> Tag {
        let paid = self.paid_ahead.iter().find(|(other, _)| other == caller);
        paid.map_or(self.virtual_time, |(_, tag)| self.virtual_time.max(*tag))
    }

    /// How many of the other flows' waiters are served before the turn at `tag` of the flow at `place`.
    fn others_before(&self, tag: Tag, place: usize) -> usize {
        let others = self.flows.iter().enumerate().filter(|(other, _)| *other != place);
        others.map(|(other, flow)| flow.served_before(tag, if other < place { Tie::First } else { Tie::Second })).sum()
    }

    /// A clock that steps back would leave the levels unsorted.
    fn arrival(&self, now: Instant) -> EnqueuedAt {
        EnqueuedAt::since(self.epoch, now).max(self.latest)
    }

    fn place(&self, since: u64) -> Option<usize> {
        self.flows.binary_search_by_key(&since, Flow::since).ok()
    }

    fn place_of(&self, caller: &Caller) -> Option<usize> {
        self.flows.iter().position(|flow| flow.caller() == caller)
    }
}
