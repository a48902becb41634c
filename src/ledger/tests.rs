//! The promise, held against a Zoho of its own.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use proptest::prelude::*;

use super::{daily::Daily, *};
use crate::{
    catalogue::{Pace, Threshold},
    clock,
    store::{Key, Row},
};

pub(super) fn threshold(requests: u32, window_ms: u64, pace: Pace) -> Threshold {
    threshold_of(requests, ms(window_ms), pace)
}

/// With a lock of five windows.
pub(super) fn threshold_of(requests: u32, window: Duration, pace: Pace) -> Threshold {
    Threshold { requests: NonZeroU32::new(requests).unwrap(), window, lock: 5 * window, pace }
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// One call's way: out to Zoho, and back unless the answer is lost. Milliseconds.
#[derive(Debug, Clone, Copy)]
struct Way {
    out: u64,
    back: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Answer { sent: u64 },
    GivenUp,
}

/// How a call is charged in the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charge {
    /// As the ledger does.
    UntilAnswerAndWindow,
    /// The usual mistake, to see that it is caught.
    AtSend,
}

/// Sends every call as soon as the bucket allows. Returns when they arrived, and when the last was sent.
fn drive(threshold: Threshold, ways: &[Way], charge: Charge) -> (Vec<u64>, u64) {
    let start = clock::now();
    let at = |time: u64| start + ms(time);
    let mut bucket = Bucket::new(threshold, start);
    let mut events: BTreeMap<(u64, usize), (Event, Taken)> = BTreeMap::new();
    let (mut now, mut arrivals, mut next) = (0, Vec::new(), 0);
    while next < ways.len() {
        while let Some((&key, _)) = events.first_key_value().filter(|((time, _), _)| *time <= now) {
            let (event, taken) = events.remove(&key).unwrap();
            match event {
                Event::Answer { sent } => bucket.answered(at(key.0), at(sent)),
                Event::GivenUp => bucket.lost(at(key.0), taken),
            }
        }
        match bucket.take(at(now)) {
            Ok(taken) => {
                let way = ways[next];
                arrivals.push(now + way.out);
                match (charge, way.back) {
                    (Charge::AtSend, _) => bucket.answered(at(now), at(now)),
                    (_, Some(back)) => {
                        events.insert((now + way.out + back, next), (Event::Answer { sent: now }, taken));
                    }
                    (_, None) => {
                        // Given up before it arrived, but within the grace: the hardest case.
                        events.insert((now + way.out / 2, next), (Event::GivenUp, taken));
                    }
                }
                next += 1;
            }
            Err(denied) => {
                let event = events.first_key_value().map(|((time, _), _)| *time);
                let slot = match denied {
                    // The test's clock has whole milliseconds.
                    Denied::Until(moment) => Some((moment - start).as_micros().div_ceil(1000) as u64),
                    Denied::Unanswered => None,
                };
                let soonest = [event, slot].into_iter().flatten().min().expect("something has to happen next");
                assert!(soonest > now, "waits for a moment that has passed");
                now = soonest;
            }
        }
    }
    arrivals.sort_unstable();
    (arrivals, now)
}

/// The most arrivals in any half-open span of `window`.
fn most_in_any_window(arrivals: &[u64], window: u64) -> usize {
    let until = |from: u64| arrivals.partition_point(|&arrival| arrival < from + window);
    arrivals.iter().enumerate().map(|(index, &from)| until(from) - index).max().unwrap_or(0)
}

fn ways() -> impl Strategy<Value = Vec<Way>> {
    let answered = (0..400u64, 0..400u64).prop_map(|(out, back)| Way { out, back: Some(back) });
    let lost = (0..4000u64).prop_map(|out| Way { out, back: None });
    prop::collection::vec(prop_oneof![30 => answered, 1 => lost], 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn never_more_arrivals_than_the_threshold_in_any_window(
        ways in ways(), requests in 1..40u32, window in 1..1500u64, smooth in any::<bool>(),
    ) {
        let pace = if smooth { Pace::Smooth } else { Pace::Burst };
        let (arrivals, _) = drive(threshold(requests, window, pace), &ways, Charge::UntilAnswerAndWindow);
        prop_assert!(most_in_any_window(&arrivals, window) <= requests as usize);
    }

    #[test]
    fn nearly_all_of_the_allowance_is_used(back in 0..10u64) {
        let ways = vec![Way { out: back, back: Some(back) }; 30 * 20];
        let (_, last) = drive(threshold(30, 1000, Pace::Burst), &ways, Charge::UntilAnswerAndWindow);
        prop_assert!(last <= 19 * (1000 + 2 * back) + 20, "{last}");
    }
}

/// A million calls, by seed: what proptest does in the small, in the large.
#[test]
fn a_million_calls_without_a_breach() {
    let mut calls = 0;
    for seed in 1.. {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let (requests, window) = (1 + below(60), 1 + below(3000));
        let (out, back, lost) = (1 + below(1000), 1 + below(1000), 1 + below(200));
        let ways: Vec<_> = (0..5000)
            .map(|_| Way { out: below(out), back: (below(lost) > 0 || lost == 1).then(|| below(back)) })
            .collect();
        let (arrivals, _) = drive(threshold(requests as u32, window, Pace::Burst), &ways, Charge::UntilAnswerAndWindow);
        let most = most_in_any_window(&arrivals, window);
        assert!(most <= requests as usize, "seed {seed}: {most} arrivals within {window} ms, allowed are {requests}");
        calls += ways.len();
        if calls >= 1_000_000 {
            return;
        }
    }
}

#[test]
fn counting_at_send_is_caught() {
    let slow_then_fast = |n: usize| Way { out: if n < 30 { 300 } else { 0 }, back: Some(0) };
    let ways: Vec<_> = (0..60).map(slow_then_fast).collect();
    let (arrivals, _) = drive(threshold(30, 1000, Pace::Burst), &ways, Charge::AtSend);
    assert!(most_in_any_window(&arrivals, 1000) > 30);
    let (arrivals, _) = drive(threshold(30, 1000, Pace::Burst), &ways, Charge::UntilAnswerAndWindow);
    assert_eq!(most_in_any_window(&arrivals, 1000), 30);
}

#[test]
fn smooth_pace_spreads_calls_evenly() {
    let ways = vec![Way { out: 0, back: Some(0) }; 31];
    let (arrivals, _) = drive(threshold(30, 3000, Pace::Smooth), &ways, Charge::UntilAnswerAndWindow);
    for pair in arrivals.windows(2) {
        assert!((99..=101).contains(&(pair[1] - pair[0])), "{arrivals:?}");
    }
}

#[test]
fn a_call_without_an_answer_stays_charged_beyond_its_window() {
    let now = clock::now();
    let mut bucket = Bucket::new(threshold(1, 1000, Pace::Burst), now);
    let taken = bucket.take(now).unwrap();
    bucket.lost(now, taken);
    assert_eq!(bucket.take(now).unwrap_err(), Denied::Until(now + ms(1000) + NO_ANSWER_GRACE));
}

#[test]
fn a_call_never_sent_costs_nothing() {
    let now = clock::now();
    let mut bucket = Bucket::new(threshold(1, 1000, Pace::Burst), now);
    let taken = bucket.take(now).unwrap();
    assert_eq!(bucket.take(now).unwrap_err(), Denied::Unanswered);
    bucket.refund(taken);
    assert!(bucket.take(now).is_ok());
}

#[test]
fn after_a_lock_one_call_goes_alone_and_then_the_rest() {
    let now = clock::now();
    let mut bucket = Bucket::new(threshold(3, 1000, Pace::Burst), now);
    bucket.take(now).unwrap();
    bucket.answered(now, now);
    let until = bucket.locked(now, Some(ms(100))).unwrap();
    assert_eq!(until, now + ms(5000), "the page's lock is longer than Retry-After");
    assert_eq!(bucket.take(until - ms(1)).unwrap_err(), Denied::Until(until));
    let probe = bucket.take(until).unwrap();
    assert!(probe.is_probe());
    assert_eq!(bucket.take(until).unwrap_err(), Denied::Unanswered);
    bucket.answered(until, until);
    bucket.executed(probe);
    assert!(bucket.take(until).is_ok() && bucket.take(until).is_ok());
    assert!(bucket.take(until).is_err(), "the probe is charged too");
}

/// A process that was killed with calls on their way left its successor a daily bucket in which one call was to go alone
/// first, for the sake of a lock that those calls might have met. But a day knows no lock: nothing ever told it that this
/// call had been executed, and so it was the last one of the account until the gateway was started again.
#[test]
fn after_a_death_the_day_does_not_wait_for_a_call_that_goes_alone() {
    let now = clock::now();
    let row = Row { window: ms(1000), in_flight: 1, ..Row::default() };
    let bucket = Bucket::restored(threshold(3, 1000, Pace::Burst), &row, now);
    let day = Daily::new(bucket, Key::default(), Journal::in_memory());
    for _ in 0..2 {
        assert!(!day.change(|day| day.take(now)).unwrap().is_probe());
    }
    assert_eq!(day.bucket().quota(now).remaining, 0, "and the one that had no answer counts");
}

/// A store was lost while calls were on their way. Their answers might have told of a lock, but when the window that
/// counted as used up was over, a whole threshold's worth of calls went at once.
#[test]
fn after_a_lost_store_one_call_goes_alone_first() {
    let now = clock::now();
    let mut bucket = Bucket::worst(threshold(3, 1000, Pace::Burst), None, now, now);
    let free = now + ms(1000) + NO_ANSWER_GRACE;
    assert_eq!(bucket.take(now).unwrap_err(), Denied::Until(free));
    assert!(bucket.take(free).unwrap().is_probe());
    assert_eq!(bucket.take(free).unwrap_err(), Denied::Unanswered);
}

/// A call that went alone after a lock was still on its way when the answer to an older one told of the next lock. When
/// its own answer came, from before that lock, it was taken for the end of it, and all others went into the lock.
#[test]
fn an_answer_from_before_a_lock_does_not_end_it() {
    let now = clock::now();
    let mut bucket = Bucket::new(threshold(3, 1000, Pace::Burst), now);
    bucket.take(now).unwrap();
    let mut until = bucket.locked(now, None).unwrap();
    let early = bucket.take(until).unwrap();
    // The older call met a lock that began after the early one had arrived.
    bucket.answered(until, now);
    until = bucket.locked(until, None).unwrap();
    bucket.answered(until - ms(1), until - ms(2));
    bucket.executed(early);
    assert_eq!(bucket.take(until - ms(1)).unwrap_err(), Denied::Until(until));
    assert_eq!(bucket.overtaken(early), Some(until));

    let probe = bucket.take(until).unwrap();
    assert_eq!(bucket.overtaken(probe), None);
    bucket.executed(early);
    bucket.unread(early);
    assert_eq!(bucket.take(until).unwrap_err(), Denied::Unanswered, "only its own answer counts");
    bucket.executed(probe);
    assert!(bucket.take(until).is_ok());
}

#[test]
fn a_longer_retry_after_and_a_later_lock_count() {
    let now = clock::now();
    let mut bucket = Bucket::new(threshold(3, 1000, Pace::Burst), now);
    assert_eq!(bucket.locked(now, Some(ms(60_000))), Some(now + ms(60_000)));
    assert_eq!(bucket.locked(now + ms(1), None), Some(now + ms(60_000)), "an answer that comes later shortens nothing");
    assert_eq!(bucket.locked(now + ms(59_000), None), Some(now + ms(64_000)));
}

#[test]
fn a_lock_without_length_is_none() {
    let now = clock::now();
    let mut bucket = Bucket::new(Threshold { lock: Duration::ZERO, ..threshold(3, 1000, Pace::Burst) }, now);
    bucket.take(now).unwrap();
    bucket.answered(now, now);
    assert_eq!(bucket.locked(now, None), None);
    assert!(!bucket.take(now).unwrap().is_probe());
}
