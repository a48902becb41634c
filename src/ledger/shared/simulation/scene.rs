//! Which faults a run has, and its random circumstances.

use super::random::Random;

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Requests and answers come late.
    Late,
    /// Requests are executed twice.
    Repeated,
    /// Requests and answers are lost.
    Lost,
    /// The server is frozen for a while; what waited is executed then.
    Stall,
    /// A gateway cannot reach the server.
    Cut,
    /// kill -9.
    Crash,
    /// A clean stop.
    Leave,
    /// A process is frozen (SIGSTOP).
    Freeze,
    /// The machine is suspended.
    Sleep,
    /// The server restarts without data.
    Emptied,
    /// The server restarts with older data.
    RolledBack,
    /// A failover and back: older data under the same run id.
    FailedOver,
    /// The record is deleted while the server runs.
    Deleted,
    /// Everything restarts at once, without data.
    Cold,
    /// Zoho locks the route.
    Locks,
    /// Clock rates differ.
    Rates,
    /// The longest call differs between gateways.
    Timings,
    /// Calls come rarely, and only every second gateway is late.
    Rare,
    /// Three nodes are promoted, demoted and restarted; gateways speak with any of them.
    Roles,
}

use Fault::{
    Cold, Crash, Cut, Deleted, Emptied, FailedOver, Freeze, Late, Leave, Locks, Lost, Rare, Rates, Repeated, Roles,
    RolledBack, Sleep, Stall, Timings,
};

/// How many of a thousand requests and answers are usually late.
pub(super) const LATE: u64 = 50;

/// Faults that occur together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) faults: &'static [Fault],
    pub(super) size: Size,
    /// The part of the time after which a member is gone that is long. The others are short, so nothing makes up for a
    /// mistake in it.
    pub(super) long_part: Option<Part>,
    /// Faults follow each other quickly.
    pub(super) fast: bool,
}

/// A part of the time after which a member is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Lease,
    Longest,
    Frozen,
    Grace,
}

/// How many gateways and slots a scene has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Two gateways with one or two slots: each mistake is a breach.
    Tight,
    /// Up to eight gateways with a few slots or with many.
    Usual,
    /// Many slots, and always callers for them: most calls for the time.
    Busy,
}

pub(super) const SCENES: &[Scene] = &[
    busy("busy: network", &[Late, Repeated, Lost]),
    busy("busy: kill -9 and clean stops", &[Late, Repeated, Lost, Crash, Leave]),
    busy("busy: rolled back, failed over", &[Late, Repeated, Lost, RolledBack, FailedOver, Cut, Stall]),
    busy("busy: everything", EVERYTHING),
    busy("busy: everything, three nodes", EVERYTHING_WITH_THREE_NODES),
    scene("calm", &[]),
    scene("network", &[Late, Repeated, Lost]),
    scene("kill -9 and clean stops", &[Late, Repeated, Lost, Crash, Leave]),
    scene("frozen processes", &[Late, Repeated, Lost, Freeze]),
    scene("suspended machines", &[Late, Repeated, Lost, Sleep]),
    scene("frozen server, partitions, clock rates", &[Late, Repeated, Lost, Stall, Cut, Rates]),
    scene("emptied", &[Late, Repeated, Lost, Emptied, Crash, Cut]),
    scene("rolled back", &[Late, Repeated, Lost, RolledBack, Crash, Cut]),
    scene("failed over and back", &[Late, Repeated, Lost, FailedOver, Cut]),
    scene("deleted", &[Late, Repeated, Lost, Deleted, Cut, Stall]),
    scene("everything restarted", &[Late, Repeated, Lost, Cold]),
    scene("locks", &[Late, Repeated, Lost, Locks, Crash, Cut]),
    scene("locks, data lost", &[Late, Repeated, Lost, Locks, Emptied, RolledBack, Stall, Crash, Leave]),
    scene("timings differ", &[Late, Repeated, Lost, Timings, Crash, Cut, Freeze]),
    scene("three nodes", &[Late, Repeated, Lost, Roles, Cut, Crash]),
    tight("tight: partitions", &[Late, Repeated, Lost, Cut]),
    tight("tight: freezes", &[Late, Repeated, Lost, Cut, Freeze]),
    tight("tight: suspended machines", &[Late, Repeated, Lost, Cut, Sleep]),
    tight("tight: data lost", &[Late, Repeated, Lost, Stall, Cut, Deleted, Emptied]),
    tight("tight: rolled back", &[Late, Repeated, Lost, Cut, RolledBack]),
    tight("tight: failed over and back", &[Late, Repeated, Lost, Cut, FailedOver]),
    tight("tight: timings differ", &[Late, Repeated, Lost, Cut, Timings]),
    tight("tight: locks", &[Late, Repeated, Lost, Locks, Cut, Stall]),
    tight("tight: three nodes", &[Late, Repeated, Lost, Roles]),
    long("tight: long lease", Part::Lease, &[Late, Repeated, Lost, Cut]),
    long("tight: long lease, rare calls", Part::Lease, &[Late, Repeated, Lost, Cut, Rare]),
    long("tight: long calls", Part::Longest, &[Late, Repeated, Lost, Cut]),
    long("tight: long freezes", Part::Frozen, &[Late, Repeated, Lost, Cut, Freeze]),
    long("tight: long grace", Part::Grace, &[Late, Repeated, Lost, Cut]),
    Scene { fast: true, ..scene("fast: three nodes", &[Late, Repeated, Lost, Roles, Crash, Leave, Deleted]) },
    Scene { fast: true, ..tight("tight, fast: three nodes", &[Late, Repeated, Lost, Roles, Cut]) },
    scene("everything", EVERYTHING),
    scene("everything, three nodes", EVERYTHING_WITH_THREE_NODES),
];

const EVERYTHING: &[Fault] = &[
    Late, Repeated, Lost, Stall, Cut, Crash, Leave, Freeze, Sleep, Emptied, RolledBack, FailedOver, Deleted, Cold,
    Locks, Rates, Timings,
];

const EVERYTHING_WITH_THREE_NODES: &[Fault] = &[
    Late, Repeated, Lost, Stall, Cut, Crash, Leave, Freeze, Sleep, Emptied, RolledBack, FailedOver, Deleted, Locks,
    Rates, Roles,
];

const fn scene(name: &'static str, faults: &'static [Fault]) -> Scene {
    Scene { name, faults, size: Size::Usual, long_part: None, fast: false }
}

const fn tight(name: &'static str, faults: &'static [Fault]) -> Scene {
    Scene { size: Size::Tight, ..scene(name, faults) }
}

const fn busy(name: &'static str, faults: &'static [Fault]) -> Scene {
    Scene { size: Size::Busy, ..scene(name, faults) }
}

const fn long(name: &'static str, part: Part, faults: &'static [Fault]) -> Scene {
    Scene { long_part: Some(part), ..tight(name, faults) }
}

impl Scene {
    pub(super) fn is_tight(&self) -> bool {
        self.size == Size::Tight
    }

    /// How many of all calls a run makes in this scene, relative to others. A call costs the fewest requests in a busy
    /// scene, and the most in a tight one.
    pub(super) fn parts(&self) -> u64 {
        match self.size {
            Size::Tight => 1,
            Size::Usual => 10,
            Size::Busy => 150,
        }
    }
}

/// The circumstances of one run. Times are in milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) scene: Scene,
    pub(super) gateways: usize,
    pub(super) nodes: usize,
    pub(super) requests: u32,
    pub(super) window: u64,
    /// The second limit of each call: one that is so long that its slots are sealed.
    pub(super) long: Option<u32>,
    pub(super) lock: u64,
    pub(super) lease: u64,
    /// Of each gateway.
    pub(super) longest: Vec<u64>,
    pub(super) frozen: u64,
    pub(super) grace: u64,
    pub(super) beat: u64,
    /// The longest way of a call to Zoho.
    pub(super) way: u64,
    /// How many of a thousand requests and answers are late.
    pub(super) late: u64,
    /// The longest way of a request to the server.
    pub(super) trip: u64,
    /// The longest time after which a replica copies its master.
    pub(super) lag: u64,
    /// How many calls wait at a gateway at most.
    pub(super) waiting: u32,
    /// In how many of a thousand moments calls come to a gateway.
    pub(super) comes: u64,
    /// The mean time between faults.
    pub(super) gap: u64,
    /// How many of a thousand calls get no answer.
    pub(super) unanswered: u64,
    /// How many of a thousand calls meet a new lock.
    pub(super) locks: u64,
    pub(super) calls: u64,
}

impl Plan {
    pub(super) fn random(scene: Scene, seed: u64, calls: u64) -> Self {
        let mut random = Random::new(seed ^ 0x00ab_cdef);
        let mut range = |from: u64, to: u64| from + random.below(to - from + 1);
        let window = range(100, 2000);
        let most = if range(0, 3) == 0 { 8 } else { 4 };
        let gateways = if scene.is_tight() { 2 } else { range(2, most) };
        // A few slots show mistakes; many show what happens when there are some for all.
        let most = if range(0, 2) == 0 { 9 } else { 150 };
        let requests = match scene.size {
            Size::Tight => range(1, 2),
            Size::Usual => range(2, most),
            Size::Busy => range(60, 300),
        };
        let most = if range(0, 1) == 0 { window / 4 } else { 2 * window };
        let part = |part, usual: u64| match scene.long_part {
            None => usual,
            Some(long) if long == part => 2 * window + usual,
            Some(_) => 5 + usual / 10,
        };
        let longest = part(Part::Longest, range(20, if scene.is_tight() { window } else { most }));
        let other = range(20, if scene.is_tight() { 4 * window } else { 2 * window });
        let has = |fault| scene.faults.contains(&fault);
        let choose = |odd: bool| if has(Timings) && odd { other } else { longest };
        let longest: Vec<_> = (0..gateways).map(|gateway| choose(gateway % 2 == 1)).collect();
        let most = longest.iter().copied().max().unwrap_or_default();
        let lease = range(window / 4, 2 * window);
        // A shorter one would only cost requests.
        let lease = if scene.long_part.is_some() { part(Part::Lease, lease).max(lease / 2) } else { lease };
        let grace = part(Part::Grace, range(10, window));
        // Where nothing stops, this part would only hide mistakes in the others.
        let frozen =
            if scene.is_tight() && !has(Freeze) && !has(Sleep) { 1 } else { part(Part::Frozen, range(10, window)) };
        let loses_data = [Emptied, RolledBack, FailedOver, Deleted, Cold, Roles].into_iter().any(has);
        let gone_after = lease + most + frozen + grace;
        let beat = (lease / range(2, if scene.is_tight() { 8 } else { 4 })).max(5);
        Self {
            seed,
            scene,
            gateways: gateways as usize,
            nodes: if has(Roles) { 3 } else { 1 },
            requests: requests as u32,
            window,
            // After a loss, what nobody claims is shut for a day, and a run is shorter. In a busy scene it would be full
            // soon.
            long: (!loses_data && range(0, 3) == 0 && scene.size != Size::Busy).then(|| range(50, 300) as u32),
            lock: range(window / 2, 4 * window),
            lease,
            longest,
            frozen,
            grace,
            beat,
            way: range(1, most),
            late: if scene.long_part == Some(Part::Lease) { 400 } else { LATE },
            trip: range(0, lease / if scene.is_tight() { 40 } else { 8 } + 1),
            lag: range(1, lease / 4),
            waiting: 4 + (requests / gateways) as u32,
            // A member keeps slots until its lease ends only if no other one has asked for them.
            comes: if has(Rare) { 200 } else { 1000 },
            gap: match () {
                () if scene.fast => range(gone_after / 30, gone_after / 4),
                // A cut-off master is used for longer than others need to take its slots.
                () if scene.is_tight() && has(Roles) => range(gone_after / 2, gone_after * 3),
                () => range(gone_after / 6, gone_after * 2),
            },
            unanswered: if scene.is_tight() { 600 } else { range(0, 300) },
            locks: if has(Locks) { range(5, 60) } else { 0 },
            // Slots are used several times.
            calls: calls.max(if scene.size == Size::Busy { 8 } else { 4 } * requests),
        }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.scene.faults.contains(&fault)
    }
}
