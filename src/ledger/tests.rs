//! The promise, held against a Zoho of its own; and the queue's manners.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    catalogue::{Pace, Threshold},
    clock,
};

fn threshold(requests: u32, window_ms: u64, pace: Pace) -> Threshold {
    let requests = NonZeroU32::new(requests).unwrap();
    Threshold { requests, window: ms(window_ms), lock: ms(5 * window_ms), pace }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

// === The rule, against an independent count of arrivals ===

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
    let mut bucket = Bucket::new(threshold);
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
    let mut bucket = Bucket::new(threshold(1, 1000, Pace::Burst));
    let taken = bucket.take(now).unwrap();
    bucket.lost(now, taken);
    assert_eq!(bucket.take(now).unwrap_err(), Denied::Until(now + ms(1000) + NO_ANSWER_GRACE));
}

#[test]
fn a_call_never_sent_costs_nothing() {
    let now = clock::now();
    let mut bucket = Bucket::new(threshold(1, 1000, Pace::Burst));
    let taken = bucket.take(now).unwrap();
    assert_eq!(bucket.take(now).unwrap_err(), Denied::Unanswered);
    bucket.refund(taken);
    assert!(bucket.take(now).is_ok());
}

#[test]
fn after_a_lock_one_call_goes_alone_and_then_the_rest() {
    let now = clock::now();
    let mut bucket = Bucket::new(threshold(3, 1000, Pace::Burst));
    bucket.take(now).unwrap();
    bucket.answered(now, now);
    let until = bucket.locked(now, Some(ms(100))).unwrap();
    assert_eq!(until, now + ms(5000), "the page's lock is longer than Retry-After");
    assert_eq!(bucket.take(until - ms(1)).unwrap_err(), Denied::Until(until));
    let probe = bucket.take(until).unwrap();
    assert!(probe.probe);
    assert_eq!(bucket.take(until).unwrap_err(), Denied::Unanswered);
    bucket.answered(until, until);
    bucket.unlocked();
    assert!(bucket.take(until).is_ok() && bucket.take(until).is_ok());
    assert!(bucket.take(until).is_err(), "the probe is charged too");
}

#[test]
fn a_longer_retry_after_and_a_later_lock_count() {
    let now = clock::now();
    let mut bucket = Bucket::new(threshold(3, 1000, Pace::Burst));
    assert_eq!(bucket.locked(now, Some(ms(60_000))), Some(now + ms(60_000)));
    assert_eq!(bucket.locked(now + ms(1), None), Some(now + ms(60_000)), "an answer that comes later shortens nothing");
    assert_eq!(bucket.locked(now + ms(59_000), None), Some(now + ms(64_000)));
}

// === The queue ===

const FAR: Duration = Duration::from_secs(3600);

fn line(requests: u32, places: usize) -> Arc<Line> {
    Line::new(threshold(requests, 1000, Pace::Burst), WaitingRoom::new(places))
}

/// Sends a call that is answered at once.
async fn served(line: &Arc<Line>, wait: Duration) -> Result<Instant, Refused> {
    let mut permit = line.permit(clock::now() + wait, Entrance::Back).await?;
    permit.sending().unwrap();
    permit.answered();
    permit.executed();
    Ok(clock::now())
}

#[tokio::test(start_paused = true)]
async fn serves_in_order_of_arrival() {
    let line = line(2, 100);
    let calls: Vec<_> = (0..6).map(|_| served(&line, FAR)).collect();
    let start = clock::now();
    let moments: Vec<_> = futures_util::future::join_all(calls).await;
    let seconds: Vec<_> = moments.into_iter().map(|moment| (moment.unwrap() - start).as_secs()).collect();
    assert_eq!(seconds, [0, 0, 1, 1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_served_in_time_hears_so_at_once() {
    let line = line(1, 100);
    served(&line, FAR).await.unwrap();
    let start = clock::now();
    assert_eq!(served(&line, ms(999)).await, Err(Refused::Saturated { retry_after: ms(1000) }));
    assert_eq!(served(&line, ms(0)).await, Err(Refused::Saturated { retry_after: ms(1000) }));
    assert_eq!(clock::now(), start);
    assert!(served(&line, ms(1000)).await.is_ok(), "exactly in time is in time");
}

#[tokio::test(start_paused = true)]
async fn the_queue_before_a_caller_counts_into_its_wait() {
    let line = line(1, 100);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let line = Arc::clone(&line);
                async move { served(&line, FAR).await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(served(&line, ms(2999)).await, Err(Refused::Saturated { retry_after: ms(3000) }));
    for call in waiting {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_spends_nothing_and_wakes_the_next() {
    let line = line(1, 100);
    served(&line, FAR).await.unwrap();
    let (start, quota) = (clock::now(), line.quota());
    let head = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, FAR).await }
    });
    tokio::task::yield_now().await;
    let next = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, FAR).await }
    });
    tokio::task::yield_now().await;
    head.abort();
    assert_eq!(next.await.unwrap().unwrap() - start, ms(1000), "the next one takes the slot of the first");
    assert_eq!(quota.remaining, 0);
}

#[tokio::test(start_paused = true)]
async fn the_waiting_room_is_bounded() {
    let line = line(1, 1);
    served(&line, FAR).await.unwrap();
    let waiting = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, FAR).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(served(&line, FAR).await, Err(Refused::Full { retry_after: ms(2000) }));
    waiting.await.unwrap().unwrap();
    served(&line, FAR).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_tells_those_at_once_who_cannot_wait_for_it() {
    let line = line(1, 100);
    let mut permit = line.permit(clock::now(), Entrance::Back).await.unwrap();
    permit.sending().unwrap();
    let start = clock::now();
    let short = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, ms(3000)).await }
    });
    let long = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, FAR).await }
    });
    tokio::task::yield_now().await;
    permit.answered();
    assert_eq!(permit.locked(None), Some(start + ms(5000)));
    assert_eq!(short.await.unwrap(), Err(Refused::Locked { retry_after: ms(5000) }));
    assert_eq!(clock::now(), start);
    drop(permit);
    assert_eq!(long.await.unwrap().unwrap() - start, ms(5000));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_met_a_lock_goes_before_those_who_came_later() {
    let line = line(1, 100);
    let mut permit = line.permit(clock::now(), Entrance::Back).await.unwrap();
    permit.sending().unwrap();
    permit.answered();
    let start = clock::now();
    let later = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, FAR).await }
    });
    tokio::task::yield_now().await;
    permit.locked(None);
    drop(permit);
    let mut again = line.permit(start + FAR, Entrance::Front).await.unwrap();
    assert_eq!(clock::now() - start, ms(5000));
    again.sending().unwrap();
    again.answered();
    again.executed();
    assert_eq!(later.await.unwrap().unwrap() - start, ms(6000));
}

#[tokio::test(start_paused = true)]
async fn those_who_met_a_lock_keep_their_order_and_are_not_turned_away() {
    let line = line(1, 1);
    let mut permit = line.permit(clock::now(), Entrance::Back).await.unwrap();
    permit.sending().unwrap();
    permit.answered();
    permit.locked(None);
    drop(permit);
    let back = |entrance| {
        let line = Arc::clone(&line);
        async move {
            let mut permit = line.permit(clock::now() + FAR, entrance).await?;
            permit.sending().unwrap();
            permit.answered();
            permit.executed();
            Ok::<_, Refused>(clock::now())
        }
    };
    let start = clock::now();
    let calls = [Entrance::Back, Entrance::Front, Entrance::Front].map(|entrance| tokio::spawn(back(entrance)));
    let moments = futures_util::future::join_all(calls).await;
    let seconds: Vec<_> = moments.into_iter().map(|moment| (moment.unwrap().unwrap() - start).as_secs()).collect();
    assert_eq!(seconds, [7, 5, 6]);
}

#[test]
fn a_lock_without_length_is_none() {
    let now = clock::now();
    let mut bucket = Bucket::new(Threshold { lock: Duration::ZERO, ..threshold(3, 1000, Pace::Burst) });
    bucket.take(now).unwrap();
    bucket.answered(now, now);
    assert_eq!(bucket.locked(now, None), None);
    assert!(!bucket.take(now).unwrap().probe);
}

#[tokio::test(start_paused = true)]
async fn a_permit_never_sent_is_given_back() {
    let line = line(1, 100);
    drop(line.permit(clock::now(), Entrance::Back).await.unwrap());
    let mut permit = line.permit(clock::now(), Entrance::Back).await.unwrap();
    permit.sending().unwrap();
    permit.not_sent();
    drop(permit);
    assert!(served(&line, ms(0)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_permit_without_an_answer_is_not() {
    let line = line(1, 100);
    let mut permit = line.permit(clock::now(), Entrance::Back).await.unwrap();
    permit.sending().unwrap();
    drop(permit);
    let retry_after = ms(1000) + NO_ANSWER_GRACE;
    assert_eq!(served(&line, ms(0)).await, Err(Refused::Saturated { retry_after }));
}

#[tokio::test(start_paused = true)]
async fn who_can_no_longer_be_served_hears_so_at_once() {
    let line = line(1, 100);
    let mut permit = line.permit(clock::now(), Entrance::Back).await.unwrap();
    permit.sending().unwrap();
    let start = clock::now();
    let waiting = tokio::spawn({
        let line = Arc::clone(&line);
        async move { served(&line, ms(4000)).await }
    });
    tokio::task::yield_now().await;
    drop(permit);
    let retry_after = ms(1000) + NO_ANSWER_GRACE;
    assert_eq!(waiting.await.unwrap(), Err(Refused::Saturated { retry_after }));
    assert_eq!(clock::now(), start);
}

#[tokio::test(start_paused = true)]
async fn a_permit_held_when_a_lock_comes_is_worth_nothing() {
    let line = line(3, 100);
    let mut first = line.permit(clock::now(), Entrance::Back).await.unwrap();
    let mut held = line.permit(clock::now(), Entrance::Back).await.unwrap();
    let mut connecting = line.permit(clock::now(), Entrance::Back).await.unwrap();
    first.sending().unwrap();
    connecting.sending().unwrap();
    first.answered();
    let until = first.locked(None).unwrap();
    assert_eq!(held.sending(), Err(until));
    assert_eq!(connecting.overtaken().await, until);
    connecting.not_sent();
    drop((held, connecting));
    tokio::time::sleep_until(until).await;
    let mut probe = line.permit(clock::now(), Entrance::Back).await.unwrap();
    assert_eq!(probe.sending(), Ok(()), "the one that goes alone may");
}
