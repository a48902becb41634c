//! One account's part of the shared ledger in this process: the member, and the routes whose calls wait for its slots.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::{sync::Notify, time::Instant};

use super::{
    limit_sets::LimitSets,
    member::{Member, Unusable},
    message::{CallerDemand, Demand, Reply, Request},
    status::OwnStatus,
    timing::Now,
};
use crate::{
    ledger::{Caller, Wish, slots::WaitingCalls},
    os::clock,
};

/// An account, shared by its routes and the task that speaks with the server.
#[derive(Debug)]
pub(super) struct SharedAccount {
    pub(super) state: Mutex<AccountState>,
    /// There may be news for the server.
    pub(super) news: Notify,
    /// The account's name.
    pub(super) name: String,
}

#[derive(Debug)]
pub(super) struct AccountState {
    pub(super) member: Member,
    /// By route.
    routes: BTreeMap<String, Route>,
    /// Why the server cannot be used, since the lease has ended.
    pub(super) failure: Option<String>,
    /// The last epoch that was logged.
    epoch: String,
}

#[derive(Debug, Clone)]
struct Route {
    limits: Arc<RwLock<LimitSets>>,
    calls: Weak<dyn WaitingCalls>,
    locks: Arc<Notify>,
}

impl AccountState {
    /// Logs the epoch that the member has entered, once.
    fn tell_epoch(&mut self, account: &str) {
        let Some(epoch) = self.member.epoch().filter(|epoch| *epoch != self.epoch) else { return };
        self.epoch = epoch.to_owned();
        match self.member.shut_for(clock::now()) {
            Duration::ZERO => tracing::info!(account, epoch, "entered the shared ledger"),
            shut => tracing::warn!(
                account,
                epoch,
                longest_s = shut.as_secs(),
                "entered a new shared ledger: the record was lost or this is the first start, so slots that no gateway \
                 claims are shut for a while"
            ),
        }
    }
}

/// The present moment on both clocks.
pub(super) fn now() -> Now {
    Now { monotonic: clock::now(), boot: clock::boot() }
}

impl SharedAccount {
    pub(super) fn new(name: String, member: Member) -> Arc<Self> {
        let state = AccountState { member, routes: BTreeMap::new(), failure: None, epoch: String::new() };
        Arc::new(Self { name, state: Mutex::new(state), news: Notify::new() })
    }

    pub(super) fn add_route(
        &self,
        route: String,
        limits: Arc<RwLock<LimitSets>>,
        calls: Weak<dyn WaitingCalls>,
        locks: Arc<Notify>,
    ) {
        self.state.lock().routes.insert(route, Route { limits, calls, locks });
    }

    /// Who waits for what. The limiters lock their own state for this, so the account must not be locked.
    pub(super) fn demand(&self) -> BTreeMap<String, Demand> {
        let now = clock::now();
        let routes = self.state.lock().routes.clone();
        let demand = |(route, Route { limits, calls, .. }): (String, Route)| {
            let (waiting, limits) = (calls.upgrade()?.waiting_calls(now), limits.read());
            let caller = |(caller, wish): (Option<Caller>, Wish)| {
                // No caller has an empty name.
                let name = caller.as_ref().map_or("", Caller::name).to_owned();
                (name, CallerDemand { own: limits.more(caller.as_ref()), wish })
            };
            let callers: BTreeMap<_, _> = waiting.into_iter().map(caller).collect();
            (!callers.is_empty()).then_some((route, Demand { limits: limits.all().to_vec(), callers }))
        };
        routes.into_iter().filter_map(demand).collect()
    }

    /// What this process knows of its member.
    pub(super) fn status(&self) -> OwnStatus {
        let now = now();
        let mut state = self.state.lock();
        OwnStatus { failure: state.failure.clone(), ..state.member.status(now) }
    }

    /// When the next request is due.
    pub(super) fn due(&self, demand: &BTreeMap<String, Demand>) -> Option<Instant> {
        self.state.lock().member.due(demand, clock::now())
    }

    pub(super) fn request(&self, demand: BTreeMap<String, Demand>, candidate: String) -> Request {
        self.state.lock().member.request(demand, candidate, now())
    }

    /// Applies an answer, and wakes the calls that it may serve or hold back. `confirmed`: a majority of the server's
    /// nodes has what the request changed; always so without replicas.
    pub(super) fn receive(&self, reply: Reply, confirmed: bool) -> Result<(), Unusable> {
        let outcome = {
            let mut state = self.state.lock();
            let outcome = state.member.receive(reply, confirmed, now());
            state.tell_epoch(&self.name);
            outcome
        };
        match outcome {
            Ok(()) => self.succeeded(),
            Err(unusable) => self.failed(&unusable.to_string()),
        }
        self.wake();
        outcome
    }

    /// The last request has no answer.
    pub(super) fn failed(&self, reason: &str) {
        let mut state = self.state.lock();
        state.member.fail();
        if state.failure.is_none() && !state.member.in_touch(now()) {
            tracing::error!(account = self.name, reason, "the shared ledger cannot be used; calls wait");
            state.failure = Some(reason.to_owned());
        }
        drop(state);
        // Slots that were to be given back may be used here again.
        self.wake();
    }

    fn succeeded(&self) {
        let mut state = self.state.lock();
        if state.failure.is_some() && state.member.in_touch(now()) {
            state.failure = None;
            tracing::info!(account = self.name, "the shared ledger can be used again");
        }
    }

    /// Wakes the call at the head of each queue, and those that wait for a connection.
    pub(super) fn wake(&self) {
        let routes: Vec<_> = self.state.lock().routes.values().cloned().collect();
        for Route { calls, locks, .. } in routes {
            locks.notify_waiters();
            if let Some(calls) = calls.upgrade() {
                calls.wake();
            }
        }
    }
}
