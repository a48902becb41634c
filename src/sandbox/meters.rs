//! One meter per login and API, and the locks that a test has set.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use super::{
    api::Api,
    login::Login,
    meter::{Admission, Meter, Rule, Tally},
};

/// All meters of the sandbox.
pub(super) struct Meters {
    rule: Rule,
    meters: BTreeMap<(Login, Api), Meter>,
    /// Locks set by a test; separate from the meters, so that they also apply to the first call of a login.
    ordered: HashMap<Api, Instant>,
}

impl Meters {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, meters: BTreeMap::new(), ordered: HashMap::new() }
    }

    /// Counts an arrival.
    pub(super) fn arrive(&mut self, login: &Login, api: Api, now: Instant) -> Admission {
        let meter = self.meters.entry((login.clone(), api)).or_insert_with(|| {
            let mut meter = Meter::default();
            if let Some(until) = self.ordered.get(&api) {
                meter.lock_until(*until);
            }
            meter
        });
        meter.arrive(now, &self.rule)
    }

    /// Locks an API for all present and future logins; a past moment ends its locks.
    pub(super) fn lock(&mut self, api: Api, until: Instant) {
        self.ordered.insert(api, until);
        self.meters.iter_mut().filter(|((_, of), _)| *of == api).for_each(|(_, meter)| meter.lock_until(until));
    }

    /// Deletes all arrivals and locks.
    pub(super) fn forget(&mut self) {
        self.meters.clear();
        self.ordered.clear();
    }

    /// The totals by `login/api`.
    pub(super) fn tallies(&self) -> BTreeMap<String, Tally> {
        self.meters.iter().map(|((login, api), meter)| (format!("{login}/{}", api.name()), meter.tally())).collect()
    }
}
