//! A thousand random mixes of callers in virtual time, with jobs and with calls that are refused and come back: nobody
//! starves, everybody gets its share, nothing is wasted.
//!
//! `SEED=… cargo test --lib fairness_simulation -- --nocapture` runs one mix and prints it.

use std::{any::Any, collections::BTreeMap, num::NonZeroU32, ops::Range, sync::Arc, thread, time::Duration};

use tokio::time::Instant;

use super::{
    super::{Identity, SlotRequest, caller::Terms, simulation::random::Random},
    Refused,
    trial::{Arrived, Trial, caller_with, seconds},
};
use crate::{ledger::Caller, zoho::catalogue::Pace};

const MIXES: u64 = 1000;
const WINDOW: f64 = 60.0;

/// How long each mix runs, in windows. The first two do not count: a burst may precede the spread.
const WINDOWS: u64 = 8;

/// How long each call waits: longer than any queue here.
const PATIENCE: u64 = 200 * 60;

/// How many of the calls of a caller that calls again and again may wait.
const CONNECTIONS: u32 = 4;

/// How often a call is refused at most that comes back at its time. It is five in all but three of the mixes: callers that
/// did not wait when the time was told came in between.
const MOST_REFUSALS: u32 = 8;

const COUNTED_FROM: f64 = 2.0 * WINDOW;

/// How a caller calls.
#[derive(Debug, Clone, Copy)]
enum Demand {
    /// This number of its calls waits at any time.
    Backlog(u32),
    /// One call after this time, again and again, unless as many as it has connections wait.
    Every(Duration),
    /// This number of calls at this time.
    Batch(u32, Duration),
    /// Jobs, which no connection bounds: all wait from the start.
    Jobs(u32),
    /// One call after this time, again and again, that does not wait. If it is refused, it comes back after `Retry-After`,
    /// but this percentage of refused calls never does.
    Bookings(Duration, u64),
}

impl Demand {
    /// Whether it wants each slot that it may have.
    fn always_waits(self) -> bool {
        matches!(self, Self::Backlog(_) | Self::Jobs(_))
    }
}

/// Calls that do not wait, and come back when they are refused.
struct Returning {
    /// When each comes, and its number: its caller.
    calls: BTreeMap<(Instant, u64), usize>,
    numbers: Range<u64>,
    random: Random,
    connection: Connection,
    /// How often each call was refused.
    refusals: BTreeMap<u64, u32>,
}

type Connection = Arc<dyn Any + Send + Sync>;

impl Returning {
    fn new(seed: u64) -> Self {
        Self {
            calls: BTreeMap::new(),
            numbers: 0..u64::MAX,
            random: Random::new(seed),
            connection: Arc::new(()),
            refusals: BTreeMap::new(),
        }
    }

    fn begin(&mut self, at: Instant, caller: usize) {
        self.calls.extend(self.numbers.next().map(|number| ((at, number), caller)));
    }

    /// The next of them comes.
    fn come(&mut self, trial: &mut Trial, callers: &[(Caller, Demand)]) -> Result<(), String> {
        let Some(((_, number), index)) = self.calls.pop_first() else { return Ok(()) };
        let (caller, Demand::Bookings(_, lost)) = &callers[index] else { return Ok(()) };
        let identity = Identity { fingerprint: number, connection: Arc::downgrade(&self.connection) };
        let plain = SlotRequest::plain(trial.now);
        match trial.request(SlotRequest { caller: caller.clone(), identity: Some(identity), ..plain }, index) {
            Arrived::Goes => {}
            Arrived::Refused(Refused::Saturated { retry_after, .. }) if self.random.below(100) >= *lost => {
                let refusals = self.refusals.entry(number).or_default();
                *refusals += 1;
                if *refusals > MOST_REFUSALS {
                    return Err(format!("{} is refused {refusals} times at {}", caller.name(), trial.at(trial.now)));
                }
                let seconds = seconds(retry_after.as_secs_f64().ceil().max(1.0) as u64);
                self.calls.insert((trial.now + seconds, number), index);
            }
            Arrived::Refused(Refused::Saturated { .. }) => {}
            other => return Err(format!("an impatient call: {other:?}")),
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Mix {
    seed: u64,
    requests: u32,
    trip: Duration,
    callers: Vec<(Caller, Demand)>,
}

impl Mix {
    /// The first caller always waits, with no limit of its own, so that each free slot is wanted.
    fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut draw = |below: u64| random.below(below);
        let requests = 3 + draw(10) as u32;
        let trip = Duration::from_millis([0, 0, 50, 700][draw(4) as usize]);
        let count = 2 + draw(4);
        let mut reserved = 0;
        let callers = (0..count).map(|index| {
            let weight = NonZeroU32::new([1, 1, 2, 5, 10][draw(5) as usize]).unwrap();
            let mut terms = Terms { weight, ..Terms::default() };
            if index > 0 && draw(5) == 0 {
                terms.reserve = (1 + draw(3) as u32).min(requests / 2 - reserved);
                reserved += terms.reserve;
            }
            if index > 0 && draw(5) == 0 {
                terms.max_share = NonZeroU32::new(terms.reserve.max(1) + draw(u64::from(requests)) as u32);
            }
            let demand = match draw(6) {
                0 => Demand::Jobs(requests * (WINDOWS as u32 + 1)),
                _ if index == 0 => Demand::Backlog(1 + draw(6) as u32),
                1 => Demand::Backlog(1 + draw(6) as u32),
                2 => Demand::Batch(1 + draw(20) as u32, Duration::from_millis(draw(400_000))),
                3 => Demand::Bookings(Duration::from_millis(1000 + draw(30_000)), [0, 25, 100][draw(3) as usize]),
                _ => Demand::Every(Duration::from_millis(1000 + draw(30_000))),
            };
            (caller_with(&format!("caller-{index}"), terms), demand)
        });
        Self { seed, requests, trip, callers: callers.collect() }
    }

    fn reserves(&self) -> Vec<Caller> {
        let callers = self.callers.iter().map(|(caller, _)| caller);
        callers.filter(|caller| caller.terms().reserve > 0).cloned().collect()
    }

    fn run(&self) -> Result<(), String> {
        let mut trial = Trial::new(self.requests, Pace::Fair, &self.reserves()).with_trip(self.trip);
        let end = trial.start + seconds(60 * WINDOWS);
        // When each caller sends next, and how often.
        let mut sends: Vec<(Option<Instant>, u32)> = (self.callers.iter())
            .map(|(_, demand)| match *demand {
                Demand::Backlog(calls) | Demand::Jobs(calls) => (Some(trial.start), calls),
                Demand::Every(span) | Demand::Bookings(span, _) => (Some(trial.start + span), 1),
                Demand::Batch(calls, at) => (Some(trial.start + at), calls),
            })
            .collect();
        let (mut waiting, mut returning) = (vec![0; self.callers.len()], Returning::new(self.seed));
        while trial.now < end {
            let next = sends.iter().enumerate().filter_map(|(index, (at, _))| Some(((*at)?, index))).min();
            let returns = returning.calls.keys().next().map(|(at, _)| *at);
            let until = next.map(|(at, _)| at).into_iter().chain(returns).fold(end, Instant::min);
            let ended = trial.run_until_some_end(until);
            for end in &ended {
                if let Some(refused) = end.refused {
                    return Err(format!("a call that waits is refused: {refused:?}"));
                }
                waiting[end.number] -= 1;
                if let Demand::Backlog(_) = self.callers[end.number].1 {
                    let (at, calls) = &mut sends[end.number];
                    *calls = if at.is_some() { *calls + 1 } else { 1 };
                    *at = Some(end.at);
                }
            }
            if ended.is_empty() && returns.is_some_and(|at| at <= trial.now) {
                returning.come(&mut trial, &self.callers)?;
                continue;
            }
            let Some((at, index)) = next.filter(|(at, _)| ended.is_empty() && *at <= trial.now) else { continue };
            let (caller, demand) = &self.callers[index];
            let mut calls = match demand {
                Demand::Every(_) if waiting[index] >= CONNECTIONS => 0,
                Demand::Bookings(..) => {
                    returning.begin(at, index);
                    0
                }
                _ => sends[index].1,
            };
            while calls > 0 {
                calls -= 1;
                match (trial.call(caller, seconds(PATIENCE), index), demand) {
                    (Arrived::Goes, Demand::Backlog(_)) => calls += 1,
                    (Arrived::Waits, _) => waiting[index] += 1,
                    (Arrived::Refused(refused), _) => return Err(format!("a patient call is refused: {refused:?}")),
                    _ => {}
                }
            }
            sends[index] = match demand {
                Demand::Every(span) | Demand::Bookings(span, _) => (Some(at + *span), 1),
                _ => (None, 0),
            };
        }
        self.check(&trial)
    }

    fn check(&self, trial: &Trial) -> Result<(), String> {
        let sent: Vec<(f64, &Caller)> = trial.sent.iter().map(|(at, caller)| (trial.at(*at), caller)).collect();
        let (requests, end) = (self.requests as usize, WINDOW * WINDOWS as f64);
        if let Some(breach) = sent.windows(requests + 1).find(|calls| calls[requests].0 - calls[0].0 < WINDOW - 1e-6) {
            return Err(format!("{} calls within a window from {} on", requests + 1, breach[0].0));
        }
        // A slot is used once in a window and the time of an answer.
        let cycles = (end - COUNTED_FROM) / (WINDOW + self.trip.as_secs_f64());
        let counted = |caller: Option<&Caller>| {
            let counts = |(at, of): &&(f64, &Caller)| *at >= COUNTED_FROM && caller.is_none_or(|caller| *of == caller);
            sent.iter().filter(counts).count() as f64
        };
        let held_back: u32 = self.reserves().iter().map(|caller| caller.terms().reserve).sum();
        let open = f64::from(self.requests - held_back) * cycles;
        if counted(None) < open * 0.98 - 1.0 {
            return Err(format!("{} of {open:.1} slots used while a caller waits", counted(None)));
        }
        let weights: u32 = self.callers.iter().map(|(caller, _)| caller.weight().get()).sum();
        for (caller, demand) in &self.callers {
            if !demand.always_waits() {
                continue;
            }
            let share = open * f64::from(caller.weight().get()) / f64::from(weights);
            let most = caller.terms().max_share.map_or(f64::MAX, |most| f64::from(most.get()) * cycles);
            let entitled = share.min(most);
            // A turn more or less, and the rest of a window.
            if counted(Some(caller)) < entitled * 0.95 - 2.0 {
                return Err(format!("{} got {} of {entitled:.1}", caller.name(), counted(Some(caller))));
            }
            let most_in_a_window = caller.terms().max_share.map_or(usize::MAX, |most| most.get() as usize);
            let own: Vec<f64> = sent.iter().filter(|(_, of)| *of == caller).map(|(at, _)| *at).collect();
            let turns = f64::from(weights) / f64::from(caller.weight().get() * (self.requests - held_back));
            let gap = 2.0 * WINDOW + WINDOW * turns;
            if let Some(pair) = own.windows(2).find(|pair| pair[1] - pair[0] > gap) {
                return Err(format!("{} starves from {} to {}", caller.name(), pair[0], pair[1]));
            }
            let exceeds = own.windows(most_in_a_window.saturating_add(1).min(own.len() + 1).max(1));
            if let Some(calls) = exceeds.into_iter().find(|calls| calls[calls.len() - 1] - calls[0] < WINDOW - 1e-6) {
                return Err(format!("{} exceeds its max_share from {} on", caller.name(), calls[0]));
            }
        }
        Ok(())
    }
}

#[test]
fn nobody_starves_and_nothing_is_wasted() {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        let mix = Mix::random(seed);
        println!("{mix:#?}");
        mix.run().unwrap();
        return;
    }
    let failed = |seeds: Range<u64>| -> Vec<String> {
        seeds.filter_map(|seed| Some(format!("SEED={seed}: {}", Mix::random(seed).run().err()?))).collect()
    };
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| failed(0..MIXES / 2));
        (failed(MIXES / 2..MIXES), first.join().unwrap())
    });
    let failed = [second, first].concat();
    assert!(failed.is_empty(), "{} mixes fail:\n{}", failed.len(), failed.join("\n"));
}
