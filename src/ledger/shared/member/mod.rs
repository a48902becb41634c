//! A gateway as a member of the shared record of one account: what it holds, what it asks, and what it may rely on.
//!
//! Nothing here reads a clock, sends or waits. The owner passes the time in, sends what [`Member::request`] returns, and
//! passes the answer to [`Member::receive`]. There is one request at a time. After a failure the next request states
//! only what is certain, and a late answer has an old number, so lost, repeated and late requests change nothing.

#[cfg(test)]
mod flawed;
mod replies;
mod requests;
#[cfg(test)]
mod tests;

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
    message::{Message, Operation, Silence, millis},
    status::{Holding, OwnStatus, Shut},
    timing::{Now, Timing},
};
use crate::ledger::{
    LockHit, Step,
    window::{Denied, Grant},
};

/// How many beats after the begin of an epoch its members have claimed their slots.
const CLAIM_BEATS: u32 = 3;

/// One account's part of this process.
#[derive(Debug)]
pub(in crate::ledger::shared) struct Member {
    timing: Timing,
    /// Whether an empty record is a first start.
    pub(in crate::ledger::shared) fresh: bool,
    /// The first part of each of its ids. No other process has it.
    name: String,
    /// The names of earlier processes that are certainly dead.
    pub(in crate::ledger::shared) dead: Vec<String>,
    /// Its name for operators.
    gateway: String,
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
    /// The last epoch in which it was a member, and those that it left before.
    entered_epoch: String,
    left_epochs: BTreeSet<String>,
    /// There is news that others should hear at once.
    news: bool,
    /// How often it gave up all slots.
    generation: u32,
    /// When each other member was last heard.
    watched: BTreeMap<String, Watched>,
    /// How old the epoch was, and when that was said.
    age: Option<(u64, Instant)>,
    pub(in crate::ledger::shared) limits: BTreeMap<String, Limit>,
    /// By route.
    pub(in crate::ledger::shared) locks: BTreeMap<String, RouteLock>,
    /// How many locks it has named.
    locks_named: u64,
    /// A rule that it breaks.
    #[cfg(test)]
    pub(in crate::ledger::shared) flaw: Option<Flaw>,
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
pub(in crate::ledger::shared) enum Unusable {
    #[error("is a replica now, not the master")]
    Replica,
    #[error("has no confirmation by a majority of its nodes: some of them are away or late")]
    Unconfirmed,
    #[error(
        "has records of gateways with another state.lease or upstream.timeout: all gateways of a namespace need the same; \
         after a change, stop them all and delete the keys NAMESPACE:{{ACCOUNT}}:ledger"
    )]
    OtherTiming,
}

impl Member {
    /// A process that has not asked yet.
    pub(in crate::ledger::shared) fn new(name: String, gateway: String, timing: Timing, fresh: bool) -> Self {
        Self {
            timing,
            fresh,
            name,
            dead: Vec::new(),
            gateway,
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
            entered_epoch: String::new(),
            left_epochs: BTreeSet::new(),
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

    /// Adds a limit, or changes it.
    pub(in crate::ledger::shared) fn set_limit(&mut self, name: &str, settings: LimitSettings, now: Instant) {
        match self.limits.get_mut(name) {
            Some(limit) if limit.settings.threshold == settings.threshold => return,
            Some(limit) => limit.change(settings, now),
            None => drop(self.limits.insert(name.to_owned(), Limit::new(settings, self.generation, now))),
        }
        self.news = true;
    }

    /// Its name in the record.
    pub(in crate::ledger::shared) fn id(&self) -> String {
        format!("{}.{}", self.name, self.incarnation)
    }

    // === The lease ===

    /// Whether slots may be used now.
    pub(in crate::ledger::shared) fn in_touch(&self, now: Now) -> bool {
        self.stage == Stage::Entered && self.touch.is_some_and(|touch| now.boot < touch + self.timing.lease)
    }

    /// Until the lease ends.
    pub(in crate::ledger::shared) fn lease_left(&self, now: Now) -> Duration {
        self.touch.map_or(Duration::ZERO, |touch| (touch + self.timing.lease).saturating_sub(now.boot))
    }

    /// Gives up everything after so long without touch that other members may count it as free.
    pub(in crate::ledger::shared) fn give_up_if_due(&mut self, now: Now) -> bool {
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
    /// locks and its pace. An error says which of them has no slot.
    pub(in crate::ledger::shared) fn take(&mut self, limits: &[String], now: Now) -> Result<Grant, (usize, Denied)> {
        self.give_up_if_due(now);
        for (index, name) in limits.iter().enumerate() {
            let Some(limit) = self.limits.get_mut(name) else { return Err((index, Denied::Unanswered)) };
            if let Err(denied) = limit.window.check(now.monotonic) {
                // The others hear of the first call that waits.
                self.news |= !mem::replace(&mut limit.asked, true);
                return Err((index, denied));
            }
            if !limit.may_take() {
                self.news = true;
                return Err((index, Denied::Unanswered));
            }
        }
        self.take_all(limits, now).map_err(|denied| (0, denied))
    }

    /// Whether it has asked the record for slots of this limit, and got none.
    pub(in crate::ledger::shared) fn asked_in_vain(&self, limit: &str) -> bool {
        self.limits.get(limit).is_none_or(|limit| limit.in_vain)
    }

    /// The same where all limits have a slot.
    fn take_all(&mut self, limits: &[String], now: Now) -> Result<Grant, Denied> {
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
    pub(in crate::ledger::shared) fn held_back(&mut self, route: &str, grant: Grant, now: Now) -> Option<Instant> {
        let in_touch = self.in_touch(now);
        let window = &mut self.limits.get_mut(route)?.window;
        let may_send = in_touch && !window.has_given_up(grant) && !window.has_surplus(now.monotonic);
        window.held_back(grant).or((!may_send).then_some(now.monotonic))
    }

    /// Applies a step of an attempt with this grant.
    pub(in crate::ledger::shared) fn note(&mut self, limits: &[String], grant: Grant, step: &Step, now: Instant) {
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
    pub(in crate::ledger::shared) fn lock(
        &mut self,
        route: &str,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Option<LockHit> {
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

    /// Ends the lock of a route here and, with the next request, in the record: there the shortest rest counts. Others
    /// learn of its end when the call that goes alone succeeds.
    pub(in crate::ledger::shared) fn lift_lock(&mut self, route: &str, now: Instant) -> bool {
        let lifted = self.limits.get_mut(route).is_some_and(|limit| limit.window.lift_lock(now));
        self.news |= lifted;
        lifted
    }

    /// Until when the slots of this limit that nobody has claimed are shut.
    pub(in crate::ledger::shared) fn shut_until(&self, limit: &Limit, now: Instant) -> Instant {
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
    pub(in crate::ledger::shared) fn epoch(&self) -> Option<&str> {
        (self.stage == Stage::Entered).then_some(self.epoch.as_str())
    }

    /// How long the slots of some limit are shut.
    pub(in crate::ledger::shared) fn shut_for(&self, now: Instant) -> Duration {
        let shut = self.limits.values().filter(|limit| limit.shut > 0).map(|limit| self.shut_until(limit, now) - now);
        shut.max().unwrap_or_default()
    }

    /// What it knows, for operators.
    pub(in crate::ledger::shared) fn status(&mut self, now: Now) -> OwnStatus {
        let shut = |(name, limit): (&String, &Limit)| Shut {
            limit: name.clone(),
            slots: limit.shut,
            for_seconds: (self.shut_until(limit, now.monotonic) - now.monotonic).as_secs_f64(),
        };
        let shut = self.limits.iter().filter(|(_, limit)| limit.shut > 0).map(shut).collect();
        let holding = |(name, limit): (&String, &mut Limit)| Holding {
            limit: name.clone(),
            held: limit.held,
            in_use: limit.held.saturating_sub(limit.idle(now.monotonic)),
            sealed: limit.sealed,
            free_in_seconds: None,
        };
        let holds = self.limits.iter_mut().filter(|(_, limit)| limit.held + limit.sealed > 0).map(holding).collect();
        OwnStatus {
            gateway: self.gateway.clone(),
            member: self.id(),
            epoch: self.epoch().map(str::to_owned),
            lease_left_seconds: self.lease_left(now).as_secs_f64(),
            failure: None,
            holds,
            shut,
        }
    }

    /// Whether a request is due before the next beat.
    pub(in crate::ledger::shared) fn has_news(&self) -> bool {
        self.news && self.pending.is_none()
    }

    /// Handles what the script published about its record.
    pub(in crate::ledger::shared) fn hear(&mut self, message: &Message, now: Instant) {
        // Before that it asks anyway, and it gives nothing back.
        if self.stage != Stage::Entered {
            return;
        }
        // Slots that it gave to a record which is lost by now would be lost to all, because nobody claims them.
        if message.epoch != self.epoch {
            self.news = true;
            return;
        }
        self.news |= message.lock.is_some() || message.called.contains_key(&self.id());
        for name in message.wanted.keys() {
            if let Some(limit) = self.limits.get_mut(name) {
                limit.wanted = true;
                self.news |= limit.has_to_give(now);
            }
        }
    }
}
