//! A Zoho that counts by itself. It knows nothing of how the ledger counts.

use std::collections::VecDeque;

use super::plan::Rule;

/// More calls arrived within a window than the rule allows.
#[derive(Debug)]
pub(super) struct TooMany {
    pub(super) arrived: usize,
    pub(super) rule: Rule,
}

/// What a call met.
#[derive(Debug, Clone, Copy)]
pub(super) enum Response {
    Executed,
    /// Not executed; the lock ends then.
    Locked {
        until: u64,
    },
}

/// Counts the arrivals of one limit.
#[derive(Debug)]
pub(super) struct Meter {
    /// The newest last: a process may come with another rule than the one before it.
    rules: Vec<Rule>,
    /// When the last call arrived that was sent under each rule.
    latest: Vec<Option<u64>>,
    /// Since the longest window of all rules.
    arrivals: VecDeque<u64>,
    longest: u64,
}

#[derive(Debug, Default)]
pub(super) struct Lock {
    until: u64,
}

impl Meter {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rules: vec![rule], latest: vec![None], arrivals: VecDeque::new(), longest: rule.window }
    }

    pub(super) fn rule(&self) -> Rule {
        self.rules[self.rules.len() - 1]
    }

    pub(super) fn edition(&self) -> usize {
        self.rules.len() - 1
    }

    /// From now on another rule is known to be the right one. What had left the old window is forgotten by then: a rule
    /// with a longer one can be kept from here on only.
    pub(super) fn change(&mut self, rule: Rule, now: u64) {
        let old = self.rule();
        self.arrivals.retain(|at| at + old.window > now);
        self.rules.push(rule);
        self.latest.push(None);
        self.longest = self.longest.max(rule.window);
    }

    /// A call arrives that was sent under the rule of this edition. Arrivals come in order.
    ///
    /// A window is held to the newest rule that a call in it was sent under.
    pub(super) fn arrival(&mut self, at: u64, edition: usize) -> Result<(), TooMany> {
        while self.arrivals.front().is_some_and(|first| first + self.longest <= at) {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(at);
        self.latest[edition] = Some(at);
        for (edition, rule) in self.rules.iter().enumerate() {
            let inside = |edition: usize| self.latest[edition].is_some_and(|last| last + rule.window > at);
            if inside(edition) && !(edition + 1..self.rules.len()).any(inside) {
                let arrived = self.arrivals.len() - self.arrivals.partition_point(|other| other + rule.window <= at);
                if arrived > rule.requests as usize {
                    return Err(TooMany { arrived, rule: *rule });
                }
            }
        }
        Ok(())
    }
}

impl Lock {
    /// A call arrives, perhaps just after somebody else brought a lock of some length.
    pub(super) fn arrival(&mut self, at: u64, external: Option<u64>, prolonged_by: u64) -> Response {
        if let Some(length) = external {
            self.until = self.until.max(at + length);
        }
        if at >= self.until {
            return Response::Executed;
        }
        self.until = self.until.max(at + prolonged_by);
        Response::Locked { until: self.until }
    }
}
