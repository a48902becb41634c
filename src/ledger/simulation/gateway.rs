//! One process of the gateway, as far as the ledger is concerned: the real rule, the real memory.

use std::{mem, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    disk::Commit,
    flaw::Flaw,
    known::{Known, Number},
    plan::{Plan, Rule},
};
use crate::{
    ledger::{
        Denied, Grant, Journal, Recovered, Window,
        daily::Daily,
        store::{Key, Row, StartState},
        tests::threshold_of,
    },
    zoho::catalogue::{Pace, Threshold},
};

#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) window: Window,
    day: Option<Arc<Daily>>,
    pub(super) known: Known,
    /// The commit under way, and the permits it is for.
    commit: Option<(Commit, Vec<Number>)>,
    /// Who needs the next one.
    waiting: Vec<Number>,
    changed: bool,
    pub(super) flush_is_due: bool,
    pub(super) looks_at: Option<u64>,
}

impl Gateway {
    /// Begins where the last process ended. Returns what it writes first.
    pub(super) fn start(
        memory: StartState,
        rule: Rule,
        plan: &Plan,
        known: Known,
        now: Instant,
    ) -> (Self, Vec<(Key, Row)>) {
        let past = Recovered::new(memory, now);
        let left = past.left();
        let pace = if plan.smooth { Pace::Smooth } else { Pace::Burst };
        let route = threshold(rule, plan.lock, pace);
        let window = past.window(&key("route"), route, now);
        let day = plan.day.map(|rule| {
            let window = past.window(&key("daily"), threshold(rule, 0, Pace::Burst), now);
            Daily::new(window, key("daily"), Journal::in_memory())
        });
        let gateway = Self {
            window,
            day,
            known,
            commit: None,
            waiting: Vec::new(),
            changed: false,
            flush_is_due: false,
            looks_at: None,
        };
        (gateway, left)
    }

    /// As a line does: a slot of the route and one of the day, or neither.
    pub(super) fn take(&mut self, now: Instant) -> Result<Grant, Denied> {
        let Some(day) = &self.day else { return self.window.take(now) };
        self.window.room(now)?;
        day.change(|day| {
            day.room(now)?;
            let grant = self.window.take(now)?;
            day.take(now)?;
            Ok(grant)
        })
    }

    pub(super) fn change(&mut self, change: impl Fn(&mut Window)) {
        change(&mut self.window);
        if let Some(day) = &self.day {
            day.change(change);
        }
        self.changed = true;
    }

    /// This permit is handed out when the disk has what was taken for it.
    pub(super) fn waits(&mut self, number: Number) {
        self.changed = true;
        self.waiting.push(number);
    }

    /// Begins a commit if one is needed and none is under way; whether it did.
    pub(super) fn begin_commit(&mut self, now: Instant, urgent: bool) -> bool {
        let needed = self.changed && (urgent || !self.waiting.is_empty());
        if !needed || self.commit.is_some() {
            return false;
        }
        self.changed = false;
        let mut rows = vec![(key("route"), self.window.row(now))];
        if let Some(day) = &self.day {
            rows.push((key("daily"), day.window().row(now)));
        }
        self.commit = Some((Commit { rows, known: self.known }, mem::take(&mut self.waiting)));
        true
    }

    pub(super) fn end_commit(&mut self) -> Option<(Commit, Vec<Number>)> {
        self.commit.take()
    }

    /// Whether a change waits for the next commit, which nobody has asked for yet.
    pub(super) fn needs_flush(&self) -> bool {
        self.changed && !self.flush_is_due
    }

    pub(super) fn forget_to_go_alone(&mut self, now: Instant, flaw: Option<Flaw>) {
        if flaw == Some(Flaw::AllAtOnceAfterALock) && self.window.locked_until(now).is_none() {
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

fn key(meter: &str) -> Key {
    Key { account: "account".to_owned(), meter: meter.to_owned() }
}
