//! Gateways, the server and Zoho as a sequence of events, arranged as badly as possible.

mod calls;
mod faults;
mod gateways;
mod nodes;

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::Duration,
};

use tokio::time::Instant;

use self::nodes::{Node, Unconfirmed};
use super::{
    super::{
        member::{Member, Unusable},
        message::{Message, Reply, Request},
        timing::Now,
    },
    flaw::Flaw,
    random::Random,
    scene::{Fault::*, Plan},
    server::Server,
    zoho::Zoho,
};
use crate::{ledger::window::Grant, os::clock};

const ROUTE: &str = "route";
const LONG: &str = "daily";

#[derive(Debug, Clone)]
enum Event {
    Act { gateway: usize, incarnation: u32 },
    Execute { request: Sent },
    Answer { gateway: usize, incarnation: u32, reply: Box<Reply>, confirmed: bool },
    Unconfirmed { key: u64 },
    Replicate { replica: usize },
    NoAnswer { gateway: usize, incarnation: u32, number: u64 },
    Message { gateway: usize, incarnation: u32, message: Message },
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
    node: usize,
    request: Rc<Request>,
}

#[derive(Debug)]
struct Gateway {
    alive: bool,
    incarnation: u32,
    member: Member,
    /// The node that it speaks with.
    node: usize,
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

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        // A run in which nothing could be sent counts too, so that there is an end.
        self.sent += other.sent.max(1);
        self.executed += other.executed;
        self.locks += other.locks;
        self.lost_data += other.lost_data;
        self.kills += other.kills;
    }
}

pub(super) struct World {
    plan: Plan,
    flaw: Option<Flaw>,
    random: Random,
    origin: Instant,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    server: Rc<Server>,
    nodes: Vec<Node>,
    promotions: u64,
    unconfirmed: BTreeMap<u64, Unconfirmed>,
    /// The limits of each call.
    limits: Vec<String>,
    gateways: Vec<Gateway>,
    calls: Vec<Call>,
    zoho: Zoho,
    long: Option<Zoho>,
    /// By name, when the locks end that a gateway has met.
    lock_ends: HashMap<String, u64>,
    /// Of those, the ones that the record had: since when, and until when.
    known: HashMap<String, (u64, u64)>,
    pub(super) tally: Tally,
    history: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(plan: Plan, flaw: Option<Flaw>, server: Rc<Server>) -> Self {
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
            nodes: (0..plan.nodes).map(|_| Node::default()).collect(),
            promotions: 0,
            unconfirmed: BTreeMap::new(),
            limits: [ROUTE].into_iter().chain(plan.long.map(|_| LONG)).map(str::to_owned).collect(),
            gateways: Vec::new(),
            calls: Vec::new(),
            zoho: Zoho::new(plan.requests, window),
            long: plan.long.map(|requests| Zoho::new(requests, 24 * 3_600_000)),
            lock_ends: HashMap::new(),
            known: HashMap::new(),
            tally: Tally::default(),
            history: None,
            plan,
        };
        for node in 0..world.nodes.len() {
            world.new_life(node, true, true);
            if node > 0 {
                world.nodes[node].master = Some(0);
                world.at(1, Event::Replicate { replica: node });
            }
        }
        for gateway in 0..world.plan.gateways {
            let member = world.member(gateway, 0);
            let rate = if world.plan.has(Rates) { 0.996 + world.random.below(9) as f64 / 1000.0 } else { 1.0 };
            world.gateways.push(Gateway {
                alive: false,
                incarnation: 0,
                member,
                node: 0,
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
        let lease = if self.flaw == Some(Flaw::LeaseSleeps) { monotonic } else { boot(self.now) };
        Now { monotonic: self.origin + monotonic, boot: lease }
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
            Event::Answer { gateway, reply, confirmed, .. } => self.hear(gateway, *reply, confirmed)?,
            Event::Unconfirmed { key } => self.give_up_confirmation(key),
            Event::Replicate { replica } => {
                self.replicate(replica);
                let pause = 1 + self.random.below(self.plan.lag);
                self.at(self.now + pause, Event::Replicate { replica });
            }
            Event::NoAnswer { gateway, number, .. } => {
                if self.gateways[gateway].member.awaits(number) {
                    self.tell(|| format!("g{gateway} has no answer to {number}"));
                    self.gateways[gateway].member.fail();
                }
            }
            Event::Message { gateway, message, .. } => {
                let now = self.clocks(gateway).monotonic;
                self.gateways[gateway].member.hear(&message, now);
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

    /// A gateway gets an answer.
    fn hear(&mut self, gateway: usize, reply: Reply, confirmed: bool) -> Result<(), String> {
        self.tell(|| format!("g{gateway} hears {reply:?}, confirmed: {confirmed}"));
        let now = self.clocks(gateway);
        let node = self.gateways[gateway].node;
        if self.gateways[gateway].member.receive(reply, confirmed, now) == Err(Unusable::Replica) {
            self.gateways[gateway].node = self.newest_master(node).unwrap_or(node);
        }
        if self.plan.scene.long_part.is_some() && self.random.in_a_thousand(100) {
            // Now its lease is longest.
            self.gateways[gateway].cut_until = self.now + 2 * self.gone_after();
        }
        self.act(gateway)
    }
}
