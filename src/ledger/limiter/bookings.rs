//! The turns of refused calls, which are kept in the queue.
//!
//! A refusal says when the call's turn comes, and the call keeps that turn: a booking. When it comes again, it takes its
//! booking over. Nobody else gains from a booking: it belongs to a caller and a call. A booking whose call does not come
//! keeps its slot free for half a second, and lapses soon after. A caller that leaves several unused has no more until one of
//! its calls is served.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::super::{
    Caller, SlotRequest,
    queue::Ticket,
    slot_request::{Arrival, Identity},
};

/// How many bookings a limiter keeps: some hundred kilobytes.
const MAX_BOOKINGS: usize = 1000;

/// How long after its time a booking keeps its slot free, and is kept for the connection on which it was given. Then its
/// slot is free for calls that wait, and the booking for equal calls of its caller, which may come by another connection.
pub(super) const KEPT: Duration = Duration::from_millis(500);

/// How long after its time a booking keeps its turn: a client that waits for whole seconds comes within the first of them.
pub(super) const LAPSE: Duration = Duration::from_secs(2);

/// How many bookings equal calls of one connection may have, and at most half of the slots: threads that share their
/// connections have some, and a client that sends one call in a loop cannot book all slots.
const PER_CONNECTION: u32 = 16;

/// An equal call that follows this soon on a refused one is the call of another thread.
const OTHER_THREAD: Duration = Duration::from_secs(1);

/// How many bookings in a row a caller may leave unused.
const MISSED: u32 = 8;

#[derive(Debug)]
pub(super) struct Bookings {
    per_connection: usize,
    bookings: HashMap<Ticket, Booking>,
    /// How many bookings in a row these callers left unused.
    missed: HashMap<Caller, u32>,
}

#[derive(Debug)]
struct Booking {
    caller: Caller,
    identity: Identity,
    promised: Instant,
    /// When its call came last.
    seen: Instant,
    /// Whether several threads use its connection.
    shared: bool,
}

impl Bookings {
    /// For a route of this many slots.
    pub(super) fn new(requests: u32) -> Self {
        let per_connection = (requests / 2).clamp(1, PER_CONNECTION) as usize;
        Self { per_connection, bookings: HashMap::new(), missed: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.bookings.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bookings.is_empty()
    }

    /// How many of them belong to this caller.
    pub(super) fn of(&self, caller: &Caller) -> usize {
        if self.is_empty() { 0 } else { self.bookings.values().filter(|booking| booking.caller == *caller).count() }
    }

    /// By caller, how many there are and when the first turn comes.
    pub(super) fn by_caller(&self) -> HashMap<&Caller, (usize, Instant)> {
        let mut all = HashMap::new();
        for booking in self.bookings.values() {
            let (booked, first) = all.entry(&booking.caller).or_insert((0, booking.promised));
            (*booked, *first) = (*booked + 1, booking.promised.min(*first));
        }
        all
    }

    /// Whether this call may book its turn.
    pub(super) fn accept(&self, request: &SlotRequest) -> bool {
        let trusted = self.missed.get(&request.caller).is_none_or(|missed| *missed < MISSED);
        trusted && request.identity.is_some() && request.arrival == Arrival::New && self.len() < MAX_BOOKINGS
    }

    /// Books the turn of this call.
    pub(super) fn keep(&mut self, ticket: Ticket, request: &SlotRequest, promised: Instant, now: Instant) {
        let Some(identity) = request.identity.clone() else { return };
        let mut booking = Booking { caller: request.caller.clone(), identity, promised, seen: now, shared: false };
        let mut shared = false;
        for other in self.bookings.values_mut().filter(|other| other.is_of_same_connection(&booking)) {
            other.shared = true;
            shared = true;
        }
        booking.shared = shared;
        self.bookings.insert(ticket, booking);
    }

    /// Takes over the booking of this call. Of several for equal calls it takes one whose time has come before others, and
    /// that of its connection before those of others.
    pub(super) fn take(&mut self, request: &SlotRequest, now: Instant) -> Option<Ticket> {
        let ticket = self.find(request, now)?;
        self.bookings.remove(&ticket);
        Some(ticket)
    }

    /// A call that comes early on a connection of its own gets its own booking. Threads of a client share their
    /// connections: each call has a booking, and comes again on any of the connections when its booking is due. A client
    /// that sends equal calls in a loop gets those of other connections only if they are late.
    fn find(&self, request: &SlotRequest, now: Instant) -> Option<Ticket> {
        let wanted = request.identity.as_ref().filter(|_| !self.is_empty() && request.arrival == Arrival::New)?;
        let equal = self.bookings.iter().filter(|(_, booking)| {
            booking.identity.fingerprint == wanted.fingerprint && booking.caller == request.caller
        });
        let is_own = |booking: &Booking| booking.identity.connection.ptr_eq(&wanted.connection);
        let mut own = equal.clone().filter(|(_, booking)| is_own(booking));
        let bookings_of_connection = own.clone().count();
        let of_threads = own.any(|(_, booking)| booking.shared || now < booking.seen + OTHER_THREAD)
            && bookings_of_connection < self.per_connection;
        let may_take = equal.filter_map(|(ticket, booking)| {
            let (own, due) = (is_own(booking), booking.promised <= now);
            let left = booking.identity.connection.strong_count() == 0 || booking.promised + KEPT <= now;
            let may = if own { due || !of_threads } else { left || due && (of_threads || bookings_of_connection == 0) };
            may.then_some((!due, !own, booking.promised, *ticket))
        });
        may_take.min_by_key(|(later, foreign, promised, _)| (*later, *foreign, *promised)).map(|(.., ticket)| ticket)
    }

    /// When the next booking keeps its slot no longer.
    pub(super) fn next_overdue(&self, now: Instant) -> Option<Instant> {
        self.bookings.values().map(|booking| booking.promised + KEPT).filter(|at| *at > now).min()
    }

    /// Removes the bookings that have lapsed, and then those of callers that left too many unused.
    pub(super) fn lapse(&mut self, now: Instant) -> Vec<Ticket> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut gone = Vec::new();
        let missed = &mut self.missed;
        self.bookings.retain(|ticket, booking| {
            let lapsed = booking.promised + LAPSE <= now;
            if lapsed {
                *missed.entry(booking.caller.clone()).or_default() += 1;
                gone.push(*ticket);
            }
            !lapsed
        });
        if !gone.is_empty() {
            self.bookings.retain(|ticket, booking| {
                let trusted = missed.get(&booking.caller).is_none_or(|missed| *missed < MISSED);
                if !trusted {
                    gone.push(*ticket);
                }
                trusted
            });
        }
        gone
    }

    /// A call of this caller is served.
    pub(super) fn served(&mut self, caller: &Caller) {
        if !self.missed.is_empty() {
            self.missed.remove(caller);
        }
    }
}

impl Booking {
    /// Whether both are for equal calls on one connection.
    fn is_of_same_connection(&self, other: &Self) -> bool {
        let (one, two) = (&self.identity, &other.identity);
        one.fingerprint == two.fingerprint && one.connection.ptr_eq(&two.connection) && self.caller == other.caller
    }
}
