//! A Zoho that counts by itself, independently of the ledger.

use std::collections::VecDeque;

use super::plan::Rule;

/// More calls arrived within a window than the rule allows.
#[derive(Debug)]
pub(super) struct TooMany {
    pub(super) arrived: usize,
    pub(super) rule: Rule,
}

/// Zoho's answer to a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Response {
    Executed,
    /// Not executed; the lock ends at `until`.
    Locked {
        until: u64,
    },
}

/// Counts the arrivals of one limit.
#[derive(Debug)]
pub(super) struct Meter {
    /// The newest last: a process may have another rule than the one before it.
    rules: Vec<Rule>,
    /// When the last call arrived that was sent under each rule.
    latest: Vec<Option<u64>>,
    /// Within twice the longest window of all rules: the next rule's window is not longer.
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

    /// Another rule holds from now on, for the calls before it too.
    pub(super) fn change(&mut self, rule: Rule) {
        self.rules.push(rule);
        self.latest.push(None);
        self.longest = self.longest.max(rule.window);
    }

    /// Counts the arrival of a call that was sent under the rule of this edition. Arrivals come in order.
    ///
    /// For each window, the newest rule under which one of its calls was sent counts.
    pub(super) fn arrival(&mut self, at: u64, edition: usize) -> Result<(), TooMany> {
        while self.arrivals.front().is_some_and(|first| first + 2 * self.longest <= at) {
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
    /// Answers a call that arrives, perhaps just after another client caused a lock of this length.
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
