//! The ledger of one process of the gateway: the real rule, and the real recovery.

use std::{mem, time::Duration};

use tokio::time::Instant;

use super::{
    disk::Commit,
    flaw::Flaw,
    known::{Known, Number},
    plan::{Plan, Rule},
};
use crate::{
    ledger::{Denied, Grant, Key, LimitSpec, Recovered, Row, StartState, Step, Window, tests::threshold_of},
    zoho::catalogue::{Pace, Threshold},
};

#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) window: Window,
    day: Option<Window>,
    pub(super) known: Known,
    /// The commit in progress, and the attempts that wait for it.
    commit: Option<(Commit, Vec<Number>)>,
    /// The attempts that wait for the next commit.
    waiting: Vec<Number>,
    changed: bool,
    pub(super) flush_is_due: bool,
    pub(super) next_attempt_at: Option<u64>,
}

impl Gateway {
    /// Starts where the last process ended. Also returns what it writes first.
    pub(super) fn start(
        memory: StartState,
        rule: Rule,
        plan: &Plan,
        known: Known,
        now: Instant,
    ) -> (Self, Vec<(Key, Row)>) {
        let recovered = Recovered::new(memory, now);
        let left = recovered.left();
        let pace = if plan.smooth { Pace::Smooth } else { Pace::Burst };
        let route = threshold(rule, plan.lock, pace);
        let window = recovered.window(&LimitSpec::own(key("route"), route), now);
        let day = plan.day.map(|rule| {
            let mut day = recovered.window(&LimitSpec::own(key("daily"), threshold(rule, 0, Pace::Burst)), now);
            day.forget_lock();
            day
        });
        let gateway = Self {
            window,
            day,
            known,
            commit: None,
            waiting: Vec::new(),
            changed: false,
            flush_is_due: false,
            next_attempt_at: None,
        };
        (gateway, left)
    }

    /// The configuration has another threshold, and the calls before are not known by their moments.
    pub(super) fn reload(&mut self, rule: Rule, plan: &Plan, flaw: Option<Flaw>, now: Instant) {
        let pace = if plan.smooth { Pace::Smooth } else { Pace::Burst };
        let (threshold, from) = (threshold(rule, plan.lock, pace), self.window.span());
        self.window.change(threshold, from, now);
        if flaw != Some(Flaw::ForgetsAtReload) {
            self.window.recount(from, None, now);
        }
        (self.changed, self.next_attempt_at) = (true, None);
    }

    /// Takes a slot of the route and one of the day, or neither.
    pub(super) fn take(&mut self, now: Instant) -> Result<Grant, Denied> {
        if let Some(day) = &mut self.day {
            day.check(now)?;
        }
        let grant = self.window.take(now)?;
        if let Some(day) = &mut self.day {
            day.take(now)?;
        }
        Ok(grant)
    }

    pub(super) fn note(&mut self, grant: Grant, step: &Step, now: Instant) {
        for window in [Some(&mut self.window), self.day.as_mut()].into_iter().flatten() {
            window.apply(grant, step, now);
        }
        self.changed = true;
    }

    /// Marks the state as changed, so that the next commit writes it.
    pub(super) fn touch(&mut self) {
        self.changed = true;
    }

    /// This attempt is handed out once the disk has its slot.
    pub(super) fn wait_for_commit(&mut self, number: Number) {
        self.changed = true;
        self.waiting.push(number);
    }

    /// Begins a commit if one is needed and none is in progress. Returns whether it did.
    pub(super) fn begin_commit(&mut self, now: Instant, urgent: bool) -> bool {
        let needed = self.changed && (urgent || !self.waiting.is_empty());
        if !needed || self.commit.is_some() {
            return false;
        }
        self.changed = false;
        let mut rows = vec![(key("route"), self.window.row(now))];
        if let Some(day) = &mut self.day {
            rows.push((key("daily"), day.row(now)));
        }
        self.commit = Some((Commit { rows, known: self.known }, mem::take(&mut self.waiting)));
        true
    }

    pub(super) fn end_commit(&mut self) -> Option<(Commit, Vec<Number>)> {
        self.commit.take()
    }

    /// Whether a change needs a commit for which no flush is planned yet.
    pub(super) fn needs_flush(&self) -> bool {
        self.changed && !self.flush_is_due
    }

    pub(super) fn forget_to_probe(&mut self, now: Instant, flaw: Option<Flaw>) {
        if flaw == Some(Flaw::NoProbeAfterALock) && self.window.locked_until(now).is_none() {
            self.window.forget_lock();
        }
    }
}

fn threshold(rule: Rule, lock: u64, pace: Pace) -> Threshold {
    Threshold {
        lock: Duration::from_micros(lock),
        ..threshold_of(rule.requests, Duration::from_micros(rule.window), pace)
    }
}

fn key(limit: &str) -> Key {
    Key { account: "account".to_owned(), limit: limit.to_owned() }
}
