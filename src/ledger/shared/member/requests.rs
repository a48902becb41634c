//! When a member asks, and what it says.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::{
    super::{
        limit::RouteLock,
        message::{Demand, LockReport, Operation, Request, Silence, millis, millis_up},
        timing::{LONG, Now},
    },
    Member, Pending, Stage,
};

impl Member {
    /// When the next request is due. `None` while one has no answer.
    pub(in crate::ledger::shared) fn due(
        &mut self,
        demand: &BTreeMap<String, Demand>,
        now: Instant,
    ) -> Option<Instant> {
        if self.pending.is_some() || self.stage == Stage::Left {
            return None;
        }
        let asked = self.asked_at.unwrap_or(now);
        if self.failed {
            return Some(asked + self.timing.beat / 4);
        }
        if self.news || self.stage != Stage::Entered {
            return Some(now);
        }
        let wanted = self.limits.values_mut().filter(|limit| limit.wanted);
        let uses = wanted.filter_map(|limit| limit.window.next_end(now)).min();
        let waits = demand.iter().filter(|(_, demand)| demand.waits());
        let locks = waits.filter_map(|(route, _)| {
            self.locks.get(route).filter(|lock| !lock.asked)?;
            self.limits.get(route)?.window.lock_end()
        });
        locks.chain(uses).chain([asked + self.timing.beat]).min()
    }

    /// The next request. Slots that are given back are given up before it is sent.
    pub(in crate::ledger::shared) fn request(
        &mut self,
        demand: BTreeMap<String, Demand>,
        candidate: String,
        now: Now,
    ) -> Request {
        self.give_up_if_due(now);
        let op = match self.stage {
            Stage::Look => Operation::Look,
            Stage::Begin => Operation::Begin,
            Stage::Enter => Operation::Enter,
            Stage::Entered => Operation::Exchange,
            Stage::Left => Operation::Leave,
        };
        let beat = self.asked_at.is_none_or(|at| at + self.timing.beat <= now.monotonic);
        self.number += 1;
        self.news = false;
        self.asked_at = Some(now.monotonic);
        let demanded: BTreeSet<_> = demand.values().flat_map(Demand::awaited).cloned().collect();
        let all = self.failed || beat || op != Operation::Exchange;
        let claims = op != Operation::Enter || self.was_member;
        let mut limits = BTreeMap::new();
        for (name, limit) in &mut self.limits {
            let waits = demanded.contains(name);
            limit.asked &= waits;
            if all || limit.wanted || waits {
                let mut held = limit.report(waits, op == Operation::Leave, now.monotonic);
                if !claims {
                    (held.held, held.sealed, held.idle) = (0, 0, 0);
                }
                limits.insert(name.clone(), held);
            }
        }
        let locks = self.report_locks(&demand, op == Operation::Enter, now.monotonic);
        self.pending = Some(Pending {
            number: self.number,
            op,
            sent: now,
            locks: locks.iter().map(|(route, lock)| (route.clone(), lock.name.clone())).collect(),
            claims: limits.iter().map(|(name, held)| (name.clone(), held.held + held.sealed)).collect(),
            demanded,
        });
        let since = |at: Instant| millis(now.monotonic.saturating_duration_since(at));
        Request {
            op,
            life: self.life.clone(),
            epoch: self.epoch.clone(),
            member: self.id(),
            gateway: (op == Operation::Enter).then(|| self.gateway.clone()),
            number: self.number,
            replaces: if op == Operation::Begin { self.epoch.clone() } else { String::new() },
            candidate,
            fresh: self.fresh && !self.was_member,
            gone_after: self.timing.gone_after_with_margin(),
            beat: millis(self.timing.beat),
            grace: millis_up(self.timing.grace),
            dead: if op == Operation::Enter { self.dead.clone() } else { Vec::new() },
            long: millis(LONG),
            deal: beat,
            age: self.age.map_or(0, |(age, at)| age + since(at)),
            silences: (self.watched.iter())
                .map(|(id, seen)| (id.clone(), Silence { silent: seen.silent(now.monotonic), ..seen.silence }))
                .collect(),
            limits,
            locks,
            demand,
        }
    }

    fn report_locks(
        &mut self,
        demand: &BTreeMap<String, Demand>,
        enters: bool,
        now: Instant,
    ) -> BTreeMap<String, LockReport> {
        let limits = &self.limits;
        let report = |(route, lock): (&String, &mut RouteLock)| {
            let window = limits.get(route).map(|limit| &limit.window);
            let end = window.and_then(|window| window.lock_end());
            let rest = end.map_or(0, |end| millis_up(end.saturating_duration_since(now)));
            let waits = demand.get(route).is_some_and(Demand::waits);
            let probe = waits || window.is_some_and(|window| window.is_probing());
            lock.asked = probe && rest == 0;
            (
                route.clone(),
                LockReport {
                    name: lock.name.clone(),
                    rest,
                    probe,
                    over: window.is_some() && end.is_none(),
                    met: lock.met || enters,
                },
            )
        };
        self.locks.iter_mut().map(report).collect()
    }

    /// Whether the request of this number has no answer yet.
    #[cfg(test)]
    pub(in crate::ledger::shared) fn awaits(&self, number: u64) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.number == number)
    }

    /// The last request has no answer, or the server refused it.
    pub(in crate::ledger::shared) fn fail(&mut self) {
        self.pending = None;
        self.failed = true;
        self.keep_slots();
        self.limits.values_mut().for_each(|limit| limit.in_vain = limit.asked);
    }

    /// Gives nothing until the record says again that others wait. What is given to a server that loses it is lost to
    /// all, because nobody claims it.
    pub(super) fn keep_slots(&mut self) {
        self.limits.values_mut().for_each(|limit| limit.wanted = false);
    }

    /// Leaves the record with the next request, and for good. No call may be in flight. Returns whether it was in the
    /// record; if not, it must not enter any more.
    pub(in crate::ledger::shared) fn leave(&mut self) -> bool {
        let entered = self.stage == Stage::Entered;
        if entered {
            self.stage = Stage::Left;
        }
        entered
    }
}
