//! One meter per login and API, and locks that a test has ordered.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use super::api::Api;
use super::login::Login;
use super::meter::{Meter, Rule, Tally, Verdict};

/// Every meter of the sandbox.
pub(super) struct Meters {
    rule: Rule,
    meters: BTreeMap<(Login, Api), Meter>,
    /// Kept beside the meters, so that a login's first call meets the lock as well.
    ordered: HashMap<Api, Instant>,
}

impl Meters {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, meters: BTreeMap::new(), ordered: HashMap::new() }
    }

    /// Counts an arrival.
    pub(super) fn arrive(&mut self, login: &Login, api: Api, now: Instant) -> Verdict {
        let meter = self.meters.entry((login.clone(), api)).or_insert_with(|| {
            let mut meter = Meter::default();
            if let Some(until) = self.ordered.get(&api) {
                meter.lock_until(*until);
            }
            meter
        });
        meter.arrive(now, &self.rule)
    }

    /// Locks an API for every login, those to come included; a moment that is past lifts its locks.
    pub(super) fn lock(&mut self, api: Api, until: Instant) {
        self.ordered.insert(api, until);
        self.meters.iter_mut().filter(|((_, of), _)| *of == api).for_each(|(_, meter)| meter.lock_until(until));
    }

    /// Forgets every arrival and lifts every lock.
    pub(super) fn forget(&mut self) {
        self.meters.clear();
        self.ordered.clear();
    }

    /// The sums by `login/api`.
    pub(super) fn tallies(&self) -> BTreeMap<String, Tally> {
        self.meters.iter().map(|((login, api), meter)| (format!("{login}/{}", api.name()), meter.tally())).collect()
    }
}
