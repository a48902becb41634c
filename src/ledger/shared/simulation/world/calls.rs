//! Calls on their way to Zoho and back.

use std::time::Duration;

use http::StatusCode;

use super::{super::scene::Fault::*, Call, Event, ROUTE, World};
use crate::ledger::{Step, window::Grant};

impl World {
    pub(super) fn call(&mut self, gateway: usize, grant: Grant) {
        let incarnation = self.gateways[gateway].incarnation;
        let call = self.calls.len();
        self.calls.push(Call {
            gateway,
            incarnation,
            grant,
            sent: None,
            written: false,
            arrives: None,
            arrived: false,
            ended: false,
            lock: None,
        });
        self.tell(|| format!("g{gateway} takes a slot for call {call}"));
        let at_once = if self.plan.scene.is_tight() { 300 } else { 700 };
        let waits = if self.random.in_a_thousand(at_once) { 0 } else { self.random.below(self.plan.longest[gateway]) };
        self.at(self.now + waits, Event::Write { call });
    }

    /// The connection is ready: the first byte may leave, unless the call is held back.
    pub(super) fn write(&mut self, call: usize) -> Result<(), String> {
        let Call { gateway, ended, .. } = self.calls[call];
        if ended {
            return Ok(());
        }
        if self.calls[call].sent.is_none() {
            let now = self.clocks(gateway);
            let grant = self.calls[call].grant;
            if self.gateways[gateway].member.held_back(ROUTE, grant, now).is_some() {
                self.end(call, &Step::Unused);
                return Ok(());
            }
            self.calls[call].sent = Some(self.now);
            self.tally.sent += 1;
            self.check_known_lock(call)?;
            let longest = (self.plan.longest[gateway] as f64 / self.gateways[gateway].rate) as u64;
            self.at(self.now + longest, Event::TimeOut { call });
            let freezes = if self.plan.scene.is_tight() { 200 } else { 20 };
            if self.plan.has(Freeze) && self.random.in_a_thousand(freezes) {
                // The process is frozen between the check and the write.
                self.freeze(gateway);
                self.at(self.gateways[gateway].stopped_until, Event::Write { call });
                return Ok(());
            }
        }
        self.calls[call].written = true;
        self.tell(|| format!("call {call} is written"));
        let arrives = self.now + 1 + self.random.below(self.plan.way);
        if self.random.in_a_thousand(self.plan.unanswered) {
            // It arrives very late or never.
            self.calls[call].arrives = self.random.in_a_thousand(700).then_some(u64::MAX / 4);
        } else {
            self.calls[call].arrives = Some(arrives);
            self.at(arrives, Event::Arrive { call });
            let back = 1 + self.random.below(self.plan.way);
            self.at(arrives + back, Event::Head { call });
        }
        Ok(())
    }

    pub(super) fn check_known_lock(&mut self, call: usize) -> Result<(), String> {
        let lease = self.plan.lease * 102 / 100 + 1;
        let in_lock = self.known.values().any(|(since, until)| since + lease < self.now && self.now < *until);
        // After a loss of the data one call goes alone.
        if in_lock && self.tally.lost_data == 0 {
            return Err(format!("call {call} is sent in a known lock"));
        }
        Ok(())
    }

    pub(super) fn arrive(&mut self, call: usize) -> Result<(), String> {
        if self.calls[call].arrived || self.calls[call].arrives != Some(self.now) {
            return Ok(());
        }
        self.calls[call].arrived = true;
        self.tell(|| format!("call {call} arrives"));
        if self.random.in_a_thousand(self.plan.locks) {
            let length = 1 + self.random.below(self.plan.lock);
            self.zoho.lock(self.now + length);
            self.tally.locks += 1;
        }
        self.calls[call].lock = self.zoho.arrives(self.now)?;
        self.long.as_mut().map_or(Ok(None), |long| long.arrives(self.now)).map(drop)
    }

    pub(super) fn head(&mut self, call: usize) {
        if self.calls[call].ended || !self.calls[call].arrived {
            return;
        }
        let gateway = self.calls[call].gateway;
        let now = self.clocks(gateway).monotonic;
        self.tell(|| format!("g{gateway} has the answer of call {call}"));
        self.note(call, &Step::Answered { sent_at: now, status: StatusCode::OK });
        if let Some(rest) = self.calls[call].lock {
            let hit = self.gateways[gateway].member.lock(ROUTE, Some(Duration::from_millis(rest)), now);
            if let (Some(lock), Some(arrived)) =
                (self.gateways[gateway].member.locks.get(ROUTE), self.calls[call].arrives)
            {
                self.lock_ends.insert(lock.name.clone(), arrived + rest);
            }
            self.end(call, &hit.map_or(Step::Judged { executed: false }, Step::Locked));
        } else {
            self.end(call, &Step::Judged { executed: true });
        }
    }

    pub(super) fn time_out(&mut self, call: usize) {
        if self.calls[call].ended {
            return;
        }
        let step = if self.calls[call].sent.is_some() { Step::Lost } else { Step::Unused };
        let closes = self.calls[call].written;
        self.end(call, &step);
        if closes {
            self.close(call);
        }
    }

    pub(super) fn end(&mut self, call: usize, step: &Step) {
        self.note(call, step);
        self.calls[call].ended = true;
    }

    pub(super) fn note(&mut self, call: usize, step: &Step) {
        let gateway = self.calls[call].gateway;
        let now = self.clocks(gateway).monotonic;
        self.gateways[gateway].member.note(&self.limits, self.calls[call].grant, step, now);
    }

    /// The connection of a call is closed now. Its bytes may still arrive within the grace.
    pub(super) fn close(&mut self, call: usize) {
        let its = &self.calls[call];
        if !its.written || its.arrived {
            return;
        }
        if let Some(arrives) = its.arrives {
            let last = self.now + self.plan.grace;
            let at = if arrives > last && self.random.in_a_thousand(300) {
                self.now + self.random.below(self.plan.grace)
            } else {
                arrives.min(last)
            };
            self.calls[call].arrives = Some(at);
            self.at(at, Event::Arrive { call });
        }
    }
}
