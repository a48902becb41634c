//! The limits that a call counts against, by its caller.
//!
//! A `max_share` and a `reserve` are limits like any other, so what holds for thresholds holds for them: their slots move
//! between members, and the uses of one slot never overlap. A `max_share` is a limit of its caller's calls. A reserve is
//! one too, and all calls without a slot of a reserve have a limit of the slots that no reserve keeps.
//!
//! Each call also counts against the route's own limit, whatever the gateways' configurations say about callers.

use std::{
    collections::{BTreeMap, HashMap},
    iter::once,
    num::NonZeroU32,
    sync::Arc,
};

use super::limit::LimitSettings;
use crate::{
    ledger::Caller,
    zoho::catalogue::{Pace, Threshold},
};

/// The limits of a route's calls, in sets. A call counts against all limits of one set.
#[derive(Debug)]
pub(super) struct LimitSets {
    /// By number, which calls in flight keep. The first has the limits of all calls; the others have these too, and more
    /// behind them.
    sets: Vec<Arc<[String]>>,
    own: HashMap<Caller, CallerLimits>,
    /// Those of all other callers.
    others: CallerLimits,
    /// The limit of calls without a slot of a reserve, if there are reserves.
    pub(super) unreserved: Option<String>,
    /// The limits that not all calls count against. Those that the configuration no longer has allow as much as the route.
    pub(super) additional: BTreeMap<String, LimitSettings>,
}

/// The limits of one caller's calls.
#[derive(Debug)]
pub(super) struct CallerLimits {
    /// The numbers of its sets, in the order in which they are tried.
    sets: Box<[u32]>,
    pub(super) max_share: Option<String>,
    pub(super) reserve: Option<String>,
}

impl LimitSets {
    /// `all` are the limits of all calls, the route's own first. `callers` are those with a `max_share` or a reserve, and
    /// how many slots each reserve has.
    pub(super) fn new(all: Arc<[String]>, threshold: Threshold, callers: &[(Caller, u32)]) -> Self {
        let others = CallerLimits { sets: Box::new([0]), max_share: None, reserve: None };
        let (own, additional) = (HashMap::new(), BTreeMap::new());
        let mut sets = Self { sets: vec![all], own, others, unreserved: None, additional };
        sets.change(threshold, callers);
        sets
    }

    /// The threshold or the callers have changed.
    pub(super) fn change(&mut self, threshold: Threshold, callers: &[(Caller, u32)]) {
        let settings = |requests: NonZeroU32| {
            let threshold = Threshold { requests, pace: Pace::Burst, ..threshold };
            LimitSettings { threshold, spare: 0, alone: false }
        };
        // Of all gateways' numbers the smallest one holds, and this gateway says none for limits that are gone.
        self.additional.values_mut().for_each(|gone| *gone = settings(threshold.requests));
        self.own.clear();
        (self.others.sets, self.unreserved) = (Box::new([0]), None);
        let add = |sets: &mut Self, name: String, requests: u32| {
            sets.additional.insert(name.clone(), settings(NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN)));
            name
        };
        let (route, requests) = (self.all().first().cloned().unwrap_or_default(), threshold.requests.get());
        let reserved: u32 = callers.iter().map(|(_, reserve)| reserve).sum();
        if reserved > 0 {
            let name = add(self, format!("{route}:unreserved"), requests.saturating_sub(reserved));
            self.others.sets = Box::new([self.number(&[&name])]);
            self.unreserved = Some(name);
        }
        for (caller, reserve) in callers {
            let own = |kind: &str| format!("{route}:{kind}:{}", caller.name());
            let most = caller.terms().max_share.filter(|most| most.get() < requests);
            let max_share = most.map(|most| add(self, own("max_share"), most.get()));
            let reserve = Some(*reserve).filter(|slots| *slots > 0).map(|slots| add(self, own("reserve"), slots));
            let unreserved = self.unreserved.clone();
            // First the caller's reserve, then the slots of all.
            let numbers = reserve.iter().map(Some).chain(once(unreserved.as_ref())).map(|last| {
                let more: Vec<&String> = max_share.iter().chain(last).collect();
                self.number(&more)
            });
            let numbers = numbers.collect();
            self.own.insert(caller.clone(), CallerLimits { sets: numbers, max_share, reserve });
        }
    }

    /// The number of the set with these limits behind those of all calls.
    fn number(&mut self, more: &[&String]) -> u32 {
        let set: Arc<[String]> = self.all().iter().chain(more.iter().copied()).cloned().collect();
        let known = self.sets.iter().position(|other| *other == set);
        let number = known.unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        });
        number as u32
    }

    /// The limits of all calls, the route's own first.
    pub(super) fn all(&self) -> &[String] {
        &self.sets[0]
    }

    /// The limits of the set with this number.
    pub(super) fn limits(&self, number: u32) -> &[String] {
        self.sets.get(number as usize).unwrap_or(&self.sets[0])
    }

    /// The limits of a caller's calls; those of `None` count only against the limits of all.
    pub(super) fn of(&self, caller: &Caller) -> &CallerLimits {
        self.own.get(caller).unwrap_or(&self.others)
    }

    /// The numbers of a caller's sets, in the order in which they are tried. Calls of `None` have only the limits of all.
    pub(super) fn numbers(&self, caller: Option<&Caller>) -> &[u32] {
        caller.map_or(&[0], |caller| &self.of(caller).sets)
    }

    /// The same sets without the limits of all. Empty if there are no others.
    pub(super) fn more(&self, caller: Option<&Caller>) -> Vec<Vec<String>> {
        let more = |number: &u32| self.limits(*number)[self.all().len()..].to_vec();
        let more: Vec<_> = self.numbers(caller).iter().map(more).collect();
        if more.iter().all(Vec::is_empty) { Vec::new() } else { more }
    }

    /// The callers with limits of their own.
    pub(super) fn callers(&self) -> impl Iterator<Item = (&Caller, &CallerLimits)> {
        self.own.iter()
    }
}
