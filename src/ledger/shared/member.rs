//! A gateway as a member of the shared record of one account: what it holds, what it asks, and what it may rely on.
//!
//! Nothing here reads a clock, sends or waits. The owner passes the time in, sends what [`Member::request`] returns, and
//! passes the answer to [`Member::receive`]. There is one request at a time. After a failure the next request states
//! only what is certain, and a late answer has an old number, so lost, repeated and late requests change nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use tokio::time::Instant;

#[cfg(test)]
use super::simulation::Flaw;
use super::{
    limit::{Limit, LimitSettings, RouteLock},
    message::{Demand, LockReport, LockView, Message, Operation, Reply, Request, Silence, Status, millis, millis_up},
    timing::{LONG, Now, Timing},
};
use crate::ledger::{
    LockHit, Step,
    window::{Denied, Grant},
};

/// How many beats after the begin of an epoch its members have claimed their slots.
const CLAIM_BEATS: u32 = 3;

/// One account's part of this process.
#[derive(Debug)]
pub(super) struct Member {
    timing: Timing,
    /// Whether an empty record is a first start.
    pub(super) fresh: bool,
    /// The first part of each of its ids. No other process has it.
    name: String,
    /// The second part: an id is used in one epoch only, and never again after its slots were given up.
    incarnation: u64,
    stage: Stage,
    life: String,
    epoch: String,
    number: u64,
    pending: Option<Pending>,
    /// When the last answered request was sent.
    touch: Option<Duration>,
    /// When the last request was sent.
    asked_at: Option<Instant>,
    /// The last request failed: what it changed is not known.
    failed: bool,
    /// Whether it was ever in a record. A process that never was claims nothing.
    was_member: bool,
    /// There is news that others should hear at once.
    news: bool,
    /// How often it gave up all slots.
    generation: u32,
    /// When each other member was last heard.
    watched: BTreeMap<String, Watched>,
    /// How old the epoch was, and when that was said.
    age: Option<(u64, Instant)>,
    pub(super) limits: BTreeMap<String, Limit>,
    /// By route.
    pub(super) locks: BTreeMap<String, RouteLock>,
    /// How many locks it has named.
    locks_named: u64,
    /// A rule that it breaks.
    #[cfg(test)]
    pub(super) flaw: Option<Flaw>,
}

/// How far a process has come into the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Look,
    Begin,
    Enter,
    Entered,
    Left,
}

/// The request that has no answer yet.
#[derive(Debug)]
struct Pending {
    number: u64,
    op: Operation,
    sent: Now,
    /// The names of the locks that it reported, by route.
    locks: BTreeMap<String, String>,
    /// How many slots it claimed, by limit.
    claims: BTreeMap<String, u32>,
    /// The limits for which it said that calls wait.
    demanded: BTreeSet<String>,
}

/// How long another member was silent at a moment.
#[derive(Debug, Clone, Copy)]
struct Watched {
    silence: Silence,
    since: Instant,
}

impl Watched {
    /// How long it has been silent, in milliseconds.
    fn silent(self, now: Instant) -> u64 {
        self.silence.silent + millis(now.saturating_duration_since(self.since))
    }
}

/// Why the record cannot be used, although the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("is a replica now, not the master")]
    Replica,
    #[error(
        "has records of gateways with another state.lease or upstream.timeout: all gateways of a namespace need the same; \
         after a change, stop them all and delete the keys NAMESPACE:{{ACCOUNT}}:ledger"
    )]
    OtherTiming,
}

impl Member {
    /// A process that has not asked yet.
    pub(super) fn new(name: String, timing: Timing, fresh: bool) -> Self {
        Self {
            timing,
            fresh,
            name,
            incarnation: 0,
            stage: Stage::Look,
            life: String::new(),
            epoch: String::new(),
            number: 0,
            pending: None,
            touch: None,
            asked_at: None,
            failed: false,
            was_member: false,
            news: false,
            generation: 0,
            watched: BTreeMap::new(),
            age: None,
            limits: BTreeMap::new(),
            locks: BTreeMap::new(),
            locks_named: 0,
            #[cfg(test)]
            flaw: None,
        }
    }

    /// Adds a limit, unless it is known.
    pub(super) fn add_limit(&mut self, name: &str, settings: LimitSettings, now: Instant) {
        self.news = true;
        self.limits.entry(name.to_owned()).or_insert_with(|| Limit::new(settings, self.generation, now));
    }

    /// Its name in the record.
    pub(super) fn id(&self) -> String {
        format!("{}.{}", self.name, self.incarnation)
    }

    // === The lease ===

    /// Whether slots may be used now.
    pub(super) fn in_touch(&self, now: Now) -> bool {
        self.stage == Stage::Entered && self.touch.is_some_and(|touch| now.boot < touch + self.timing.lease)
    }

    /// Until the lease ends.
    pub(super) fn lease_left(&self, now: Now) -> Duration {
        self.touch.map_or(Duration::ZERO, |touch| (touch + self.timing.lease).saturating_sub(now.boot))
    }

    /// Gives up everything after so long without touch that other members may count it as free.
    pub(super) fn give_up_if_due(&mut self, now: Now) -> bool {
        #[cfg(test)]
        if self.flaw == Some(Flaw::NeverGone) {
            return false;
        }
        let due = self.touch.is_some_and(|touch| now.boot.saturating_sub(touch) >= self.timing.gone_after());
        if due {
            self.give_up(now.monotonic);
        }
        due
    }

    fn give_up(&mut self, now: Instant) {
        self.stage = Stage::Look;
        (self.touch, self.pending, self.age) = (None, None, None);
        self.watched.clear();
        self.generation += 1;
        self.limits.values_mut().for_each(|limit| limit.give_up(self.generation, now));
        self.locks.values_mut().for_each(|lock| lock.probe = false);
    }

    // === Slots ===

    /// Takes a slot of each of these limits, or of none. The first is the route's own: it has the route's name, its
    /// locks and its pace.
    pub(super) fn take(&mut self, limits: &[String], now: Now) -> Result<Grant, Denied> {
        self.give_up_if_due(now);
        for name in limits {
            let Some(limit) = self.limits.get_mut(name) else { return Err(Denied::Unanswered) };
            if let Err(denied) = limit.window.check(now.monotonic) {
                // The others hear of the first call that waits.
                self.news |= !mem::replace(&mut limit.asked, true);
                return Err(denied);
            }
            if !limit.may_take() {
                self.news = true;
                return Err(Denied::Unanswered);
            }
        }
        let Some((route, wider)) = limits.split_first() else { return Err(Denied::Unanswered) };
        if let Some(lock) = self.locks.get_mut(route)
            && !lock.probe
        {
            self.news |= !mem::replace(&mut lock.asked, true);
            return Err(Denied::Unanswered);
        }
        if !self.in_touch(now) {
            return Err(Denied::Unanswered);
        }
        let mut taken = |name: &String| {
            let limit = self.limits.get_mut(name).ok_or(Denied::Unanswered)?;
            let grant = limit.window.take(now.monotonic)?;
            limit.reserved = limit.reserved.saturating_sub(1);
            Ok(grant)
        };
        // Only the route's own window has a pace, so it alone can still deny.
        let grant = taken(route)?;
        wider.iter().try_for_each(|name| taken(name).map(drop))?;
        Ok(grant)
    }

    /// The end of the time in which a call with this grant of its route must not be sent.
    pub(super) fn held_back(&self, route: &str, grant: Grant, now: Now) -> Option<Instant> {
        let window = &self.limits.get(route)?.window;
        let may_send = self.in_touch(now) && !window.has_given_up(grant);
        window.held_back(grant).or((!may_send).then_some(now.monotonic))
    }

    /// Applies a step of an attempt with this grant.
    pub(super) fn note(&mut self, limits: &[String], grant: Grant, step: &Step, now: Instant) {
        for name in limits {
            if let Some(limit) = self.limits.get_mut(name) {
                limit.window.apply(grant, step, now);
                self.news |= limit.has_to_give(now);
            }
        }
        if let Step::Judged { .. } | Step::Unused | Step::Lost | Step::Unread = step {
            // A probe may have ended.
            self.news |= limits.first().is_some_and(|route| self.locks.contains_key(route));
        }
    }

    /// An answer reported a lock of this route. `None` when the lock has no length.
    pub(super) fn lock(&mut self, route: &str, retry_after: Option<Duration>, now: Instant) -> Option<LockHit> {
        let limit = self.limits.get_mut(route)?;
        // Only a member that holds all slots knows that no other one has used them.
        let external = limit.held == limit.requests && limit.window.has_free_slots(now);
        let until = limit.window.locked(now, retry_after)?;
        self.locks_named += 1;
        let name = format!("{}-{}", self.id(), self.locks_named);
        self.locks.insert(route.to_owned(), RouteLock { name, probe: false, asked: false, met: true });
        self.news = true;
        Some(LockHit { until, external })
    }

    /// Until when the slots of this limit that nobody has claimed are shut.
    pub(super) fn shut_until(&self, limit: &Limit, now: Instant) -> Instant {
        let age = self.age.map_or(0, |(age, at)| age + millis(now.saturating_duration_since(at)));
        // The other members claim theirs a moment after an epoch has begun.
        let claimed = millis(CLAIM_BEATS * self.timing.beat);
        if age < claimed {
            return now + Duration::from_millis(claimed - age);
        }
        let settled = self.timing.gone_after_with_margin() + limit.settles_after();
        now + Duration::from_millis(settled.saturating_sub(age))
    }

    /// The epoch, once it is a member.
    pub(super) fn epoch(&self) -> Option<&str> {
        (self.stage == Stage::Entered).then_some(self.epoch.as_str())
    }

    /// How long the slots of some limit are shut.
    pub(super) fn shut_for(&self, now: Instant) -> Duration {
        let shut = self.limits.values().filter(|limit| limit.shut > 0).map(|limit| self.shut_until(limit, now) - now);
        shut.max().unwrap_or_default()
    }

    /// Whether a request is due before the next beat.
    pub(super) fn has_news(&self) -> bool {
        self.news && self.pending.is_none()
    }

    /// Handles what the script published about its record.
    pub(super) fn hear(&mut self, message: &Message, now: Instant) {
        self.news |= message.lock.is_some() || message.called.contains_key(&self.id());
        for name in message.wanted.keys() {
            if let Some(limit) = self.limits.get_mut(name) {
                limit.wanted = true;
                self.news |= limit.has_to_give(now);
            }
        }
    }

    // === Requests ===

    /// When the next request is due. `None` while one has no answer.
    pub(super) fn due(&mut self, demand: &BTreeMap<String, Demand>, now: Instant) -> Option<Instant> {
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
        let uses =
            self.limits.values_mut().filter(|limit| limit.wanted).filter_map(|limit| limit.window.ends(now).next());
        let uses = uses.map(|(at, _)| at).min();
        let waits = demand.iter().filter(|(_, demand)| demand.waits());
        let locks = waits.filter_map(|(route, _)| {
            self.locks.get(route).filter(|lock| !lock.asked)?;
            self.limits.get(route)?.window.lock_end()
        });
        locks.chain(uses).chain([asked + self.timing.beat]).min()
    }

    /// The next request. Slots that are given back are given up before it is sent.
    pub(super) fn request(&mut self, demand: BTreeMap<String, Demand>, candidate: String, now: Now) -> Request {
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
        let waits = demand.values().filter(|demand| demand.waits());
        let demanded: BTreeSet<_> = waits.flat_map(|demand| &demand.limits).cloned().collect();
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
            number: self.number,
            candidate,
            fresh: self.fresh && !self.was_member,
            gone_after: self.timing.gone_after_with_margin(),
            beat: millis(self.timing.beat),
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
    pub(super) fn awaits(&self, number: u64) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.number == number)
    }

    /// The last request has no answer, or the server refused it.
    pub(super) fn fail(&mut self) {
        self.pending = None;
        self.failed = true;
        self.keep_slots();
    }

    /// Gives nothing until the record says again that others wait. What is given to a server that loses it is lost to
    /// all, because nobody claims it.
    fn keep_slots(&mut self) {
        self.limits.values_mut().for_each(|limit| limit.wanted = false);
    }

    /// Leaves the record with the next request, and for good. No call may be in flight. Returns whether it was in the
    /// record; if not, it must not enter any more.
    pub(super) fn leave(&mut self) -> bool {
        let entered = self.stage == Stage::Entered;
        if entered {
            self.stage = Stage::Left;
        }
        entered
    }

    /// Applies the answer to the last request.
    pub(super) fn receive(&mut self, reply: Reply, now: Now) -> Result<(), Unusable> {
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
                self.stage = Stage::Entered;
                self.was_member = true;
                self.touch = Some(pending.sent.boot);
                #[cfg(test)]
                if self.flaw == Some(Flaw::LeaseFromAnswer) {
                    self.touch = Some(now.boot);
                }
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

    fn is_unusable(&mut self, why: Unusable) -> Result<(), Unusable> {
        self.failed = true;
        Err(why)
    }

    /// There is another life or epoch, and this process enters it with what it holds.
    fn goes_to(&mut self, life: String, epoch: Option<String>) {
        self.life = life;
        self.stage = if epoch.is_some() { Stage::Enter } else { Stage::Begin };
        self.epoch = epoch.unwrap_or_default();
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
        self.watch(reply.silences, now, pending);
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

    fn watch(&mut self, silences: BTreeMap<String, Silence>, now: Instant, _pending: &Pending) {
        #[cfg(test)]
        let now = if self.flaw == Some(Flaw::SilenceFromRequest) { _pending.sent.monotonic } else { now };
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
        #[cfg(test)]
        let now = if self.flaw == Some(Flaw::LockFromRequest) { pending.sent.monotonic } else { now };
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
