//! What a member makes of an answer.

use std::{collections::BTreeMap, mem, time::Duration};

use tokio::time::Instant;

use super::{
    super::{
        limit::RouteLock,
        message::{LockView, Operation, Reply, Silence, Status, millis},
        timing::Now,
    },
    Member, Pending, Stage, Unusable, Watched,
};

impl Member {
    /// Applies the answer to the last request. `confirmed`: a majority of the server's nodes has what the request
    /// changed; always so without replicas.
    pub(in crate::ledger::shared) fn receive(
        &mut self,
        reply: Reply,
        confirmed: bool,
        now: Now,
    ) -> Result<(), Unusable> {
        let Some(pending) = self.pending.take_if(|pending| pending.number == reply.number) else { return Ok(()) };
        // After so long without touch nothing that it grants may be used.
        if self.give_up_if_due(now) {
            return Ok(());
        }
        match (reply.status, pending.op) {
            (Status::Ok, Operation::Look | Operation::Begin)
            | (Status::OtherLife | Status::NoEpoch | Status::OtherEpoch, _) => {
                self.goes_to(reply.life, reply.epoch);
            }
            (Status::Ok, Operation::Leave) | (_, Operation::Leave) => {}
            (Status::Ok, Operation::Enter | Operation::Exchange) => {
                self.was_member = true;
                self.note_epoch();
                if !confirmed {
                    #[cfg(test)]
                    self.count_unconfirmed(&pending);
                    // A failover may undo it, so it counts as lost.
                    self.fail();
                    return Err(Unusable::Unconfirmed);
                }
                self.stage = Stage::Entered;
                self.touch = Some(pending.sent.boot);
                #[cfg(test)]
                self.count_from_another_moment(&pending, now);
                self.apply(reply, &pending, now.monotonic);
            }
            (Status::Gone, _) => self.give_up(now.monotonic),
            (Status::Stale, _) => {
                self.failed = true;
                return Ok(());
            }
            (Status::NotMaster, _) => return self.is_unusable(Unusable::Replica),
            (Status::OtherTiming, _) => return self.is_unusable(Unusable::OtherTiming),
        }
        self.failed = false;
        Ok(())
    }

    /// Remembers the epochs that it has left for another one.
    fn note_epoch(&mut self) {
        if self.entered_epoch != self.epoch {
            let left = mem::replace(&mut self.entered_epoch, self.epoch.clone());
            self.left_epochs.insert(left);
        }
    }

    fn is_unusable(&mut self, why: Unusable) -> Result<(), Unusable> {
        self.failed = true;
        Err(why)
    }

    /// There is another life or epoch, and this process enters it with what it holds.
    fn goes_to(&mut self, life: String, epoch: Option<String>) {
        self.life = life;
        let epoch = epoch.unwrap_or_default();
        // The record of an epoch that it left does not know what it did since, and would count its slots as free.
        let is_usable = !epoch.is_empty() && !self.left_epochs.contains(&epoch);
        self.stage = if is_usable { Stage::Enter } else { Stage::Begin };
        self.epoch = epoch;
        self.incarnation += 1;
        self.watched.clear();
        self.age = None;
        self.keep_slots();
    }

    fn apply(&mut self, reply: Reply, pending: &Pending, now: Instant) {
        // What was counted since an earlier answer goes on, if it is more: the time of a trip is lost only once.
        let age = self.age.map_or(0, |(age, at)| age + millis(now.saturating_duration_since(at)));
        if age <= reply.age {
            self.age = Some((reply.age, now));
        }
        self.watch(reply.silences, now);
        let got = |name: &String| reply.limits.get(name).map_or(0, |granted| granted.held + granted.sealed);
        if pending.op == Operation::Enter && pending.claims.iter().any(|(name, claimed)| got(name) < *claimed) {
            // The claims came too late, so others count these slots as free.
            return self.give_up(now);
        }
        for (name, limit) in &mut self.limits {
            limit.wanted = reply.wanted.contains_key(name);
            let Some(granted) = reply.limits.get(name) else { continue };
            limit.granted(granted, pending.demanded.contains(name), now);
            self.news |= limit.has_to_give(now);
        }
        self.apply_locks(reply.locks, pending, now);
    }

    fn watch(&mut self, silences: BTreeMap<String, Silence>, now: Instant) {
        let watched = mem::take(&mut self.watched);
        let watch = |(id, silence): (String, Silence)| {
            let seen = watched
                .get(&id)
                .filter(|seen| seen.silence.number == silence.number && seen.silent(now) >= silence.silent);
            let seen = seen.copied().unwrap_or(Watched { silence, since: now });
            (id, seen)
        };
        self.watched = silences.into_iter().map(watch).collect();
    }

    fn apply_locks(&mut self, views: BTreeMap<String, LockView>, pending: &Pending, now: Instant) {
        for (route, name) in &pending.locks {
            // The record has no lock of this route any more, unless a newer one came meanwhile.
            if !views.contains_key(route) && self.locks.get(route).is_some_and(|lock| lock.name == *name) {
                self.locks.remove(route);
                if let Some(limit) = self.limits.get_mut(route) {
                    limit.window.forget_lock();
                }
            }
        }
        for (route, view) in views {
            // A limit that is added later learns of it from a later reply, before it has any slot.
            if !self.limits.contains_key(&route) {
                continue;
            }
            let known = self.locks.get(&route);
            let is_reported = known.is_none_or(|known| pending.locks.get(&route) == Some(&known.name));
            if !is_reported {
                continue;
            }
            let is_new = known.is_none_or(|known| known.name != view.name);
            let asked = known.is_some_and(|known| known.asked) && !is_new;
            if let Some(limit) = self.limits.get_mut(&route).filter(|_| is_new) {
                limit.window.lock_until(now + Duration::from_millis(view.rest));
            }
            self.locks.insert(route, RouteLock { name: view.name, probe: view.probe, asked, met: false });
        }
    }
}
