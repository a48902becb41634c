//! The places that refused calls left in the queue.
//!
//! A refusal says when the call's turn comes, and the call leaves a place there. When it comes again, it takes its place
//! over. Nobody else gains from a place: it belongs to a caller and a call. A place whose call does not come lapses soon
//! after its time, and a caller that leaves several unused has no more until one of its calls is served.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::super::{
    Caller, SlotRequest,
    queue::Ticket,
    slot_request::{Arrival, Identity},
};

/// How many places a limiter keeps: some hundred kilobytes.
const MAX_PLACES: usize = 1000;

/// How long after its time a place is kept: a client that waits for whole seconds comes within the first of them.
pub(super) const LAPSE: Duration = Duration::from_secs(2);

/// How long after its time a place is kept for the connection on which it was given. Then it is free for equal calls of its
/// caller, which may come by another connection.
const OWN_CONNECTION: Duration = Duration::from_millis(500);

/// How many places in a row a caller may leave unused.
const MISSED: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Places {
    places: HashMap<Ticket, Place>,
    /// How many places in a row these callers left unused.
    missed: HashMap<Caller, u32>,
}

#[derive(Debug)]
struct Place {
    caller: Caller,
    identity: Identity,
    promised: Instant,
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many of them belong to this caller.
    pub(super) fn of(&self, caller: &Caller) -> usize {
        if self.is_empty() { 0 } else { self.places.values().filter(|place| place.caller == *caller).count() }
    }

    /// Whether this call may leave a place.
    pub(super) fn accept(&self, request: &SlotRequest) -> bool {
        let trusted = self.missed.get(&request.caller).is_none_or(|missed| *missed < MISSED);
        trusted && request.identity.is_some() && request.arrival == Arrival::New && self.len() < MAX_PLACES
    }

    /// Keeps a place for this call.
    pub(super) fn keep(&mut self, ticket: Ticket, request: &SlotRequest, promised: Instant) {
        if let Some(identity) = request.identity.clone() {
            self.places.insert(ticket, Place { caller: request.caller.clone(), identity, promised });
        }
    }

    /// Takes over the place of this call: its connection's own one, otherwise one whose owner has gone or is late.
    pub(super) fn take(&mut self, request: &SlotRequest, now: Instant) -> Option<Ticket> {
        let ticket = self.find(request, now)?;
        self.places.remove(&ticket);
        Some(ticket)
    }

    fn find(&self, request: &SlotRequest, now: Instant) -> Option<Ticket> {
        let wanted = request.identity.as_ref().filter(|_| !self.is_empty() && request.arrival == Arrival::New)?;
        let equal = self
            .places
            .iter()
            .filter(|(_, place)| place.identity.fingerprint == wanted.fingerprint && place.caller == request.caller);
        let may_take = equal.filter_map(|(ticket, place)| {
            let own = place.identity.connection.ptr_eq(&wanted.connection);
            let free = place.identity.connection.strong_count() == 0 || place.promised + OWN_CONNECTION <= now;
            (own || free).then_some((!own, place.promised, *ticket))
        });
        may_take.min_by_key(|(foreign, promised, _)| (*foreign, *promised)).map(|(.., ticket)| ticket)
    }

    /// When the next place lapses.
    pub(super) fn next_lapse(&self) -> Option<Instant> {
        self.places.values().map(|place| place.promised + LAPSE).min()
    }

    /// Removes the places that have lapsed, and then those of callers that left too many unused.
    pub(super) fn lapse(&mut self, now: Instant) -> Vec<Ticket> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut gone = Vec::new();
        let missed = &mut self.missed;
        self.places.retain(|ticket, place| {
            let lapsed = place.promised + LAPSE <= now;
            if lapsed {
                *missed.entry(place.caller.clone()).or_default() += 1;
                gone.push(*ticket);
            }
            !lapsed
        });
        if !gone.is_empty() {
            self.places.retain(|ticket, place| {
                let trusted = missed.get(&place.caller).is_none_or(|missed| *missed < MISSED);
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
