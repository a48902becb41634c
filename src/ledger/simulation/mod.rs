//! The whole of the promise, against everything that may go wrong: delays, losses, locks, kill -9, reboots, a lost
//! store, changed thresholds.
//!
//! Each run is one seed: random circumstances ([`plan`]), the real rule and memory in processes that live and die
//! ([`gateway`], [`disk`]), a Zoho that counts by itself ([`zoho`]), and a judge of who may send when ([`known`]). Nothing
//! of it reads a clock: the ledger is told the time, and it is told the monotonic one.
//!
//! `SEED=… cargo test --lib ledger::simulation` runs one seed and, if it breaks the promise, tells its history.

mod disk;
mod flaw;
mod gateway;
mod known;
mod plan;
mod random;
mod world;
mod zoho;

use proptest::prelude::*;

use self::{
    flaw::Flaw,
    plan::{Plan, Rule},
    world::{Tally, World},
};

/// How many calls each seed makes: enough for a few dozen windows and some deaths.
const CALLS: usize = 4000;

/// How much of what happened before a breach is told.
const TOLD: usize = 80;

/// Runs it; tells the history of a breach.
fn held(plan: &Plan, flaw: Option<Flaw>) -> Result<Tally, String> {
    World::new(plan.clone(), flaw).run().map_err(|breach| {
        // The same again, this time with a record.
        let mut world = World::new(plan.clone(), flaw).telling();
        let again = world.run();
        assert!(again.is_err(), "a seed is a seed");
        let history = world.history();
        let last = history[history.len().saturating_sub(TOLD)..].join("\n");
        format!("SEED={}: {breach}\n{plan:#?}\n{last}", plan.seed)
    })
}

#[test]
fn a_million_calls_without_a_breach() {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        held(&Plan::random(seed, CALLS), None).unwrap_or_else(|told| panic!("{told}"));
        return;
    }
    let mut all = Tally::default();
    for seed in 0.. {
        let tally = held(&Plan::random(seed, CALLS), None).unwrap_or_else(|told| panic!("{told}"));
        all.add(tally);
        if all.sent >= 1_000_000 {
            break;
        }
    }
    println!("{all:#?}");
    for (what, count) in [("losses of calls", all.lost), ("refunds", all.refunded), ("locks", all.locks)] {
        assert!(count > 1000, "only {count} {what}");
    }
    for (what, count) in
        [("deaths", all.deaths), ("reboots", all.reboots), ("lost stores", all.losses), ("changes", all.changes)]
    {
        assert!(count > 50, "only {count} {what}");
    }
}

/// The judge can see: each mistake is found within the seeds of a run.
#[test]
fn every_mistake_is_caught() {
    for flaw in Flaw::ALL {
        let caught = (0..250).find_map(|seed| held(&Plan::random(seed, CALLS), Some(flaw)).err());
        let told = caught.unwrap_or_else(|| panic!("{flaw:?} went unseen"));
        let what = told.lines().next().unwrap_or_default();
        assert_eq!(what.contains("arrived within"), !flaw.is_about_locks(), "{flaw:?}: {what}");
        println!("{flaw:?}: {what}");
    }
}

/// Over 60 windows, with answers that take up to 2 % of the window.
#[test]
fn nearly_all_of_the_allowance_is_used() {
    for seed in 0..40 {
        let rule = Rule { requests: 1 + seed as u32, window: 1_000_000 };
        let most = 60 * u64::from(rule.requests);
        let plan = Plan::calm(seed, 2 * most as usize, rule, 500 * seed);
        let tally = held(&plan, None).unwrap_or_else(|told| panic!("{told}"));
        assert!(tally.early * 100 >= most * 98, "seed {seed}: {} of {most}", tally.early);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The same in the small: a breach shrinks to the fewest calls and the plainest circumstances that show it.
    #[test]
    fn a_breach_would_shrink(
        seed in any::<u32>(), calls in 1..300usize, requests in 1..10u32, window in 1..10_000_000u64,
        ways in (0..3_000_000u64, 0..3_000_000u64), holds in (0..20_000u64, 0..1_000_000u64),
        chances in (0..60u64, 0..60u64, 0..60u64), locks in (0..60u64, 0..60_000_000u64, any::<bool>()),
        life in 0..100_000_000u64, smooth in any::<bool>(),
    ) {
        let plan = Plan {
            out: ways.0, back: ways.1, disk: holds.0, connecting: holds.1,
            lost: chances.0, cancelled: chances.1, unread: chances.2,
            external: locks.0, lock: locks.1, prolongs: locks.2,
            life, smooth,
            ..Plan::calm(seed.into(), calls, Rule { requests, window }, 0)
        };
        let told = held(&plan, None).err();
        prop_assert!(told.is_none(), "{}", told.unwrap_or_default());
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.refunded += other.refunded;
        self.locks += other.locks;
        self.deaths += other.deaths;
        self.reboots += other.reboots;
        self.losses += other.losses;
        self.changes += other.changes;
    }
}
