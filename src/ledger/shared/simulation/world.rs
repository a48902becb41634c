//! Gateways, the server and Zoho as a sequence of events, arranged as badly as possible.

use std::collections::{BTreeMap, HashMap};

use http::StatusCode;
use tokio::time::Instant;

use super::{
    super::{
        limit::LimitSettings,
        member::Member,
        message::{Demand, Reply},
        timing::{Now, Timing},
    },
    Duration,
    flaw::Flaw,
    random::Random,
    scene::{
        Fault::{self, *},
        Plan,
    },
    server::{Data, Server},
    zoho::Zoho,
};
use crate::{
    ledger::{DAY, Step, Wish, window::Grant},
    os::clock,
    zoho::catalogue::{Pace, Threshold},
};

const ROUTE: &str = "route";
const LONG: &str = "daily";

#[derive(Debug, Clone)]
enum Event {
    Act { gateway: usize, incarnation: u32 },
    Execute { request: Sent },
    Answer { gateway: usize, incarnation: u32, text: String },
    NoAnswer { gateway: usize, incarnation: u32, number: u64 },
    Message { gateway: usize, incarnation: u32, text: String },
    Write { call: usize },
    Arrive { call: usize },
    Head { call: usize },
    TimeOut { call: usize },
    Kill { gateway: usize, incarnation: u32 },
    Start { gateway: usize },
    Fault,
}

#[derive(Debug, Clone)]
struct Sent {
    gateway: usize,
    incarnation: u32,
    text: String,
}

#[derive(Debug)]
struct Gateway {
    alive: bool,
    incarnation: u32,
    member: Member,
    number: u64,
    /// When it goes on after a freeze or a sleep.
    stopped_until: u64,
    slept: u64,
    rate: f64,
    cut_until: u64,
    next_act: u64,
    /// How many calls wait.
    waiting: u32,
}

#[derive(Debug)]
struct Call {
    gateway: usize,
    incarnation: u32,
    grant: Grant,
    sent: Option<u64>,
    written: bool,
    arrives: Option<u64>,
    arrived: bool,
    ended: bool,
    lock: Option<u64>,
}

/// What happened in a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) executed: u64,
    pub(super) locks: u64,
    pub(super) lost_data: u64,
    pub(super) kills: u64,
}

pub(super) struct World {
    plan: Plan,
    flaw: Option<Flaw>,
    random: Random,
    origin: Instant,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    server: Server,
    stalled_until: u64,
    snapshots: Vec<Data>,
    gateways: Vec<Gateway>,
    calls: Vec<Call>,
    zoho: Zoho,
    long: Option<Zoho>,
    /// By name, the locks that the record had: since when, and until when.
    known: HashMap<String, (u64, u64)>,
    pub(super) tally: Tally,
    history: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(plan: Plan, flaw: Option<Flaw>, server: Server) -> Self {
        let random = Random::new(plan.seed);
        // With clock rates apart, windows are told a little longer than they are.
        let window = if plan.has(Rates) { plan.window * 98 / 100 } else { plan.window };
        let mut world = Self {
            flaw,
            random,
            origin: clock::now() + Duration::from_secs(100),
            now: 0,
            events: BTreeMap::new(),
            sequence: 0,
            server,
            stalled_until: 0,
            snapshots: Vec::new(),
            gateways: Vec::new(),
            calls: Vec::new(),
            zoho: Zoho::new(plan.requests, window),
            long: plan.long.map(|requests| Zoho::new(requests, 24 * 3_600_000)),
            known: HashMap::new(),
            tally: Tally::default(),
            history: None,
            plan,
        };
        *world.server.data.borrow_mut() = Data::default();
        world.new_life(true);
        for gateway in 0..world.plan.gateways {
            let member = world.member(gateway, 0);
            let rate = if world.plan.has(Rates) { 0.996 + world.random.below(9) as f64 / 1000.0 } else { 1.0 };
            world.gateways.push(Gateway {
                alive: false,
                incarnation: 0,
                member,
                number: 0,
                stopped_until: 0,
                slept: 0,
                rate,
                cut_until: 0,
                next_act: 0,
                waiting: 0,
            });
            let at = world.random.below(world.plan.lease);
            world.at(at, Event::Start { gateway });
        }
        world.at(world.plan.gap, Event::Fault);
        world
    }

    pub(super) fn recording(mut self) -> Self {
        self.history = Some(Vec::new());
        self
    }

    pub(super) fn history(self) -> Vec<String> {
        self.history.unwrap_or_default()
    }

    pub(super) fn run(&mut self) -> Result<(), String> {
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            self.step(event)?;
            // A run in which hardly anything can be sent ends too.
            if self.tally.sent >= self.plan.calls || self.tally.executed >= 10 * self.plan.calls {
                break;
            }
        }
        Ok(())
    }

    fn member(&self, gateway: usize, incarnation: u32) -> Member {
        let ms = Duration::from_millis;
        let plan = &self.plan;
        let timing = Timing {
            lease: ms(plan.lease),
            longest: ms(plan.longest),
            frozen: ms(plan.frozen),
            grace: ms(plan.grace),
            beat: ms(plan.beat),
        };
        let fresh = self.tally.lost_data == 0;
        let mut member = Member::new(format!("g{gateway}i{incarnation}"), format!("g{gateway}"), timing, fresh);
        member.flaw = self.flaw;
        let threshold = |requests: u32, window| Threshold {
            requests: requests.try_into().expect("not zero"),
            window,
            lock: Duration::ZERO,
            pace: Pace::Burst,
        };
        let now = self.origin;
        let own = LimitSettings { threshold: threshold(plan.requests, ms(plan.window)), spare: 0, alone: true };
        member.add_limit(ROUTE, own, now);
        if let Some(requests) = plan.long {
            // A loss of the record shuts what nobody claims for a day; the run is shorter.
            member.add_limit(LONG, LimitSettings { threshold: threshold(requests, DAY), spare: 0, alone: false }, now);
        }
        member
    }

    fn limits(&self) -> Vec<String> {
        let long = self.plan.long.map(|_| LONG.to_owned());
        [ROUTE.to_owned()].into_iter().chain(long).collect()
    }

    fn at(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((at.max(self.now), self.sequence), event);
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(history) = &mut self.history {
            history.push(format!("{now:>8} {}", text()));
        }
    }

    fn clocks(&self, gateway: usize) -> Now {
        let gateway = &self.gateways[gateway];
        let boot = |ms: u64| Duration::from_nanos((ms as f64 * gateway.rate * 1e6) as u64);
        let monotonic = boot(self.now) - boot(gateway.slept);
        Now { monotonic: self.origin + monotonic, boot: boot(self.now) }
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        let owner = match &event {
            Event::Act { gateway, incarnation }
            | Event::Answer { gateway, incarnation, .. }
            | Event::NoAnswer { gateway, incarnation, .. }
            | Event::Message { gateway, incarnation, .. } => Some((*gateway, *incarnation)),
            Event::Write { call } | Event::Head { call } | Event::TimeOut { call } => {
                Some((self.calls[*call].gateway, self.calls[*call].incarnation))
            }
            _ => None,
        };
        if let Some((gateway, incarnation)) = owner {
            let owner = &self.gateways[gateway];
            if !owner.alive || owner.incarnation != incarnation {
                return Ok(());
            }
            if self.now < owner.stopped_until {
                self.at(owner.stopped_until, event);
                return Ok(());
            }
        }
        match event {
            Event::Act { gateway, .. } => self.act(gateway)?,
            Event::Execute { request } => self.execute(request),
            Event::Answer { gateway, text, .. } => {
                let reply: Reply = serde_json::from_str(&text).expect("a reply");
                let now = self.clocks(gateway);
                self.tell(|| format!("g{gateway} hears {text}"));
                // The record cannot be unusable here.
                let _ = self.gateways[gateway].member.receive(reply, now);
                self.act(gateway)?;
            }
            Event::NoAnswer { gateway, number, .. } => {
                if self.gateways[gateway].member.awaits(number) {
                    self.tell(|| format!("g{gateway} has no answer to {number}"));
                    self.gateways[gateway].member.fail();
                }
            }
            Event::Message { gateway, text, .. } => {
                let now = self.clocks(gateway).monotonic;
                self.gateways[gateway].member.hear(&serde_json::from_str(&text).expect("a message"), now);
                self.act(gateway)?;
            }
            Event::Write { call } => self.write(call)?,
            Event::Arrive { call } => self.arrive(call)?,
            Event::Head { call } => self.head(call),
            Event::TimeOut { call } => self.time_out(call),
            Event::Kill { gateway, incarnation } => {
                if self.gateways[gateway].alive && self.gateways[gateway].incarnation == incarnation {
                    self.crash(gateway);
                }
            }
            Event::Start { gateway } => self.start(gateway),
            Event::Fault => {
                self.fault();
                let gap = 1 + self.random.below(2 * self.plan.gap);
                self.at(self.now + gap, Event::Fault);
            }
        }
        Ok(())
    }

    // === Processes ===

    fn start(&mut self, gateway: usize) {
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

    fn crash(&mut self, gateway: usize) {
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

    /// The connection of a call is closed now. Its bytes may still arrive within the grace.
    fn close(&mut self, call: usize) {
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

    fn leave(&mut self, gateway: usize) {
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

    // === What a gateway does ===

    fn demand(&mut self, gateway: usize) -> BTreeMap<String, Demand> {
        let waiting = self.gateways[gateway].waiting;
        let wish = Wish { weight: 1, waiting, urgency: 3, waited: self.random.below(1000), using: 0 };
        let demand = Demand { limits: self.limits(), callers: BTreeMap::from([("caller".to_owned(), wish)]) };
        BTreeMap::from([(ROUTE.to_owned(), demand)])
    }

    fn act(&mut self, gateway: usize) -> Result<(), String> {
        let now = self.clocks(gateway);
        if self.now >= self.gateways[gateway].next_act && self.gateways[gateway].waiting < 4 {
            self.gateways[gateway].waiting += self.random.below(4) as u32;
        }
        let demand = self.demand(gateway);
        let due = self.gateways[gateway].member.due(&demand, now.monotonic);
        if due.is_some_and(|due| due <= now.monotonic) {
            self.send(gateway);
        }
        let limits = self.limits();
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
            let most = if self.plan.scene.tight { self.plan.beat / 3 } else { self.plan.beat };
            let pause = 1 + self.random.below(most);
            self.gateways[gateway].next_act = self.now + pause;
            self.at(self.now + pause, Event::Act { gateway, incarnation });
        }
        Ok(())
    }

    fn send(&mut self, gateway: usize) {
        let (now, demand) = (self.clocks(gateway), self.demand(gateway));
        let candidate = self.random.below(1 << 30).to_string();
        let request = self.gateways[gateway].member.request(demand, candidate, now);
        let text = serde_json::to_string(&request).expect("it is JSON");
        let incarnation = self.gateways[gateway].incarnation;
        self.gateways[gateway].number = request.number;
        self.tell(|| format!("g{gateway} asks {text}"));
        let give_up = self.now + 1 + self.plan.lease / 2;
        self.at(give_up, Event::NoAnswer { gateway, incarnation, number: request.number });
        if self.now < self.gateways[gateway].cut_until || (self.plan.has(Lost) && self.random.in_a_thousand(30)) {
            return;
        }
        let sent = Sent { gateway, incarnation, text };
        let at = self.trip();
        self.at(at, Event::Execute { request: sent.clone() });
        if self.plan.has(Repeated) && self.random.in_a_thousand(30) {
            let again = self.trip();
            self.at(again, Event::Execute { request: sent });
        }
    }

    fn trip(&mut self) -> u64 {
        let late = self.plan.has(Late) && self.random.in_a_thousand(50);
        let gone_after = self.plan.lease + self.plan.longest + self.plan.frozen + self.plan.grace;
        let most = if late { 2 * gone_after } else { self.plan.trip };
        self.now + self.random.below(most + 1)
    }

    fn execute(&mut self, request: Sent) {
        if self.now < self.stalled_until {
            self.at(self.stalled_until, Event::Execute { request });
            return;
        }
        self.tally.executed += 1;
        self.server.data.borrow_mut().time = 1_000_000 + self.now;
        let text = self.server.run(&request.text);
        if self.plan.locks > 0 {
            self.note_locks(&text);
        }
        let messages = std::mem::take(&mut self.server.data.borrow_mut().published);
        for text in messages {
            for gateway in 0..self.gateways.len() {
                if self.now >= self.gateways[gateway].cut_until && !self.random.in_a_thousand(100) {
                    let incarnation = self.gateways[gateway].incarnation;
                    let at = self.trip();
                    self.at(at, Event::Message { gateway, incarnation, text: text.clone() });
                }
            }
        }
        let Sent { gateway, incarnation, .. } = request;
        let lost = self.plan.has(Lost) && self.random.in_a_thousand(30);
        if self.now >= self.gateways[gateway].cut_until && !lost {
            let at = self.trip();
            self.at(at, Event::Answer { gateway, incarnation, text });
        }
    }

    /// Notes which locks the record has.
    fn note_locks(&mut self, text: &str) {
        let reply: Reply = serde_json::from_str(text).expect("a reply");
        for lock in reply.locks.into_values() {
            self.known.entry(lock.name).or_insert((self.now, self.now + lock.rest));
        }
    }

    // === Calls ===

    fn call(&mut self, gateway: usize, grant: Grant) {
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
        let waits = if self.random.in_a_thousand(700) { 0 } else { self.random.below(self.plan.longest) };
        self.at(self.now + waits, Event::Write { call });
    }

    /// The connection is ready: the first byte may leave, unless the call is held back.
    fn write(&mut self, call: usize) -> Result<(), String> {
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
            let longest = (self.plan.longest as f64 / self.gateways[gateway].rate) as u64;
            self.at(self.now + longest, Event::TimeOut { call });
            if self.plan.has(Freeze) && self.random.in_a_thousand(20) {
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

    fn check_known_lock(&mut self, call: usize) -> Result<(), String> {
        let lease = self.plan.lease * 102 / 100 + 1;
        let in_lock = self.known.values().any(|(since, until)| since + lease < self.now && self.now < *until);
        // After a loss of the data one call goes alone.
        if in_lock && self.tally.lost_data == 0 {
            return Err(format!("call {call} is sent in a known lock"));
        }
        Ok(())
    }

    fn arrive(&mut self, call: usize) -> Result<(), String> {
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

    fn head(&mut self, call: usize) {
        if self.calls[call].ended || !self.calls[call].arrived {
            return;
        }
        let gateway = self.calls[call].gateway;
        let now = self.clocks(gateway).monotonic;
        self.tell(|| format!("g{gateway} has the answer of call {call}"));
        self.note(call, &Step::Answered { sent_at: now, status: StatusCode::OK });
        if let Some(rest) = self.calls[call].lock {
            let hit = self.gateways[gateway].member.lock(ROUTE, Some(Duration::from_millis(rest)), now);
            self.end(call, &hit.map_or(Step::Judged { executed: false }, Step::Locked));
        } else {
            self.end(call, &Step::Judged { executed: true });
        }
    }

    fn time_out(&mut self, call: usize) {
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

    fn end(&mut self, call: usize, step: &Step) {
        self.note(call, step);
        self.calls[call].ended = true;
    }

    fn note(&mut self, call: usize, step: &Step) {
        let (gateway, limits) = (self.calls[call].gateway, self.limits());
        let now = self.clocks(gateway).monotonic;
        self.gateways[gateway].member.note(&limits, self.calls[call].grant, step, now);
    }

    // === Faults ===

    fn gone_after(&self) -> u64 {
        self.plan.lease + self.plan.longest + self.plan.frozen + self.plan.grace
    }

    fn freeze(&mut self, gateway: usize) {
        let most = if self.random.in_a_thousand(500) { 3 * self.plan.frozen } else { 2 * self.gone_after() };
        let length = 1 + self.random.below(most);
        self.tell(|| format!("g{gateway} is frozen for {length}"));
        self.gateways[gateway].stopped_until = self.now + length;
        if length > self.plan.frozen && self.flaw != Some(Flaw::NoFreezeGuard) {
            let incarnation = self.gateways[gateway].incarnation;
            self.at(self.now + self.plan.frozen, Event::Kill { gateway, incarnation });
        }
    }

    /// Another run of the server.
    fn new_life(&mut self, restarts: bool) {
        let (run_id, replid) = (self.random.below(1 << 40), self.random.below(1 << 40));
        let mut data = self.server.data.borrow_mut();
        data.replid = replid;
        if restarts {
            data.run_id = run_id;
            data.commands = 0;
        }
    }

    fn fault(&mut self) {
        let record = self.server.data.borrow().clone();
        if self.random.in_a_thousand(500) {
            self.snapshots.push(record);
            if self.snapshots.len() > 3 {
                self.snapshots.remove(0);
            }
        }
        let faults: Vec<Fault> = self.plan.scene.faults.to_vec();
        if faults.is_empty() {
            return;
        }
        let fault = faults[self.random.below(faults.len() as u64) as usize];
        let gateway = self.random.below(self.gateways.len() as u64) as usize;
        let running = self.gateways[gateway].alive && self.now >= self.gateways[gateway].stopped_until;
        let long = self.random.below(2 * self.gone_after());
        let short = self.random.below(2 * self.plan.lease);
        let length = if self.random.in_a_thousand(500) { long } else { short };
        match fault {
            Late | Repeated | Lost | Rates | Locks => {}
            Stall => self.stalled_until = self.now + length,
            Cut => self.gateways[gateway].cut_until = self.now + length,
            Crash if self.gateways[gateway].alive => self.crash(gateway),
            Leave if running => self.leave(gateway),
            Freeze if running => self.freeze(gateway),
            Sleep if running => {
                // A call in flight may sleep for as long as `frozen`.
                let busy = self.calls.iter().any(|call| call.gateway == gateway && !call.ended && call.sent.is_some());
                let length = if busy { length % self.plan.frozen } else { length };
                self.gateways[gateway].stopped_until = self.now + length;
                self.gateways[gateway].slept += length;
            }
            Crash | Leave | Freeze | Sleep => {}
            Emptied | Deleted | Cold => {
                self.lose(None, fault != Deleted);
                if fault == Cold {
                    (0..self.gateways.len())
                        .filter(|gateway| self.gateways[*gateway].alive)
                        .collect::<Vec<_>>()
                        .into_iter()
                        .for_each(|gateway| self.crash(gateway));
                }
            }
            RolledBack | FailedOver if !self.snapshots.is_empty() => {
                let index = self.random.below(self.snapshots.len() as u64) as usize;
                let record = self.snapshots[index].record.clone();
                let run_id = self.server.data.borrow().run_id;
                self.lose(record, true);
                if fault == FailedOver {
                    self.server.data.borrow_mut().run_id = run_id;
                }
            }
            RolledBack | FailedOver => {}
        }
    }

    fn lose(&mut self, record: Option<String>, restarts: bool) {
        self.tell(|| format!("the server has {record:?} now"));
        self.tally.lost_data += 1;
        self.known.clear();
        if restarts {
            self.new_life(true);
        }
        self.server.data.borrow_mut().record = record;
        // It would be wrong to call this a first start.
        self.gateways.iter_mut().for_each(|gateway| gateway.member.fresh = false);
    }
}
