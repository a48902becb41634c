//! The calls that wait, grouped by similarity, and the choice of those that merge.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::{
    parts::{MergedCall, OneCall, Part, PartChannel, Service},
    similar::Key,
};
use crate::{
    call::Call,
    ledger::{SlotRequest, Waited},
    telemetry::Metrics,
    zoho::catalogue::RouteId,
};

/// All calls that wait and may merge. Both layers share it.
#[derive(Debug)]
pub struct Groups {
    for_zoho: fn(&mut HeaderMap),
    metrics: Arc<Metrics>,
    /// Each in the order of arrival.
    waiting: Mutex<HashMap<Key, Vec<Waiting>>>,
    /// The numbers in a call that Zoho still accepts, of routes where it rejected more.
    reduced: Mutex<HashMap<RouteId, usize>>,
}

/// One call that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) call: Call,
    pub(super) numbers: Vec<String>,
    pub(super) service: Service,
    waited: Waited,
    /// Whether it has a place in the queue.
    is_queued: bool,
    place_freed: Arc<Notify>,
    merged: oneshot::Sender<Part>,
}

/// A call's registration in its group. Dropping it leaves the group.
#[derive(Debug)]
pub(super) struct Registration {
    groups: Arc<Groups>,
    key: Key,
    waited: Waited,
    place_freed: Arc<Notify>,
}

/// What a call does that has a slot.
pub(super) enum Lead {
    /// It is sent as it is.
    Alone,
    /// It gives its slot back, because it is part of another call already.
    Merged,
    /// It is sent with others.
    Others(Box<MergedCall>),
}

impl Groups {
    /// `for_zoho` removes the header fields that do not reach Zoho.
    #[must_use]
    pub fn new(for_zoho: fn(&mut HeaderMap), metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { for_zoho, metrics, waiting: Mutex::default(), reduced: Mutex::default() })
    }

    /// Key and numbers of a call that may merge.
    pub(super) fn similar(&self, call: &Call) -> Option<(Key, Vec<String>)> {
        let (key, numbers) = Key::of(call, self.for_zoho)?;
        (numbers.len() < self.max(call)).then_some((key, numbers))
    }

    /// Adds a call to its group.
    pub(super) fn join(
        self: &Arc<Self>,
        key: Key,
        call: Call,
        numbers: Vec<String>,
        service: Service,
    ) -> (Registration, Waited, oneshot::Receiver<Part>) {
        let (account, route) = call.context.names();
        self.metrics.merged(&account, &route, 0);
        let (waited, place_freed, (merged, part)) = (Waited::observed(), Arc::default(), oneshot::channel());
        let registration = Registration {
            groups: Arc::clone(self),
            key: key.clone(),
            waited: waited.clone(),
            place_freed: Arc::clone(&place_freed),
        };
        let waiting = Waiting { call, numbers, service, waited: waited.clone(), is_queued: true, place_freed, merged };
        self.waiting.lock().entry(key).or_default().push(waiting);
        (registration, waited, part)
    }

    /// Takes a call with a slot out of its group, and with it those that are sent in it.
    pub(super) fn lead(self: &Arc<Self>, call: &Call) -> Lead {
        if !call.waited.is_observed() {
            return Lead::Alone;
        }
        let Some((key, _)) = Key::of(call, self.for_zoho) else { return Lead::Alone };
        let mut waiting = self.waiting.lock();
        let Some(leader) = remove(&mut waiting, &key, &call.waited) else { return Lead::Merged };
        let Some(group) = waiting.get_mut(&key).filter(|_| leader.waited.is_set()) else { return Lead::Alone };
        let others = take(group, &leader, self.max(call));
        if others.is_empty() {
            return Lead::Alone;
        }
        let places = others.iter().filter(|other| other.is_queued).count();
        wake(group, places);
        if group.is_empty() {
            waiting.remove(&key);
        }
        let (account, route) = call.context.names();
        self.metrics.merged(&account, &route, others.len());
        let (calls, parts) = [leader].into_iter().chain(others).map(Waiting::into_one).unzip();
        // Still under the lock: a caller that leaves now finds that its call may be sent.
        Lead::Others(Box::new(MergedCall::new(key, calls, parts)))
    }

    /// Zoho rejected so many numbers of a call as too many.
    pub(super) fn too_many(&self, route: &RouteId, numbers: usize) {
        let mut reduced = self.reduced.lock();
        let max = reduced.entry(route.clone()).or_insert(usize::MAX);
        *max = (*max).min(numbers / 2).max(1);
        tracing::warn!(route = route.as_str(), numbers, max = *max, "too many record numbers in a merged call");
    }

    /// How many numbers a call may have.
    fn max(&self, call: &Call) -> usize {
        let route = &call.context.route;
        let reduced = self.reduced.lock().get(&route.id).copied().unwrap_or(usize::MAX);
        route.merge.as_ref().map_or(1, |merge| merge.max).min(reduced)
    }
}

/// Removes a call from its group. Its place in the queue is free.
fn remove(waiting: &mut HashMap<Key, Vec<Waiting>>, key: &Key, waited: &Waited) -> Option<Waiting> {
    let group = waiting.get_mut(key)?;
    let at = group.iter().position(|other| other.waited.is(waited))?;
    let removed = group.remove(at);
    wake(group, usize::from(removed.is_queued));
    if group.is_empty() {
        waiting.remove(key);
    }
    Some(removed)
}

/// Lets as many calls without a place ask for one as there are places free, the oldest first. From then on such a call
/// counts as queued: if it merges or leaves before it asks, the next one asks.
fn wake(group: &mut [Waiting], places: usize) {
    for next in group.iter_mut().filter(|other| !other.is_queued).take(places) {
        next.is_queued = true;
        next.place_freed.notify_one();
    }
}

/// Takes the calls that fit: callers in turn, the oldest call of each first.
fn take(group: &mut Vec<Waiting>, leader: &Waiting, max: usize) -> Vec<Waiting> {
    let mut numbers: HashSet<String> = leader.numbers.iter().cloned().collect();
    let mut turns = HashMap::from([(leader.call.context.caller.name().to_owned(), 1)]);
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (index, other) in group.iter().enumerate().filter(|(_, other)| other.waited.is_set()) {
        let turn = turns.entry(other.call.context.caller.name().to_owned()).or_default();
        order.push((*turn, index));
        *turn += 1;
    }
    order.sort_unstable();
    let mut chosen = Vec::new();
    for (_, index) in order {
        let new: Vec<&String> = group[index].numbers.iter().filter(|number| !numbers.contains(*number)).collect();
        if numbers.len() + new.len() <= max {
            numbers.extend(new.into_iter().cloned());
            chosen.push(index);
        }
    }
    chosen.sort_unstable();
    // From the end, so that the indices before it stay; then in the order of arrival again.
    let mut taken: Vec<Waiting> = chosen.into_iter().rev().map(|index| group.remove(index)).collect();
    taken.reverse();
    taken
}

impl Waiting {
    fn into_one(self) -> (OneCall, PartChannel) {
        let (outcome, received) = oneshot::channel();
        let Self { call, numbers, service, merged, .. } = self;
        // It does not come past the throttle, which says so of other calls.
        call.queue_status.leaves();
        (OneCall { call, numbers, service, outcome }, PartChannel { to: merged, outcome: received })
    }
}

impl Registration {
    /// Gives up the place in the queue and waits for the slot of another. `None` if the call may not: it may while others
    /// of its group are in the queue, and not more than they can take with them.
    pub(super) fn leave_queue(&self) -> Option<SlotRequest> {
        let mut waiting = self.groups.waiting.lock();
        let group = waiting.get_mut(&self.key)?;
        let own = group.iter().position(|own| own.waited.is(&self.waited))?;
        let others = group.iter().enumerate().filter(|(index, _)| *index != own).map(|(_, other)| other);
        let queued = others.clone().filter(|other| other.is_queued && other.waited.is_set()).count();
        let without_place = others.filter(|other| !other.is_queued).count();
        if without_place >= queued.saturating_mul(self.groups.max(&group[own].call)) {
            return None;
        }
        group[own].is_queued = false;
        group[own].waited.set();
        Some(group[own].call.slot_request())
    }

    /// The call again, which asks for a place once more; `None` if it has merged.
    pub(super) fn rejoin_queue(&self) -> Option<Call> {
        let mut waiting = self.groups.waiting.lock();
        let own = waiting.get_mut(&self.key)?.iter_mut().find(|own| own.waited.is(&self.waited))?;
        own.is_queued = true;
        own.call.again()
    }

    /// Resolves when another call of the group gives up its place.
    pub(super) async fn place_freed(&self) {
        self.place_freed.notified().await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        remove(&mut self.groups.waiting.lock(), &self.key, &self.waited);
    }
}
