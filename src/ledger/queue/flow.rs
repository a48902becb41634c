//! The waiters of one caller, and when its turns come.
//!
//! Within a caller, urgent calls go first, but waiting counts too: the sort key is a waiter's arrival plus a handicap
//! by urgency ([`AGEING`](super::enqueued_at::AGEING)). Within one urgency that is the order of arrival, so one list
//! for each urgency is enough, and the head is the least of eight.

use super::{
    Lane, Line, Ticket, Urgency, WaitingFlow,
    enqueued_at::{Due, EnqueuedAt},
    level::Level,
    turns::{Tag, Turns},
    urgency::URGENCIES,
};
use crate::ledger::Caller;

/// A caller with at least one waiter.
#[derive(Debug)]
pub(super) struct Flow<W> {
    pub(super) caller: Caller,
    pub(super) turns: Turns,
    /// The number of its first waiter.
    pub(super) since: u64,
    len: usize,
    /// By urgency. Most callers use one of them.
    levels: [Option<Box<Level<W>>>; URGENCIES],
}

// === impl Flow ===

impl<W> Flow<W> {
    pub(super) fn new(caller: &Caller, start: Tag, since: u64) -> Self {
        let turns = Turns::new(start, caller.weight());
        Self { caller: caller.clone(), turns, since, len: 0, levels: [const { None }; URGENCIES] }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Uses the weight of this newest call from now on. Returns whether it differs from before.
    pub(super) fn set_weight(&mut self, caller: &Caller) -> bool {
        let before = self.turns;
        self.caller = caller.clone();
        self.turns = Turns::new(before.next(), caller.weight());
        self.turns != before
    }

    pub(super) fn push(&mut self, urgency: Urgency, number: u64, arrival: EnqueuedAt, waiter: W) -> Ticket {
        let level = &mut self.levels[usize::from(urgency.get())];
        level.get_or_insert_with(|| Box::new(Level::new())).push(number, arrival, waiter);
        self.len += 1;
        self.ticket(number, urgency)
    }

    pub(super) fn remove(&mut self, urgency: Urgency, number: u64) -> Option<W> {
        let level = &mut self.levels[usize::from(urgency.get())];
        let waiter = level.as_mut()?.remove(number)?;
        level.take_if(|level| level.is_empty());
        self.len -= 1;
        Some(waiter)
    }

    pub(super) fn level(&self, urgency: Urgency) -> Option<&Level<W>> {
        self.levels[usize::from(urgency.get())].as_deref()
    }

    pub(super) fn level_mut(&mut self, urgency: Urgency) -> Option<&mut Level<W>> {
        self.levels[usize::from(urgency.get())].as_deref_mut()
    }

    /// How many of this caller's waiters go before this one.
    pub(super) fn ahead_of(&self, urgency: Urgency, number: u64) -> Option<usize> {
        let (arrival, before) = self.level(urgency)?.rank(number)?;
        Some(before + self.of_other_urgencies(arrival.due(urgency), urgency))
    }

    /// How many of this caller's waiters are served before `tag`.
    pub(super) fn served_before(&self, tag: Tag) -> usize {
        self.turns.before(tag).min(self.len)
    }

    pub(super) fn head(&self) -> Option<Ticket> {
        self.next().map(|(number, urgency, _)| self.ticket(number, urgency))
    }

    /// Who waits here.
    pub(super) fn summary(&self, now: EnqueuedAt) -> Option<WaitingFlow> {
        let (_, urgency, arrival) = self.next()?;
        Some(WaitingFlow { caller: self.caller.clone(), waiting: self.len, urgency, waited: arrival.waited(now) })
    }

    pub(super) fn line(&self) -> Line<'_, W> {
        Line { caller: &self.caller, turns: self.turns, entries: Box::new(self.in_order()) }
    }

    /// The number, urgency and arrival of the waiter that goes first.
    fn next(&self) -> Option<(u64, Urgency, EnqueuedAt)> {
        let heads = self.levels().filter_map(|(urgency, level)| {
            let (number, arrival) = level.head()?;
            Some((number, urgency, arrival))
        });
        heads.min_by_key(|(_, urgency, arrival)| arrival.due(*urgency))
    }

    pub(super) fn in_order(&self) -> impl Iterator<Item = (Ticket, &W)> {
        let mut levels: Vec<_> = self.levels().map(|(urgency, level)| (urgency, level.iter().peekable())).collect();
        std::iter::from_fn(move || {
            let heads = levels.iter_mut().filter_map(|(urgency, level)| {
                let due = level.peek()?.1.due(*urgency);
                Some((due, *urgency, level))
            });
            let (_, urgency, level) = heads.min_by_key(|(due, ..)| *due)?;
            level.next().map(|(number, _, waiter)| (self.ticket(number, urgency), waiter))
        })
    }

    fn of_other_urgencies(&self, due: Due, urgency: Urgency) -> usize {
        (self.levels().filter(|(other, _)| *other != urgency))
            .map(|(other, level)| level.count(|arrival| arrival.due(other) < due))
            .sum()
    }

    fn levels(&self) -> impl Iterator<Item = (Urgency, &Level<W>)> {
        Urgency::all().zip(&self.levels).filter_map(|(urgency, level)| Some((urgency, level.as_deref()?)))
    }

    fn ticket(&self, number: u64, urgency: Urgency) -> Ticket {
        Ticket { number, lane: Lane::Flow { since: self.since, urgency } }
    }
}
