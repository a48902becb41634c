//! The calls of one caller in a [`Schedule`](super::Schedule), with what its steps so far have used.

use std::{borrow::Cow, collections::VecDeque};

use tokio::time::Instant;

use super::super::{
    super::{
        Caller,
        queue::{Line as QueueLine, Ticket, Turns},
        slots::TakenBefore,
    },
    entry::Entry,
    recent_use::{CallerUse, RecentUse},
};

/// The calls of one caller.
pub(super) struct Line<'a> {
    pub(super) caller: &'a Caller,
    pub(super) turns: Turns,
    pub(super) own: Cow<'a, CallerUse>,
    pub(super) reserve: u32,
    /// How many steps it has had, and how many of them in its reserve, if the slots keep to reserves themselves.
    pub(super) taken: usize,
    pub(super) reserved: usize,
    /// Until when others pass it.
    pub(super) passed_until: Option<Instant>,
    /// The bookings before its first waiting call, with their promised times.
    pub(super) bookings: VecDeque<(Ticket, Instant)>,
    pub(super) head: Option<(Ticket, &'a Entry)>,
    /// How many calls it makes after those in the queue.
    pub(super) further: u32,
    rest: Box<dyn Iterator<Item = (Ticket, &'a Entry)> + 'a>,
}

impl<'a> Line<'a> {
    pub(super) fn new(line: QueueLine<'a, Entry>, recent: &'a RecentUse, now: Instant) -> Self {
        let QueueLine { caller, turns, entries } = line;
        let rest = Box::new(entries.filter(move |(_, entry)| !entry.is_overdue(now)));
        let own = recent.of(caller).map_or_else(|| Cow::Owned(recent.none(caller, now)), Cow::Borrowed);
        let reserve = recent.reserve_of(caller);
        let passed_until = recent.passed.iter().find(|(other, _)| other == caller).map(|(_, until)| *until);
        let (bookings, taken, reserved, head) = (VecDeque::new(), 0, 0, None);
        let mut line =
            Self { caller, turns, own, reserve, taken, reserved, passed_until, bookings, head, further: 0, rest };
        line.advance();
        line
    }

    pub(super) fn taken_before(&self, unreserved: usize) -> TakenBefore {
        TakenBefore { own: self.taken, reserved: self.reserved, unreserved }
    }

    /// Moves on to the next waiting call.
    pub(super) fn advance(&mut self) {
        let last = self.head.take();
        for (ticket, entry) in self.rest.by_ref() {
            match entry.promised.filter(|_| entry.waiter.is_none()) {
                Some(promised) => self.bookings.push_back((ticket, promised)),
                None => {
                    self.head = Some((ticket, entry));
                    return;
                }
            }
        }
        if self.further > 0 && self.bookings.is_empty() {
            self.further -= 1;
            self.head = last;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none() && self.bookings.is_empty()
    }
}
