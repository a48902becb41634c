//! One run: its events in order.

use std::{collections::BTreeMap, fmt, time::Duration};

use http::StatusCode;
use tokio::time::Instant;

use super::{
    disk::{Disk, grace},
    flaw::Flaw,
    gateway::Gateway,
    known::{ForbiddenCall, Number},
    plan::{MILLISECOND, Plan, Rule},
    random::Random,
    zoho::{Lock, Meter, Response, TooMany},
};
use crate::{
    ledger::{Denied, Grant, Step},
    os::clock,
};

/// How long a change may stay unwritten if no attempt waits for it.
const LAZY: u64 = 100 * MILLISECOND;

/// How many unused attempts there may be at once.
const HELD: usize = 32;

/// After this number of kills a process is not killed any more, so that each run ends.
const MAX_KILLS: u64 = 30;

#[derive(Debug, Clone, Copy)]
enum Event {
    Start,
    Kill { process: u32 },
    Reload { process: u32 },
    TryAgain { process: u32 },
    Flush { process: u32 },
    Committed { process: u32 },
    Send(Number),
    Arrival(Number),
    Head(Number),
    Response(Number),
    GivenUp(Number),
}

#[derive(Debug)]
struct Call {
    process: u32,
    edition: usize,
    grant: Grant,
    sent: Option<u64>,
    /// When its bytes reach Zoho. An arrival event at another time was planned before its process was killed.
    arrives: u64,
    hit: Option<Response>,
    ended: bool,
}

/// Counts of a run.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) refunded: u64,
    pub(super) locks: u64,
    pub(super) kills: u64,
    pub(super) reboots: u64,
    pub(super) losses: u64,
    pub(super) changes: u64,
    pub(super) reloads: u64,
    /// Arrivals within the first 60 windows.
    pub(super) early: u64,
}

/// A broken promise.
#[derive(Debug)]
pub(super) enum Breach {
    TooMany(&'static str, TooMany),
    ForbiddenCall(ForbiddenCall),
    /// There are calls left, but no event that lets them be sent.
    Stuck,
}

#[derive(Debug)]
pub(super) struct World {
    plan: Plan,
    flaw: Option<Flaw>,
    random: Random,
    base: Instant,
    now: u64,
    /// By their moment; at the same moment, in the order in which they were planned.
    events: BTreeMap<u128, Event>,
    planned: u64,
    calls: Vec<Call>,
    held: usize,
    idle_until: u64,
    process: u32,
    gateway: Option<Gateway>,
    disk: Disk,
    route: Meter,
    day: Option<Meter>,
    lock: Lock,
    tally: Tally,
    history: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(plan: Plan, flaw: Option<Flaw>) -> Self {
        let mut world = Self {
            random: Random::new(!plan.seed),
            flaw,
            // The run also computes earlier moments, so the clock must not be at its beginning.
            base: clock::now() + Duration::from_secs(1 << 24),
            now: 0,
            events: BTreeMap::new(),
            planned: 0,
            calls: Vec::with_capacity(plan.calls),
            held: 0,
            idle_until: 0,
            process: 0,
            gateway: None,
            disk: Disk::default(),
            route: Meter::new(plan.route),
            day: plan.day.map(Meter::new),
            lock: Lock::default(),
            tally: Tally::default(),
            history: None,
            plan,
        };
        world.at(0, Event::Start);
        world
    }

    pub(super) fn recording(mut self) -> Self {
        self.history = Some(Vec::new());
        self
    }

    pub(super) fn history(&self) -> &[String] {
        self.history.as_deref().unwrap_or_default()
    }

    pub(super) fn run(&mut self) -> Result<Tally, Breach> {
        while let Some((at, event)) = self.events.pop_first() {
            self.now = (at >> 64) as u64;
            let happened = self.handle(event);
            self.record(|| format!("{event:?}"));
            happened?;
            self.take_slots()?;
        }
        if self.calls.len() < self.plan.calls {
            return Err(Breach::Stuck);
        }
        Ok(self.tally)
    }

    fn handle(&mut self, event: Event) -> Result<(), Breach> {
        match event {
            Event::Start => self.start(),
            Event::Kill { process } if process == self.process => self.kill(),
            Event::TryAgain { process } if process == self.process => {
                let now = self.now;
                let next_attempt_at = &mut self.gateway().next_attempt_at;
                *next_attempt_at = next_attempt_at.filter(|at| *at != now);
            }
            Event::Flush { process } if process == self.process => {
                self.gateway().flush_is_due = false;
                self.commit(true);
            }
            Event::Committed { process } if process == self.process => return self.committed(),
            Event::Reload { process } if process == self.process => self.reload(),
            Event::Kill { .. }
            | Event::Reload { .. }
            | Event::TryAgain { .. }
            | Event::Flush { .. }
            | Event::Committed { .. } => {}
            Event::Arrival(number) => return self.arrival(number),
            Event::Send(number) if self.is_alive(number) => return self.send(number),
            Event::Head(number) if self.is_alive(number) => self.head(number),
            Event::Response(number) if self.is_alive(number) => self.response(number),
            Event::GivenUp(number) if self.is_alive(number) => self.given_up(number),
            Event::Send(_) | Event::Head(_) | Event::Response(_) | Event::GivenUp(_) => {}
        }
        Ok(())
    }

    // === The process ===

    fn start(&mut self) {
        let now = self.instant();
        if self.process > 0 {
            self.changes_between_processes();
        }
        let rule = self.route.rule();
        let window = Duration::from_micros(rule.window);
        let memory = self.disk.read(now, self.flaw, window, &mut self.random);
        let known = self.disk.known.for_a_new_process();
        let (mut gateway, left) = Gateway::start(memory, rule, &self.plan, known, now);
        // Sometimes a process is killed before its first write.
        let mortal = self.tally.kills < MAX_KILLS && self.plan.life > 0;
        let quick = mortal && self.random.below(12) == 0;
        if !quick {
            self.disk.write(left, now);
        }
        gateway.next_attempt_at = Some(self.now + u64::from(quick));
        self.gateway = Some(gateway);
        self.held = 0;
        let process = self.process;
        self.at(self.now + u64::from(quick), Event::TryAgain { process });
        if mortal && self.calls.len() < self.plan.calls {
            let span = match self.random.below(4) {
                _ if quick => 0,
                0 => self.random.below(200 * MILLISECOND),
                _ => self.random.below(self.plan.life),
            };
            if self.random.below(4) == 0 {
                let reload = self.now + self.random.below(span + 1);
                self.at(reload, Event::Reload { process });
            }
            self.at(self.now + span, Event::Kill { process });
        }
    }

    fn changes_between_processes(&mut self) {
        let now = self.instant();
        match self.random.below(16) {
            0 | 1 => {
                self.change_rule();
            }
            2 | 3 => {
                self.disk.reboot(now);
                self.tally.reboots += 1;
            }
            4 => {
                let copy_too = self.random.below(4) == 0;
                self.disk.lose(copy_too);
                self.tally.losses += 1;
                self.record(|| "the store is lost".to_owned());
            }
            _ => {}
        }
    }

    fn change_rule(&mut self) -> Rule {
        let Rule { requests, window } = self.route.rule();
        let rule = Rule {
            requests: (u64::from(requests) / 2 + self.random.below(u64::from(requests) + 2)).max(1) as u32,
            window: window / 2 + 1 + self.random.below(window),
        };
        self.route.change(rule);
        self.tally.changes += 1;
        self.record(|| format!("from now on {rule:?}"));
        rule
    }

    fn reload(&mut self) {
        let (now, flaw, plan) = (self.instant(), self.flaw, self.plan.clone());
        let rule = self.change_rule();
        self.tally.reloads += 1;
        self.gateway().reload(rule, &plan, flaw, now);
    }

    fn kill(&mut self) {
        let now = self.instant();
        let Some(mut gateway) = self.gateway.take() else { return };
        // A commit in progress may reach the disk or not.
        if let Some((commit, _)) = gateway.end_commit()
            && self.random.below(2) == 0
        {
            self.disk.take(commit, now);
        }
        let last = self.now + grace();
        for number in (0..self.calls.len()).rev() {
            let call = &mut self.calls[number];
            if call.process != self.process {
                break;
            }
            if call.sent.is_some() && !call.ended {
                self.disk.known.probe_needed();
            }
            // Bytes that were handed to the network before may still arrive, within the grace.
            if call.sent.is_some() && call.arrives > last {
                call.arrives = last;
                self.at(last, Event::Arrival(number));
            }
        }
        self.process += 1;
        self.tally.kills += 1;
        let pause = match self.random.below(3) {
            0 => self.random.below(MILLISECOND),
            1 => self.random.below(grace()),
            _ => self.random.below(2 * self.route.rule().window),
        };
        self.at(self.now + pause, Event::Start);
    }

    fn commit(&mut self, urgent: bool) {
        let now = self.instant();
        if let Some(gateway) = &mut self.gateway
            && gateway.begin_commit(now, urgent)
        {
            let ends_at = self.now + self.random.below(self.plan.disk);
            self.at(ends_at, Event::Committed { process: self.process });
        }
    }

    fn committed(&mut self) -> Result<(), Breach> {
        let now = self.instant();
        let Some((commit, attempts)) = self.gateway().end_commit() else { return Ok(()) };
        self.disk.take(commit, now);
        if self.flaw == Some(Flaw::WritesAfterSending) {
            return Ok(());
        }
        attempts.into_iter().try_for_each(|number| self.granted(number))
    }

    fn granted(&mut self, number: Number) -> Result<(), Breach> {
        if self.random.below(4) > 0 {
            return self.send(number);
        }
        let sent = self.now + self.random.below(self.plan.connecting);
        self.at(sent, Event::Send(number));
        Ok(())
    }

    /// After each event: takes the slots that are free now, and writes what has changed.
    fn take_slots(&mut self) -> Result<(), Breach> {
        let (now, flaw, process) = (self.instant(), self.flaw, self.process);
        if self.gateway.is_none() || self.gateway().next_attempt_at.is_some_and(|at| at <= self.now) {
            return Ok(());
        }
        while self.held < HELD && self.calls.len() < self.plan.calls {
            if self.idle_until > self.now {
                self.try_again_at(self.idle_until);
                break;
            }
            self.gateway().forget_to_probe(now, flaw);
            match self.gateway().take(now) {
                Ok(grant) => {
                    let number = self.calls.len();
                    let edition = self.route.edition();
                    self.calls.push(Call { process, edition, grant, sent: None, arrives: 0, hit: None, ended: false });
                    self.held += 1;
                    self.gateway().wait_for_commit(number);
                    if self.flaw == Some(Flaw::WritesAfterSending) {
                        self.granted(number)?;
                    }
                    if self.random.in_a_thousand(self.plan.idle) {
                        self.idle_until = self.now + self.random.below(2 * self.plan.route.window);
                    }
                }
                Err(Denied::Until(at)) => {
                    let at = (at - self.base).as_nanos().div_ceil(1000) as u64;
                    assert!(at > self.now, "waits for a moment in the past");
                    self.try_again_at(at);
                    break;
                }
                Err(Denied::Unanswered | Denied::ForCaller) => break,
            }
        }
        self.commit(false);
        if self.gateway().needs_flush() {
            self.gateway().flush_is_due = true;
            self.at(self.now + LAZY, Event::Flush { process });
        }
        Ok(())
    }

    fn try_again_at(&mut self, at: u64) {
        let process = self.process;
        let next_attempt_at = &mut self.gateway().next_attempt_at;
        if next_attempt_at.is_none_or(|other| at < other) {
            *next_attempt_at = Some(at);
            self.at(at, Event::TryAgain { process });
        }
    }

    // === A call ===

    fn send(&mut self, number: Number) -> Result<(), Breach> {
        let (now, instant, flaw) = (self.now, self.instant(), self.flaw);
        let grant = self.calls[number].grant;
        self.held -= 1;
        self.record(|| format!("call {number} goes"));
        let held_back = flaw != Some(Flaw::SendsIntoALock) && self.gateway().window.held_back(grant).is_some()
            || flaw != Some(Flaw::SendsSurplus) && self.gateway().window.has_surplus(instant);
        if held_back || self.random.in_a_thousand(self.plan.cancelled) {
            self.calls[number].ended = true;
            self.tally.refunded += 1;
            self.gateway().note(grant, &Step::Unused, instant);
            return Ok(());
        }
        let allowed = self.gateway().known.sent(number, now);
        if flaw.is_none_or(Flaw::concerns_locks) {
            allowed.map_err(Breach::ForbiddenCall)?;
        }
        self.tally.sent += 1;
        let arrives = now + self.random.below(self.plan.out + 1);
        let head = arrives + self.random.below(self.plan.back + 1);
        let edition = self.route.edition();
        let call = &mut self.calls[number];
        (call.edition, call.sent, call.arrives) = (edition, Some(now), arrives);
        if self.random.in_a_thousand(self.plan.lost) {
            let given_up = now + self.random.below(head - now + 1);
            if self.random.below(2) == 0 {
                // The hardest case: it arrives after it was given up, as late as possible.
                self.calls[number].arrives = given_up + grace() - self.random.below(3) * self.random.below(grace() / 2);
            }
            self.at(self.calls[number].arrives.min(given_up + grace()), Event::Arrival(number));
            self.at(given_up, Event::GivenUp(number));
        } else {
            self.at(arrives, Event::Arrival(number));
            self.at(head, Event::Head(number));
        }
        if flaw == Some(Flaw::CountsAtSend) {
            self.gateway().note(grant, &answered(instant), instant);
        }
        Ok(())
    }

    fn arrival(&mut self, number: Number) -> Result<(), Breach> {
        let now = self.now;
        let Call { arrives, edition, hit, .. } = self.calls[number];
        if arrives != now || hit.is_some() {
            return Ok(());
        }
        let longest = if self.plan.lock > 0 { self.plan.lock } else { self.plan.route.window };
        let length = |random: &mut Random| 1 + random.below(longest);
        let external = self.random.in_a_thousand(self.plan.external).then(|| {
            // Sometimes longer than the threshold says; then the answer contains the length.
            length(&mut self.random) * if self.random.below(4) == 0 { 3 } else { 1 }
        });
        let prolonged_by = if self.plan.prolongs { length(&mut self.random) } else { 0 };
        self.calls[number].hit = Some(self.lock.arrival(now, external, prolonged_by));
        self.tally.early += u64::from(now < 60 * self.plan.route.window);
        self.route.arrival(now, edition).map_err(|many| Breach::TooMany("route", many))?;
        self.day.as_mut().map_or(Ok(()), |day| day.arrival(now, 0)).map_err(|many| Breach::TooMany("day", many))
    }

    fn head(&mut self, number: Number) {
        let (now, grant) = (self.instant(), self.calls[number].grant);
        let sent = self.base + Duration::from_micros(self.calls[number].sent.unwrap_or_default());
        self.calls[number].ended = true;
        if self.flaw != Some(Flaw::CountsAtSend) {
            self.gateway().note(grant, &answered(sent), now);
        }
        if self.random.below(8) == 0 {
            let body = self.random.below(self.plan.back + 1);
            self.at(self.now + body, Event::Response(number));
        } else {
            self.response(number);
        }
    }

    fn response(&mut self, number: Number) {
        let (now, instant) = (self.now, self.instant());
        let Call { grant, hit, arrives, .. } = self.calls[number];
        if self.random.in_a_thousand(self.plan.unread) {
            self.gateway().known.ended_without_result(number);
            self.gateway().note(grant, &Step::Unread, instant);
            return;
        }
        match hit {
            Some(Response::Locked { until }) => {
                self.tally.locks += 1;
                let retry_after = (self.plan.lock < until - arrives).then(|| Duration::from_micros(until - arrives));
                let gateway = self.gateway();
                let ours = gateway.window.locked(instant, retry_after);
                assert!(ours.is_some_and(|ours| ours > instant));
                gateway.known.lock_reported(until);
                gateway.touch();
                self.commit(true);
                self.record(|| format!("a lock until {until} was reported at {now}"));
            }
            Some(Response::Executed) => {
                let gateway = self.gateway();
                gateway.known.executed(number);
                if grant.probe.is_some() {
                    gateway.window.apply(grant, &Step::Judged { executed: true }, instant);
                    gateway.touch();
                }
            }
            None => unreachable!("an answer comes after the arrival"),
        }
    }

    fn given_up(&mut self, number: Number) {
        let now = self.instant();
        let grant = self.calls[number].grant;
        self.calls[number].ended = true;
        self.tally.lost += 1;
        let flaw = self.flaw;
        let gateway = self.gateway();
        gateway.known.ended_without_result(number);
        match flaw {
            Some(Flaw::CountsAtSend) => gateway.note(grant, &Step::Unread, now),
            Some(Flaw::NoGrace) => {
                gateway.note(grant, &answered(now), now);
                gateway.note(grant, &Step::Unread, now);
            }
            _ => gateway.note(grant, &Step::Lost, now),
        }
    }

    // === Helpers ===

    /// Whether the process of this call is running.
    fn is_alive(&self, number: Number) -> bool {
        self.gateway.is_some() && self.calls[number].process == self.process
    }

    fn gateway(&mut self) -> &mut Gateway {
        self.gateway.as_mut().expect("there is a process")
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_micros(self.now)
    }

    fn at(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.events.insert(u128::from(at) << 64 | u128::from(self.planned), event);
    }

    fn record(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(history) = &mut self.history {
            history.push(format!("{now:>12} µs  {}", what()));
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(meter, TooMany { arrived, rule }) => {
                write!(f, "{arrived} calls of the {meter} arrived within {} µs; {} may", rule.window, rule.requests)
            }
            Self::Stuck => f.write_str("no call can be sent any more"),
            Self::ForbiddenCall(ForbiddenCall::InALock { until }) => {
                write!(f, "a call was sent in a lock that lasts until {until} µs")
            }
            Self::ForbiddenCall(ForbiddenCall::NotAlone { other }) => {
                write!(f, "a call was sent after a lock while the probe, call {other}, was in flight")
            }
        }
    }
}

/// The head of an answer to a call that was sent at `sent_at`.
fn answered(sent_at: Instant) -> Step {
    Step::Answered { sent_at, status: StatusCode::OK }
}
