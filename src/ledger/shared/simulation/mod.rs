//! Tests the shared ledger against a network, servers and machines that do what the design says they may do.
//!
//! Each run has one seed: members run the real code, the server runs the real script, Zoho counts by itself. Each rule
//! whose break a short run shows is broken once, in the script by another line, in the member by a [`Flaw`].
//!
//! `SCENE="…" SEED=… cargo test --lib shared::simulation` runs one seed and prints its history if it breaks the promise;
//! `CALLS=1000000` makes so many calls in all scenes together; `FLAW` chooses broken rules by a part of their names, and
//! `REQUESTS` says how many requests each may take.

mod flaw;
mod scene;
mod server;
mod world;
mod zoho;

use std::{
    num::NonZeroUsize,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use parking_lot::Mutex;

pub(super) use self::{
    flaw::Flaw,
    server::{Data, Server},
};
use self::{
    flaw::{MEMBER_FLAWS, SCRIPT_FLAWS},
    scene::{Plan, SCENES, Scene},
    world::{Tally, World},
};
use crate::ledger::simulation::random;

pub(super) const SCRIPT: &str = include_str!("../exchange.lua");

/// How many calls one seed makes.
const CALLS_PER_SEED: u64 = 200;

/// How many calls a usual test run makes in all scenes.
const CALLS: u64 = 10_000;

/// How many requests a test run makes in a scene to see that a broken rule breaks the promise.
const REQUESTS_PER_FLAW: u64 = 200_000;

/// How many of the last events before a breach are printed.
const REPORTED: usize = 120;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

fn run(server: &Rc<Server>, scene: Scene, seed: u64, flaw: Option<Flaw>) -> Result<Tally, String> {
    let mut world = World::new(Plan::random(scene, seed, CALLS_PER_SEED), flaw, Rc::clone(server));
    world.run().map(|()| world.tally)
}

/// The last events before a breach.
fn report(scene: Scene, seed: u64, breach: &str) -> String {
    let plan = Plan::random(scene, seed, CALLS_PER_SEED);
    let mut again = World::new(plan.clone(), None, Rc::new(Server::new(SCRIPT))).recording();
    assert!(again.run().is_err(), "the same seed gives the same run: {:?} {seed}: {breach}", scene.name);
    let history = again.history();
    let last = history[history.len().saturating_sub(REPORTED)..].join("\n");
    format!("SCENE={:?} SEED={seed}: {breach}\n{plan:?}\n{last}", scene.name)
}

/// Makes so many calls in a scene, or runs one seed.
fn run_scene(scene: Scene, calls: u64, only: Option<u64>) -> Tally {
    let server = Rc::new(Server::new(SCRIPT));
    let mut sum = Tally::default();
    for seed in only.map_or(0..u64::MAX, |seed| seed..seed + 1) {
        match run(&server, scene, seed, None) {
            Ok(tally) => sum.add(&tally),
            Err(breach) => panic!("{}", report(scene, seed, &breach)),
        }
        if sum.sent >= calls {
            break;
        }
    }
    sum
}

/// Does the same for each item, on all cores.
fn for_each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let take = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
            scope.spawn(take);
        }
    });
}

#[test]
fn no_scene_breaks_the_promise() {
    let only = std::env::var("SCENE").ok();
    let scenes: Vec<_> = SCENES.iter().filter(|scene| only.as_deref().is_none_or(|only| scene.name == only)).collect();
    let all: u64 = scenes.iter().map(|scene| scene.parts()).sum();
    let calls = setting("CALLS").unwrap_or(CALLS);
    for_each(&scenes, |scene| {
        let tally = run_scene(**scene, calls * scene.parts() / all, setting("SEED"));
        println!("{:40} {tally:?}", scene.name);
    });
}

/// Whether some seed of these scenes breaks the promise.
fn is_noticed(scenes: &[&str], flaw: Option<Flaw>, script: &str) -> bool {
    let server = Rc::new(Server::new(script));
    let requests = setting("REQUESTS").unwrap_or(REQUESTS_PER_FLAW);
    scenes.iter().any(|name| {
        let scene = SCENES.iter().find(|scene| scene.name == *name).expect("a scene of this name");
        let mut sum = Tally::default();
        for seed in 0.. {
            match run(&server, *scene, seed, flaw) {
                Ok(_) if sum.executed >= requests => break,
                Ok(tally) => sum.add(&tally),
                Err(breach) => {
                    println!(
                        "{flaw:?} noticed in {name:?}, seed {seed}, after {} calls, {} requests: {breach}",
                        sum.sent, sum.executed
                    );
                    return true;
                }
            }
        }
        false
    })
}

/// A rule that is broken, and whether it was noticed.
type Broken<'a> = (String, Box<dyn Fn() -> bool + Sync + 'a>);

#[test]
fn each_broken_rule_breaks_the_promise() {
    let script = SCRIPT_FLAWS.iter().map(|(flaw, scenes)| -> Broken<'_> {
        assert_eq!(SCRIPT.matches(flaw.line).count(), 1, "{}", flaw.line);
        (flaw.line.to_owned(), Box::new(|| is_noticed(scenes, None, &SCRIPT.replace(flaw.line, flaw.broken))))
    });
    let members = MEMBER_FLAWS.iter().map(|(flaw, scenes)| -> Broken<'_> {
        (format!("{flaw:?}"), Box::new(|| is_noticed(scenes, Some(*flaw), SCRIPT)))
    });
    let only = std::env::var("FLAW").unwrap_or_default();
    let broken: Vec<_> = members.chain(script).filter(|(name, _)| name.contains(&only)).collect();
    let unnoticed = Mutex::new(Vec::new());
    for_each(&broken, |(name, is_noticed)| {
        if !is_noticed() {
            unnoticed.lock().push(name.clone());
        }
    });
    assert_eq!(unnoticed.into_inner(), [""; 0]);
}
