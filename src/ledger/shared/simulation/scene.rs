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
}

use Fault::{
    Cold, Crash, Cut, Deleted, Emptied, FailedOver, Freeze, Late, Leave, Locks, Lost, Rates, Repeated, RolledBack,
    Sleep, Stall,
};

/// Faults that occur together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) faults: &'static [Fault],
    /// Two gateways with one or two slots: each mistake is a breach.
    pub(super) tight: bool,
}

pub(super) const SCENES: &[Scene] = &[
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
    tight("tight: partitions", &[Late, Repeated, Lost, Cut]),
    tight("tight: freezes", &[Late, Repeated, Lost, Cut, Freeze]),
    tight("tight: data lost", &[Late, Repeated, Lost, Stall, Cut, Deleted, Emptied]),
    tight("tight: locks", &[Late, Repeated, Lost, Locks, Cut, Stall]),
    scene(
        "everything",
        &[
            Late, Repeated, Lost, Stall, Cut, Crash, Leave, Freeze, Sleep, Emptied, RolledBack, FailedOver, Deleted,
            Cold, Locks, Rates,
        ],
    ),
];

const fn scene(name: &'static str, faults: &'static [Fault]) -> Scene {
    Scene { name, faults, tight: false }
}

const fn tight(name: &'static str, faults: &'static [Fault]) -> Scene {
    Scene { name, faults, tight: true }
}

/// The circumstances of one run. Times are in milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) scene: Scene,
    pub(super) gateways: usize,
    pub(super) requests: u32,
    pub(super) window: u64,
    /// The second limit of each call: one that is so long that its slots are sealed.
    pub(super) long: Option<u32>,
    pub(super) lock: u64,
    pub(super) lease: u64,
    pub(super) longest: u64,
    pub(super) frozen: u64,
    pub(super) grace: u64,
    pub(super) beat: u64,
    /// The longest way of a call to Zoho.
    pub(super) way: u64,
    /// The longest way of a request to the server.
    pub(super) trip: u64,
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
        let longest = if scene.tight { range(20, window) } else { range(20, 2 * window) };
        let lease = range(window / 4, window);
        let grace = range(10, window / 2 + 10);
        let frozen = range(10, window / 2 + 10);
        let loses_data =
            scene.faults.iter().any(|fault| matches!(fault, Emptied | RolledBack | FailedOver | Deleted | Cold));
        let gone_after = lease + longest + frozen + grace;
        let beat = (lease / range(2, 4)).max(5);
        Self {
            seed,
            scene,
            gateways: if scene.tight { 2 } else { range(2, 5) as usize },
            requests: if scene.tight { range(1, 2) } else { range(2, 9) } as u32,
            window,
            // After a loss, what nobody claims is shut for a day, and a run is shorter.
            long: (!loses_data && range(0, 3) == 0).then(|| range(50, 300) as u32),
            lock: range(window / 2, 4 * window),
            lease,
            longest,
            frozen,
            grace,
            beat,
            way: range(1, longest),
            trip: range(0, lease / 8 + 1),
            gap: range(gone_after / 6, gone_after * 2),
            unanswered: if scene.tight { 600 } else { range(0, 300) },
            locks: if scene.faults.contains(&Locks) { range(5, 60) } else { 0 },
            calls,
        }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.scene.faults.contains(&fault)
    }
}
