//! Gateways as processes, and what they ask.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use super::{
    super::{
        super::{
            limit::LimitSettings,
            member::Member,
            message::{CallerDemand, Demand},
            timing::Timing,
        },
        flaw::Flaw,
        scene::Fault::*,
    },
    Event, Gateway, LONG, ROUTE, Sent, World,
};
use crate::{
    ledger::{DAY, Wish},
    zoho::catalogue::{Pace, Threshold},
};

impl World {
    pub(super) fn member(&self, gateway: usize, incarnation: u32) -> Member {
        let ms = Duration::from_millis;
        let plan = &self.plan;
        let unless = |flaw, part: u64| if self.flaw == Some(flaw) { 0 } else { part };
        let timing = Timing {
            lease: ms(plan.lease),
            longest: ms(unless(Flaw::NoLongest, plan.longest[gateway])),
            frozen: ms(unless(Flaw::NoFrozen, plan.frozen)),
            grace: ms(unless(Flaw::NoGrace, plan.grace)),
            beat: ms(plan.beat),
        };
        let fresh = self.tally.lost_data == 0;
        let name = |incarnation: u32| format!("g{gateway}i{incarnation}");
        let mut member = Member::new(name(incarnation), String::new(), timing, fresh);
        // Every second gateway finds the names of its dead processes in its folder.
        member.dead = if gateway.is_multiple_of(2) { (0..incarnation).map(name).collect() } else { Vec::new() };
        member.flaw = self.flaw;
        let threshold = |requests: u32, window| Threshold {
            requests: requests.try_into().expect("not zero"),
            window,
            lock: Duration::ZERO,
            pace: Pace::Burst,
        };
        let now = self.origin;
        let own = LimitSettings { threshold: threshold(plan.requests, ms(plan.window)), spare: 0, alone: true };
        member.set_limit(ROUTE, own, now);
        if let Some(requests) = plan.long {
            // A loss of the record shuts what nobody claims for a day; the run is shorter.
            member.set_limit(LONG, LimitSettings { threshold: threshold(requests, DAY), spare: 0, alone: false }, now);
        }
        member
    }

    pub(super) fn start(&mut self, gateway: usize) {
        if self.gateways[gateway].alive {
            return;
        }
        let incarnation = self.gateways[gateway].incarnation + 1;
        let member = self.member(gateway, incarnation);
        let started = &mut self.gateways[gateway];
        (started.alive, started.incarnation, started.member, started.stopped_until) = (true, incarnation, member, 0);
        self.tell(|| format!("g{gateway} starts"));
        self.at(self.now, Event::Act { gateway, incarnation });
    }

    pub(super) fn crash(&mut self, gateway: usize) {
        self.tally.kills += 1;
        self.tell(|| format!("g{gateway} is killed"));
        self.gateways[gateway].alive = false;
        let incarnation = self.gateways[gateway].incarnation;
        for call in 0..self.calls.len() {
            let its = &self.calls[call];
            if its.gateway == gateway && its.incarnation == incarnation && !its.ended {
                self.calls[call].ended = true;
                self.close(call);
            }
        }
        let pause = self.random.below(3 * self.plan.window);
        self.at(self.now + pause, Event::Start { gateway });
    }

    pub(super) fn leave(&mut self, gateway: usize) {
        let incarnation = self.gateways[gateway].incarnation;
        for call in 0..self.calls.len() {
            let its = &self.calls[call];
            if its.gateway == gateway && its.incarnation == incarnation && !its.ended {
                self.time_out(call);
            }
        }
        self.tell(|| format!("g{gateway} leaves"));
        self.gateways[gateway].member.leave();
        self.send(gateway);
        self.gateways[gateway].alive = false;
        let pause = self.random.below(2 * self.plan.window);
        self.at(self.now + pause, Event::Start { gateway });
    }

    pub(super) fn demand(&mut self, gateway: usize) -> BTreeMap<String, Demand> {
        let waiting = self.gateways[gateway].waiting;
        let wish = Wish { weight: 1, waiting, urgency: 3, waited: self.random.below(1000), using: 0 };
        let callers = BTreeMap::from([("caller".to_owned(), CallerDemand { wish, own: Vec::new() })]);
        let demand = Demand { limits: self.limits.clone(), callers };
        BTreeMap::from([(ROUTE.to_owned(), demand)])
    }

    pub(super) fn act(&mut self, gateway: usize) -> Result<(), String> {
        let now = self.clocks(gateway);
        let waiting = self.gateways[gateway].waiting;
        let comes = self.plan.comes == 1000 || self.random.in_a_thousand(self.plan.comes);
        if comes && self.now >= self.gateways[gateway].next_act && waiting < self.plan.waiting {
            self.gateways[gateway].waiting += self.random.below(u64::from(self.plan.waiting)) as u32;
        }
        let demand = self.demand(gateway);
        let due = self.gateways[gateway].member.due(&demand, now.monotonic);
        if due.is_some_and(|due| due <= now.monotonic) {
            self.send(gateway);
        }
        let limits = self.limits.clone();
        while self.gateways[gateway].waiting > 0 {
            let Ok(grant) = self.gateways[gateway].member.take(&limits, now) else { break };
            self.gateways[gateway].waiting -= 1;
            self.call(gateway, grant);
        }
        // A caller may leave.
        if self.random.in_a_thousand(20) {
            self.gateways[gateway].waiting = 0;
        }
        if self.now >= self.gateways[gateway].next_act {
            let incarnation = self.gateways[gateway].incarnation;
            let most = if self.plan.scene.is_tight() { self.plan.beat / 3 } else { self.plan.beat };
            let pause = 1 + self.random.below(most);
            self.gateways[gateway].next_act = self.now + pause;
            self.at(self.now + pause, Event::Act { gateway, incarnation });
        }
        Ok(())
    }

    pub(super) fn send(&mut self, gateway: usize) {
        let (now, demand) = (self.clocks(gateway), self.demand(gateway));
        let candidate = self.random.below(1 << 30).to_string();
        let mut request = self.gateways[gateway].member.request(demand, candidate, now);
        if self.flaw == Some(Flaw::SameId) {
            request.member = format!("g{gateway}i{}", self.gateways[gateway].incarnation);
        }
        let Gateway { incarnation, node, .. } = self.gateways[gateway];
        self.tell(|| format!("g{gateway} asks node {node}: {}", serde_json::to_string(&request).expect("it is JSON")));
        let give_up = self.now + 1 + self.plan.lease / 2;
        self.at(give_up, Event::NoAnswer { gateway, incarnation, number: request.number });
        if self.now < self.gateways[gateway].cut_until || (self.plan.has(Lost) && self.random.in_a_thousand(30)) {
            return;
        }
        let sent = Sent { gateway, incarnation, node, request: Rc::new(request) };
        let at = self.trip(gateway);
        self.at(at, Event::Execute { request: sent.clone() });
        if self.plan.has(Repeated) && self.random.in_a_thousand(30) {
            let again = self.trip(gateway);
            self.at(again, Event::Execute { request: sent });
        }
    }
}
