//! Tests the whole promise against delays, losses, locks, kill -9, reboots, a lost store and changed thresholds.
//!
//! Each run has one seed: random circumstances ([`plan`]), the real rule and recovery in processes that start and are
//! killed ([`gateway`], [`disk`]), a Zoho that counts by itself ([`zoho`]), and a checker of which calls may be sent
//! when ([`known`]). Nothing here reads a clock: the ledger gets the monotonic time from the simulation.
//!
//! `SEED=… cargo test --lib ledger::simulation` runs one seed and prints its history if it breaks the promise.

mod disk;
mod flaw;
mod gateway;
mod known;
mod plan;
pub(super) mod random;
mod world;
mod zoho;

use proptest::prelude::*;

use self::{
    flaw::Flaw,
    plan::{Plan, Rule},
    world::{Tally, World},
};

/// How many calls each seed makes: enough for a few dozen windows and some kills.
const CALLS: usize = 4000;

/// How many of the last events before a breach are printed.
const REPORTED: usize = 80;

/// Runs a plan. On a breach, the error contains its history.
fn run(plan: &Plan, flaw: Option<Flaw>) -> Result<Tally, String> {
    World::new(plan.clone(), flaw).run().map_err(|breach| {
        // The same run again, this time with its history.
        let mut world = World::new(plan.clone(), flaw).recording();
        let again = world.run();
        assert!(again.is_err(), "the same seed gives the same run");
        let history = world.history();
        let last = history[history.len().saturating_sub(REPORTED)..].join("\n");
        format!("SEED={}: {breach}\n{plan:#?}\n{last}", plan.seed)
    })
}

#[test]
fn a_million_calls_without_a_breach() {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        run(&Plan::random(seed, CALLS), None).unwrap_or_else(|report| panic!("{report}"));
        return;
    }
    let mut all = Tally::default();
    for seed in 0.. {
        let tally = run(&Plan::random(seed, CALLS), None).unwrap_or_else(|report| panic!("{report}"));
        all.add(tally);
        if all.sent >= 1_000_000 {
            break;
        }
    }
    println!("{all:#?}");
    for (what, count) in [("losses of calls", all.lost), ("refunds", all.refunded), ("locks", all.locks)] {
        assert!(count > 1000, "only {count} {what}");
    }
    for (what, count) in [
        ("kills", all.kills),
        ("reboots", all.reboots),
        ("lost stores", all.losses),
        ("changes", all.changes),
        ("reloads", all.reloads),
    ] {
        assert!(count > 50, "only {count} {what}");
    }
}

/// The simulation finds each flaw within a few seeds.
#[test]
fn every_flaw_is_found() {
    for flaw in Flaw::ALL {
        let caught = (0..250).find_map(|seed| run(&Plan::random(seed, CALLS), Some(flaw)).err());
        let report = caught.unwrap_or_else(|| panic!("{flaw:?} was not found"));
        let what = report.lines().next().unwrap_or_default();
        assert_eq!(what.contains("arrived within"), !flaw.concerns_locks(), "{flaw:?}: {what}");
        println!("{flaw:?}: {what}");
    }
}

/// Over 60 windows, with answers that take up to 2 % of the window.
#[test]
fn nearly_the_whole_threshold_is_used() {
    for seed in 0..40 {
        let rule = Rule { requests: 1 + seed as u32, window: 1_000_000 };
        let most = 60 * u64::from(rule.requests);
        let plan = Plan::calm(seed, 2 * most as usize, rule, 500 * seed);
        let tally = run(&plan, None).unwrap_or_else(|report| panic!("{report}"));
        assert!(tally.early * 100 >= most * 98, "seed {seed}: {} of {most}", tally.early);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The same on a small scale: a breach shrinks to the fewest calls and the simplest circumstances that show it.
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
        let report = run(&plan, None).err();
        prop_assert!(report.is_none(), "{}", report.unwrap_or_default());
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.refunded += other.refunded;
        self.locks += other.locks;
        self.kills += other.kills;
        self.reboots += other.reboots;
        self.losses += other.losses;
        self.changes += other.changes;
        self.reloads += other.reloads;
    }
}
