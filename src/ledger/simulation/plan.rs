//! The circumstances of one run.

use super::random::Random;

pub(super) const MILLISECOND: u64 = 1000;
const SECOND: u64 = 1000 * MILLISECOND;

/// At most `requests` calls in any half-open span of `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) requests: u32,
    pub(super) window: u64,
}

/// Times are in microseconds, probabilities in thousandths.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// How many calls are made.
    pub(super) calls: usize,
    pub(super) route: Rule,
    pub(super) day: Option<Rule>,
    pub(super) smooth: bool,
    /// The longest times to Zoho and back.
    pub(super) out: u64,
    pub(super) back: u64,
    /// The longest commit, and the longest time between an attempt and its first byte.
    pub(super) disk: u64,
    pub(super) connecting: u64,
    /// A call is given up in flight, and its bytes may still arrive.
    pub(super) lost: u64,
    /// An attempt is dropped unused.
    pub(super) cancelled: u64,
    /// An answer breaks off after its head.
    pub(super) unread: u64,
    /// There are no calls to send for a while.
    pub(super) idle: u64,
    /// Another client's calls cause a lock.
    pub(super) external: u64,
    /// The length of a lock in the threshold; with 0, only answers contain it.
    pub(super) lock: u64,
    /// Whether a call during a lock starts the lock again.
    pub(super) prolongs: bool,
    /// The longest life of a process; with 0 it is never killed.
    pub(super) life: u64,
}

impl Plan {
    pub(super) fn random(seed: u64, calls: usize) -> Self {
        let random = &mut Random::new(seed);
        let window = match random.below(3) {
            0 => 1 + random.below(50 * MILLISECOND),
            1 => 1 + random.below(SECOND),
            _ => 1 + random.below(20 * SECOND),
        };
        let route = Rule { requests: 1 + random.below(if seed.is_multiple_of(4) { 60 } else { 12 }) as u32, window };
        let day = (random.below(3) == 0).then(|| match random.below(8) {
            // More calls than `Occupancy` has moments, so that they are rounded.
            0 => Rule { requests: 1100, window: window * (20 + random.below(100)) },
            _ => Rule { requests: 1 + random.below(60) as u32, window: window * (1 + random.below(30)) },
        });
        let rarely = |random: &mut Random, chance| if random.below(3) == 0 { 0 } else { random.below(chance) };
        Self {
            seed,
            calls,
            route,
            day,
            smooth: random.below(8) == 0,
            out: random.below(2 * window) / (1 + random.below(50)),
            back: random.below(2 * window) / (1 + random.below(50)),
            disk: random.below(20 * MILLISECOND),
            connecting: random.below(window),
            lost: rarely(random, 50),
            cancelled: rarely(random, 30),
            unread: rarely(random, 20),
            idle: rarely(random, 30),
            external: if random.below(8) == 0 { 100 } else { rarely(random, 6) },
            lock: if random.below(4) == 0 { 0 } else { window + random.below(5 * window) },
            prolongs: random.below(2) == 0,
            life: window * random.below(100),
        }
    }

    /// Nothing goes wrong, and an answer takes at most `round_trip`.
    pub(super) fn calm(seed: u64, calls: usize, route: Rule, round_trip: u64) -> Self {
        Self {
            seed,
            calls,
            route,
            day: None,
            smooth: false,
            out: round_trip / 2,
            back: round_trip / 2,
            disk: 0,
            connecting: 0,
            lost: 0,
            cancelled: 0,
            unread: 0,
            idle: 0,
            external: 0,
            lock: 5 * route.window,
            prolongs: false,
            life: 0,
        }
    }
}
