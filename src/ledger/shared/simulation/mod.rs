//! Tests the shared ledger against a network, a server and machines that do what the design says they may do.
//!
//! Each run has one seed: members run the real code, the server runs the real script, Zoho counts by itself. The rules
//! whose break a short run shows are broken once, in the script by another line, in the member by a [`Flaw`].
//!
//! `SCENE="…" SEED=… cargo test --lib shared::simulation` runs one seed and prints its history if it breaks the promise;
//! `CALLS=1000000` makes so many calls in each scene.

mod flaw;
mod scene;
mod server;
mod world;
mod zoho;

use std::time::Duration;

pub(super) use self::flaw::Flaw;
use self::{
    flaw::{MEMBER_FLAWS, SCRIPT_FLAWS},
    scene::{Plan, SCENES, Scene},
    server::Server,
    world::{Tally, World},
};
use crate::ledger::simulation::random;

const SCRIPT: &str = include_str!("../exchange.lua");

/// How many calls one seed makes, and each scene in a usual test run.
const CALLS: u64 = 200;

/// How many of the last events before a breach are printed.
const REPORTED: usize = 120;

fn run(scene: Scene, seed: u64, flaw: Option<Flaw>, script: &str) -> Result<Tally, String> {
    let plan = Plan::random(scene, seed, CALLS);
    let mut world = World::new(plan.clone(), flaw, Server::new(script));
    let Err(breach) = world.run() else { return Ok(world.tally) };
    if flaw.is_some() || script != SCRIPT {
        return Err(breach);
    }
    let mut again = World::new(plan.clone(), flaw, Server::new(script)).recording();
    assert!(again.run().is_err(), "the same seed gives the same run");
    let history = again.history();
    let last = history[history.len().saturating_sub(REPORTED)..].join("\n");
    Err(format!("SCENE={:?} SEED={seed}: {breach}\n{plan:?}\n{last}", scene.name))
}

#[test]
fn no_scene_breaks_the_promise() {
    let total: u64 = std::env::var("CALLS").ok().and_then(|calls| calls.parse().ok()).unwrap_or(CALLS);
    let only = std::env::var("SCENE").ok();
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    for scene in SCENES.iter().filter(|scene| only.as_deref().is_none_or(|only| scene.name == only)) {
        let mut sum = Tally::default();
        let mut seeds = 0;
        for seed in seed.map_or(0..u64::MAX, |seed| seed..seed + 1) {
            let tally = run(*scene, seed, None, SCRIPT).unwrap_or_else(|report| panic!("{report}"));
            sum.sent += tally.sent;
            sum.executed += tally.executed;
            sum.locks += tally.locks;
            sum.kills += tally.kills;
            sum.lost_data += tally.lost_data;
            seeds += 1;
            if sum.sent >= total {
                break;
            }
        }
        println!("{:40} {seeds} seeds {sum:?}", scene.name);
    }
}

/// How many calls are made to see that a broken rule breaks the promise.
const CALLS_PER_FLAW: u64 = 1500;

/// Whether some seed of these scenes breaks the promise.
fn is_noticed(scenes: &[&str], flaw: Option<Flaw>, script: &str) -> bool {
    scenes.iter().any(|name| {
        let scene = SCENES.iter().find(|scene| scene.name == *name).expect("a scene of this name");
        let mut sent = 0;
        for seed in 0.. {
            match run(*scene, seed, flaw, script) {
                Ok(_) if sent >= CALLS_PER_FLAW => break,
                Ok(tally) => sent += tally.sent.max(1),
                Err(breach) => {
                    println!("{flaw:?} {name:?} seed {seed} after {sent}: {breach}");
                    return true;
                }
            }
        }
        false
    })
}

#[test]
fn each_broken_rule_breaks_the_promise() {
    let mut unnoticed = Vec::new();
    for (flaw, scenes) in SCRIPT_FLAWS {
        assert_eq!(SCRIPT.matches(flaw.line).count(), 1, "{}", flaw.line);
        if !is_noticed(scenes, None, &SCRIPT.replace(flaw.line, flaw.broken)) {
            unnoticed.push(flaw.line.to_owned());
        }
    }
    for (flaw, scenes) in MEMBER_FLAWS {
        if !is_noticed(scenes, Some(*flaw), SCRIPT) {
            unnoticed.push(format!("{flaw:?}"));
        }
    }
    assert_eq!(unnoticed, [""; 0]);
}
