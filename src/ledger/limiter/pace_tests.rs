//! `pace = "fair"`, `reserve` and `max_share`.

use std::num::NonZeroU32;

use tokio::time::Instant;

use super::{
    super::{caller::Terms, simulation::random::Random},
    trial::{Arrived, Trial, caller, caller_with, seconds},
};
use crate::{ledger::Caller, zoho::catalogue::Pace};

/// The waits of a portal that calls every 5 s, and when the batch ended, in seconds.
struct Outcome {
    waits: Vec<f64>,
    ended: f64,
    portal_slots: usize,
}

impl Outcome {
    fn p95(&self) -> f64 {
        let mut waits = self.waits.clone();
        waits.sort_by(f64::total_cmp);
        waits[waits.len() * 95 / 100]
    }

    fn longest(&self) -> f64 {
        self.waits.iter().copied().fold(0.0, f64::max)
    }
}

/// A batch of 300 calls comes at `batch_at` next to a portal that calls from `portal_at` on. If the batch comes first, it
/// spends the window alone, so the portal's first minute does not count.
fn batch_and_portal(pace: Pace, batch_at: u64, portal_at: u64, every: f64) -> Outcome {
    let (batch, portal) = (caller("batch", 1), caller("portal", 10));
    let counts_from = if batch_at < portal_at { portal_at as f64 + 60.0 } else { 0.0 };
    let mut trial = Trial::new(30, pace, &[]);
    let start = trial.start;
    let mut next = start + seconds(portal_at);
    let (mut asked, mut waits, mut left, mut ended) = (Vec::<Instant>::new(), Vec::<f64>::new(), 300, start);
    let mut begun = false;
    while left > 0 {
        let until = if begun { next } else { next.min(start + seconds(batch_at)) };
        for end in trial.run_until(until) {
            assert_eq!(end.refused, None);
            match end.number {
                0 => (left, ended) = (left - 1, end.at),
                number if trial.at(asked[number - 1]) < counts_from => {}
                number => waits.push((end.at - asked[number - 1]).as_secs_f64()),
            }
        }
        if !begun && until == start + seconds(batch_at) {
            begun = true;
            for _ in 0..300 {
                if trial.call(&batch, seconds(3600), 0) == Arrived::Goes {
                    left -= 1;
                }
            }
        }
        if until == next {
            asked.push(until);
            match trial.call(&portal, seconds(75), asked.len()) {
                Arrived::Goes => waits.push(0.0),
                Arrived::Waits => {}
                Arrived::Refused(refused) => panic!("{refused:?}"),
            }
            next += std::time::Duration::from_secs_f64(every);
        }
    }
    let began = start + seconds(batch_at);
    let portal_slots =
        trial.sent.iter().filter(|(at, caller)| *caller == portal && (began..=ended).contains(at)).count();
    Outcome { waits, ended: trial.at(ended) - batch_at as f64, portal_slots }
}

#[test]
fn a_lone_caller_spends_the_allowance_as_it_asks() {
    let mut trial = Trial::new(30, Pace::Fair, &[]);
    let batch = caller("batch", 1);
    let goes = (0..300).filter(|_| trial.call(&batch, seconds(900), 0) == Arrived::Goes).count();
    assert_eq!(goes, 30);
    let ended = trial.run_until(trial.start + seconds(600));
    assert_eq!((ended.len(), trial.at(ended.last().unwrap().at)), (270, 540.0));
}

/// With the default `queue.max_wait`.
#[test]
fn a_plain_loop_meets_no_refusal() {
    let mut trial = Trial::new(30, Pace::Fair, &[]);
    let plain = caller("plain", 1);
    for _ in 0..40 {
        if trial.call(&plain, seconds(75), 0) == Arrived::Waits {
            let ended = trial.run_until_some_end(trial.now + seconds(75));
            assert!(ended[0].refused.is_none());
        }
    }
    assert_eq!((trial.sent.len(), trial.at(trial.now)), (40, 60.0));
}

#[test]
fn a_portal_next_to_a_batch_is_served_soon() {
    for (batch_at, portal_at) in [(90, 0), (0, 70), (63, 0), (30, 1)] {
        let outcome = batch_and_portal(Pace::Fair, batch_at, portal_at, 5.0);
        // All slots of its time, those of a first window at once, without those that the portal uses.
        let optimum = (300 + outcome.portal_slots - 30) as f64 * 2.0;
        println!(
            "batch at {batch_at}, portal at {portal_at}: p95 {:.2}, longest {:.2}, batch {:.0} of {optimum:.0}, {} slots",
            outcome.p95(),
            outcome.longest(),
            outcome.ended,
            outcome.portal_slots
        );
        assert!(outcome.p95() <= 3.0 && outcome.longest() <= 6.0);
        assert!(outcome.ended <= optimum * 1.12, "{} of {optimum}", outcome.ended);
    }
}

#[test]
fn the_same_portal_waits_long_next_to_bursts() {
    let outcome = batch_and_portal(Pace::Burst, 0, 70, 5.0);
    assert!(outcome.p95() > 20.0, "{}", outcome.p95());
}

#[test]
fn others_leave_the_reserve_free() {
    let portal = caller_with("portal", Terms { reserve: 5, ..Terms::default() });
    let batch = caller("batch", 1);
    let mut trial = Trial::new(30, Pace::Burst, std::slice::from_ref(&portal));
    let goes = (0..40).filter(|_| trial.call(&batch, seconds(300), 1) == Arrived::Goes).count();
    assert_eq!(goes, 25);
    for _ in 0..5 {
        assert_eq!(trial.call(&portal, seconds(0), 2), Arrived::Goes);
    }
    assert!(matches!(trial.call(&portal, seconds(59), 2), Arrived::Refused(_)));
    // A window later the portal has used none, so the reserve is held back again.
    let ended = trial.run_until(trial.start + seconds(120));
    assert_eq!(ended.len(), 15);
    let moments: Vec<f64> = ended.iter().map(|end| trial.at(end.at)).collect();
    assert!(moments.iter().all(|at| *at == 60.0), "{moments:?}");
}

/// Half of its share are 7 slots.
#[test]
fn calls_in_a_reserve_are_not_spread() {
    let portal = caller_with("portal", Terms { reserve: 12, ..Terms::default() });
    let batch = caller("batch", 1);
    let mut trial = Trial::new(30, Pace::Fair, std::slice::from_ref(&portal));
    let start = trial.start;
    for _ in 0..100 {
        trial.call(&batch, seconds(900), 0);
    }
    trial.run_until(start + seconds(10));
    let goes = (0..12).filter(|_| trial.call(&portal, seconds(0), 1) == Arrived::Goes).count();
    assert_eq!(goes, 12);
    assert!(trial.call(&portal, seconds(0), 1) != Arrived::Goes, "no more slots are in its reserve");
}

#[test]
fn a_share_is_never_exceeded_and_others_pass() {
    let batch = caller_with("batch", Terms { max_share: NonZeroU32::new(10), ..Terms::default() });
    let other = caller("other", 1);
    let mut trial = Trial::new(30, Pace::Fair, &[]);
    let goes = (0..35).filter(|_| trial.call(&batch, seconds(300), 1) == Arrived::Goes).count();
    assert_eq!(goes, 10);
    assert_eq!(trial.call(&other, seconds(0), 2), Arrived::Goes, "it passes");
    let moments: Vec<u64> =
        trial.run_until(trial.start + seconds(300)).iter().map(|end| trial.at(end.at) as u64).collect();
    assert!(moments.iter().enumerate().all(|(index, at)| *at >= 60 * (1 + index as u64 / 10)), "{moments:?}");
    assert_eq!(moments.len(), 25);
}

/// For each call: refused exactly if it cannot be served in time as things stand.
#[test]
fn forecasts_are_the_moments_at_which_calls_go() {
    let callers: [Caller; 3] = [
        caller("a", 1),
        caller_with("b", Terms { max_share: NonZeroU32::new(7), ..Terms::default() }),
        caller_with("c", Terms { reserve: 3, ..Terms::default() }),
    ];
    for seed in 0..40_u64 {
        let mut trial = Trial::new(10, Pace::Fair, &callers[2..]);
        let mut random = Random::new(seed);
        let mut draw = |below| random.below(below);
        let (mut number, mut forecasts) = (0, std::collections::BTreeMap::new());
        for _ in 0..60 {
            let caller = &callers[draw(3) as usize];
            let request = crate::ledger::SlotRequest {
                caller: caller.clone(),
                ..crate::ledger::SlotRequest::plain(trial.now + seconds(10_000))
            };
            number += 1;
            let now = trial.now;
            trial.state.want(caller, now);
            let (wait, verdict) = trial.state.verdict(&request, now);
            assert_eq!(verdict, Ok(()));
            match trial.request(request, number) {
                Arrived::Goes => assert!(wait.is_zero()),
                _ => drop(forecasts.insert(number, now + wait)),
            }
            let later = trial.now + seconds(draw(4));
            if draw(2) == 0 {
                trial.run_until(later);
                forecasts.clear();
            }
        }
        // The last one's forecast took all others into account, and nobody comes any more.
        let Some((last, forecast)) = forecasts.pop_last() else { continue };
        let ended = trial.run_until(trial.now + seconds(100_000));
        let end = ended.iter().find(|end| end.number == last).expect("it is served");
        assert_eq!(trial.at(end.at), trial.at(forecast), "seed {seed}");
    }
}
