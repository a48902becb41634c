//! The limiter: its queue, its locks and its record.

use std::{collections::BTreeMap, fs, num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use futures_util::FutureExt;
use http::StatusCode;
use tokio::time::Instant;

use super::{
    tests::{ms, threshold, threshold_of},
    *,
};
use crate::{
    ledger::store::Store,
    os::clock,
    zoho::catalogue::{Pace, Threshold},
};

fn saturated(retry_after: Duration) -> Refused {
    Refused::Saturated { retry_after, daily: false, position: None }
}

const FAR: Duration = Duration::from_secs(3600);

/// A limiter for `waiting` waiting calls, which shares nothing with others.
fn limiter(requests: u32, waiting: usize) -> Arc<RouteLimiter> {
    limiter_of(requests, Vec::new(), LimiterContext::in_memory(Limits::calls(waiting)))
}

fn limiter_of(requests: u32, wider: Vec<LimitSpec>, context: LimiterContext) -> Arc<RouteLimiter> {
    RouteLimiter::new(LimitSpec::own(Key::default(), threshold(requests, 1000, Pace::Burst)), wider, &[], context)
}

/// A limit that all routes of the account share.
fn day(threshold: Threshold) -> LimitSpec {
    LimitSpec { shared: true, ..LimitSpec::own(Key { limit: "daily".to_owned(), ..Key::default() }, threshold) }
}

fn request(deadline: Instant, arrival: Arrival) -> SlotRequest {
    SlotRequest { arrival, ..SlotRequest::plain(deadline) }
}

/// Sends a call that is answered at once.
async fn served(limiter: &Arc<RouteLimiter>, wait: Duration) -> Result<Instant, Refused> {
    let mut attempt = limiter.attempt(request(clock::now() + wait, Arrival::New)).await?;
    attempt.sending().unwrap();
    attempt.answered(StatusCode::OK);
    attempt.judged(true);
    Ok(clock::now())
}

#[tokio::test(start_paused = true)]
async fn serves_in_order_of_arrival() {
    let limiter = limiter(2, 100);
    let calls: Vec<_> = (0..6).map(|_| served(&limiter, FAR)).collect();
    let start = clock::now();
    let moments: Vec<_> = futures_util::future::join_all(calls).await;
    let seconds: Vec<_> = moments.into_iter().map(|moment| (moment.unwrap() - start).as_secs()).collect();
    assert_eq!(seconds, [0, 0, 1, 1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_served_in_time_is_refused_at_once() {
    let limiter = limiter(1, 100);
    served(&limiter, FAR).await.unwrap();
    let start = clock::now();
    assert_eq!(served(&limiter, ms(999)).await, Err(saturated(ms(1000))));
    assert_eq!(served(&limiter, ms(0)).await, Err(saturated(ms(1000))));
    assert_eq!(clock::now(), start);
    assert!(served(&limiter, ms(1000)).await.is_ok(), "exactly in time is in time");
}

#[tokio::test(start_paused = true)]
async fn the_calls_ahead_count_into_the_wait() {
    let limiter = limiter(1, 100);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let limiter = Arc::clone(&limiter);
                async move { served(&limiter, FAR).await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(served(&limiter, ms(2999)).await, Err(saturated(ms(3000))));
    for call in waiting {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_wakes_the_next() {
    let limiter = limiter(1, 100);
    served(&limiter, FAR).await.unwrap();
    let (start, quota) = (clock::now(), limiter.allowance().route);
    let head = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { served(&limiter, FAR).await }
    });
    tokio::task::yield_now().await;
    let next = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { served(&limiter, FAR).await }
    });
    tokio::task::yield_now().await;
    head.abort();
    assert_eq!(next.await.unwrap().unwrap() - start, ms(1000), "the next one takes its slot");
    assert_eq!(quota.remaining, 0);
}

#[tokio::test(start_paused = true)]
async fn no_call_waits_beyond_the_stop() {
    let limiter = limiter(1, 100);
    served(&limiter, FAR).await.unwrap();
    let start = clock::now();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn({
                let limiter = Arc::clone(&limiter);
                async move {
                    served(&limiter, FAR).await.map(|at| at - start).map_err(|refused| (refused, clock::now() - start))
                }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    limiter.close(start + ms(2000));
    assert_eq!(served(&limiter, FAR).await, Err(Refused::Closing), "nor does a new one");
    let mut outcomes = Vec::new();
    for call in waiting {
        outcomes.push(call.await.unwrap());
    }
    let at_once = Err((Refused::Closing, Duration::ZERO));
    assert_eq!(outcomes, [Ok(ms(1000)), Ok(ms(2000)), at_once, at_once]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_beyond_the_stop_refuses_at_once() {
    let limiter = limiter(1, 100);
    served(&limiter, FAR).await.unwrap();
    let start = clock::now();
    limiter.close(start + ms(5000));
    let waiting = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { (served(&limiter, FAR).await, clock::now() - start) }
    });
    tokio::time::sleep(ms(500)).await;
    limiter.lock(Some(ms(60_000)));
    assert_eq!(waiting.await.unwrap(), (Err(Refused::Closing), ms(500)));
    assert_eq!(
        served(&limiter, ms(100)).await,
        Err(Refused::Locked { retry_after: ms(60_000) }),
        "its own wait is shorter"
    );
}

/// For each wait the verdict is the result that a call would get now, and asking for it changes nothing.
fn check_verdicts(limiter: &Arc<RouteLimiter>, state: &str) {
    for wait in [0, 1, 999, 1000, 2999, 3000, 3_600_000] {
        let request = || request(clock::now() + ms(wait), Arrival::New);
        let before = limiter.allowance();
        let (expected, verdict) = limiter.verdict(&request());
        assert_eq!(limiter.allowance(), before, "{state}, {wait} ms");
        // An attempt that is dropped unused gives its slot back, and a dropped future leaves the queue.
        match limiter.attempt(request()).now_or_never() {
            Some(Ok(_)) => assert_eq!((expected, verdict), (Duration::ZERO, Ok(())), "{state}, {wait} ms"),
            Some(Err(refused)) => assert_eq!(verdict, Err(refused), "{state}, {wait} ms"),
            None => assert!(verdict == Ok(()) && expected <= ms(wait), "{state}, {wait} ms: {verdict:?}, {expected:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_the_result_of_a_call() {
    let limiter = limiter(1, 3);
    check_verdicts(&limiter, "fresh");
    served(&limiter, FAR).await.unwrap();
    check_verdicts(&limiter, "saturated");
    let mut waiting = Vec::new();
    for count in 1..=3 {
        waiting.push(tokio::spawn({
            let limiter = Arc::clone(&limiter);
            async move { served(&limiter, FAR).await }
        }));
        tokio::task::yield_now().await;
        check_verdicts(&limiter, &format!("{count} waiting"));
    }
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    limiter.lock(Some(ms(2500)));
    check_verdicts(&limiter, "locked");
    tokio::time::advance(ms(2500)).await;
    check_verdicts(&limiter, "after the lock");

    let context = LimiterContext::in_memory(Limits::calls(3));
    let limiter = limiter_of(5, vec![day(threshold(1, 5000, Pace::Burst))], context);
    served(&limiter, FAR).await.unwrap();
    check_verdicts(&limiter, "the day is used up");
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded() {
    let limiter = limiter(1, 1);
    served(&limiter, FAR).await.unwrap();
    let waiting = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { served(&limiter, FAR).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(served(&limiter, FAR).await, Err(Refused::Full { retry_after: ms(2000), limit: Limit::Calls }));
    waiting.await.unwrap().unwrap();
    served(&limiter, FAR).await.unwrap();
}

/// It leaves its own limiter's queue itself, since a limiter does not change another one's queue.
#[tokio::test(start_paused = true)]
async fn an_evicted_call_is_refused_at_once_at_any_limiter() {
    let context = LimiterContext::in_memory(Limits::calls(4));
    let (first, second) = (limiter_of(1, Vec::new(), context.clone()), limiter_of(1, Vec::new(), context.clone()));
    let of = |name: &str, weight: u32| {
        let caller = Caller::new(name, NonZeroU32::new(weight).unwrap());
        SlotRequest { caller, ..request(clock::now() + FAR, Arrival::New) }
    };
    for limiter in [&first, &second] {
        served(limiter, FAR).await.unwrap();
    }
    let wait = |limiter: &Arc<RouteLimiter>, request: SlotRequest| {
        let limiter = Arc::clone(limiter);
        tokio::spawn(async move { limiter.attempt(request).await.map(|_| clock::now()) })
    };
    let start = clock::now();
    let mut lent = Vec::new();
    for _ in 0..4 {
        lent.push(wait(&first, of("one", 1)));
        tokio::task::yield_now().await;
    }
    let mut owners = Vec::new();
    for _ in 0..3 {
        assert_eq!(second.verdict(&of("three", 3)).1, Ok(()));
        owners.push(wait(&second, of("three", 3)));
        tokio::task::yield_now().await;
    }
    for evicted in lent.drain(1..) {
        let Err(Refused::Full { retry_after, limit: Limit::Lent }) = evicted.await.unwrap() else {
            panic!("not evicted")
        };
        assert!(retry_after >= ms(1000));
    }
    assert_eq!(clock::now(), start, "at once");
    assert_eq!((first.status().waiting, second.status().waiting), (1, 3));
    let full = Refused::Full { retry_after: ms(4000), limit: Limit::Calls };
    assert_eq!(second.verdict(&of("three", 3)).1, Err(full));
    assert_eq!(lent.remove(0).await.unwrap().unwrap() - start, ms(1000));
    for owner in owners {
        owner.await.unwrap().unwrap();
    }
    assert_eq!(context.capacity.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_refuses_calls_that_cannot_wait_for_it() {
    let limiter = limiter(1, 100);
    let mut attempt = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    attempt.sending().unwrap();
    let start = clock::now();
    let short = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { served(&limiter, ms(3000)).await }
    });
    let long = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { served(&limiter, FAR).await }
    });
    tokio::task::yield_now().await;
    attempt.answered(StatusCode::OK);
    assert_eq!(attempt.locked(None).unwrap().until, start + ms(5000));
    assert_eq!(short.await.unwrap(), Err(Refused::Locked { retry_after: ms(5000) }));
    assert_eq!(clock::now(), start);
    drop(attempt);
    assert_eq!(long.await.unwrap().unwrap() - start, ms(5000));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hit_a_lock_goes_before_later_ones() {
    let limiter = limiter(1, 100);
    let mut attempt = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    attempt.sending().unwrap();
    attempt.answered(StatusCode::OK);
    let start = clock::now();
    let later = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { served(&limiter, FAR).await }
    });
    tokio::task::yield_now().await;
    attempt.locked(None);
    drop(attempt);
    let mut again = limiter.attempt(request(start + FAR, Arrival::Requeued)).await.unwrap();
    assert_eq!(clock::now() - start, ms(5000));
    again.sending().unwrap();
    again.answered(StatusCode::OK);
    again.judged(true);
    assert_eq!(later.await.unwrap().unwrap() - start, ms(6000));
}

#[tokio::test(start_paused = true)]
async fn calls_that_hit_a_lock_keep_their_order_and_get_in() {
    let limiter = limiter(1, 1);
    let mut attempt = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    attempt.sending().unwrap();
    attempt.answered(StatusCode::OK);
    attempt.locked(None);
    drop(attempt);
    let back = |arrival| {
        let limiter = Arc::clone(&limiter);
        async move {
            let mut attempt = limiter.attempt(request(clock::now() + FAR, arrival)).await?;
            attempt.sending().unwrap();
            attempt.answered(StatusCode::OK);
            attempt.judged(true);
            Ok::<_, Refused>(clock::now())
        }
    };
    let start = clock::now();
    let calls = [Arrival::New, Arrival::Requeued, Arrival::Requeued].map(|arrival| tokio::spawn(back(arrival)));
    let moments = futures_util::future::join_all(calls).await;
    let seconds: Vec<_> = moments.into_iter().map(|moment| (moment.unwrap().unwrap() - start).as_secs()).collect();
    assert_eq!(seconds, [7, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_never_sent_gives_its_slot_back() {
    let limiter = limiter(1, 100);
    drop(limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap());
    let mut attempt = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    attempt.sending().unwrap();
    attempt.not_sent();
    drop(attempt);
    assert!(served(&limiter, ms(0)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_keeps_its_slot() {
    let limiter = limiter(1, 100);
    let mut attempt = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    attempt.sending().unwrap();
    drop(attempt);
    let retry_after = ms(1000) + NO_ANSWER_GRACE;
    assert_eq!(served(&limiter, ms(0)).await, Err(saturated(retry_after)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_now_too_late_is_refused_at_once() {
    let limiter = limiter(1, 100);
    let mut attempt = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    attempt.sending().unwrap();
    let start = clock::now();
    let waiting = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { served(&limiter, ms(4000)).await }
    });
    tokio::task::yield_now().await;
    drop(attempt);
    let retry_after = ms(1000) + NO_ANSWER_GRACE;
    assert_eq!(waiting.await.unwrap(), Err(saturated(retry_after)));
    assert_eq!(clock::now(), start);
}

/// The day's window waited for the probe after a kill and never learned its result, so each process served one call.
#[tokio::test(start_paused = true)]
async fn a_day_that_began_before_a_kill_continues() {
    let day = day(threshold(5, 60_000, Pace::Burst));
    let row = Row { window: day.threshold.window, in_flight: 1, ..Row::default() };
    let left = StartState::Kept(BTreeMap::from([(day.key.clone(), row)]));
    let recovered = Arc::new(Recovered::new(left, clock::now()));
    let backend = Arc::new(RecordedBackend::new(recovered, Journal::in_memory()));
    let context = LimiterContext { backend, ..LimiterContext::in_memory(Limits::calls(100)) };
    let limiter = limiter_of(10, vec![day], context);
    for _ in 0..4 {
        served(&limiter, ms(0)).await.unwrap();
    }
    let refused = served(&limiter, ms(0)).await;
    assert!(matches!(refused, Err(Refused::Saturated { daily: true, .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_from_before_a_lock_must_not_be_sent() {
    let limiter = limiter(3, 100);
    let mut first = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    let mut held = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    let mut connecting = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    first.sending().unwrap();
    connecting.sending().unwrap();
    first.answered(StatusCode::OK);
    let until = first.locked(None).unwrap().until;
    assert_eq!(held.sending(), Err(until));
    assert_eq!(connecting.held_back().await, until);
    connecting.not_sent();
    drop((held, connecting));
    tokio::time::sleep_until(until).await;
    let mut probe = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    assert_eq!(probe.sending(), Ok(()), "the probe may");
}

/// A call in its own task, which has joined the queue when this returns.
async fn spawned(
    limiter: &Arc<RouteLimiter>,
    request: SlotRequest,
) -> tokio::task::JoinHandle<Result<Instant, Refused>> {
    let limiter = Arc::clone(limiter);
    let call = tokio::spawn(async move {
        let mut attempt = limiter.attempt(request).await?;
        attempt.sending().unwrap();
        attempt.answered(StatusCode::OK);
        attempt.judged(true);
        Ok(clock::now())
    });
    tokio::task::yield_now().await;
    call
}

fn weighing(name: &str, weight: u32, deadline: Instant) -> SlotRequest {
    SlotRequest { caller: Caller::new(name, NonZeroU32::new(weight).unwrap()), ..SlotRequest::plain(deadline) }
}

fn urgent(urgency: u8, deadline: Instant) -> SlotRequest {
    SlotRequest { urgency: Urgency::new(urgency).unwrap(), ..SlotRequest::plain(deadline) }
}

#[tokio::test(start_paused = true)]
async fn shares_follow_the_weights_while_both_flood() {
    let limiter = limiter(4, 1000);
    let start = clock::now();
    let mut calls = Vec::new();
    for (name, weight) in [("light", 1), ("heavy", 3)] {
        for _ in 0..100 {
            calls.push((name, spawned(&limiter, weighing(name, weight, start + FAR)).await));
        }
    }
    let mut served = Vec::new();
    for (name, call) in calls {
        served.push((call.await.unwrap().unwrap() - start, name));
    }
    // The first window was free before the heavy caller came. After 33 more it has no calls left.
    for second in 1..33 {
        let of = |caller| served.iter().filter(|(at, name)| at.as_secs() == second && *name == caller).count();
        assert_eq!((of("light"), of("heavy")), (1, 3), "in second {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn urgent_calls_are_served_first() {
    let limiter = limiter(1, 100);
    served(&limiter, FAR).await.unwrap();
    let start = clock::now();
    let mut calls = Vec::new();
    for urgency in [7, 3, 0] {
        calls.push(spawned(&limiter, urgent(urgency, start + FAR)).await);
    }
    let mut seconds = Vec::new();
    for call in calls {
        seconds.push((call.await.unwrap().unwrap() - start).as_secs());
    }
    assert_eq!(seconds, [3, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn overtaken_calls_are_refused_and_the_others_served() {
    let limiter = limiter(1, 100);
    served(&limiter, FAR).await.unwrap();
    let start = clock::now();
    let first = spawned(&limiter, urgent(7, start + ms(1000))).await;
    let second = spawned(&limiter, urgent(7, start + ms(2000))).await;
    let third = spawned(&limiter, urgent(7, start + ms(5000))).await;
    let mut urgent_calls = Vec::new();
    for last in 1..=2 {
        urgent_calls.push(spawned(&limiter, urgent(0, start + ms(1000 * last))).await);
    }
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(clock::now() - start < ms(1000), "both are refused by {:?}", clock::now() - start);
    assert!(matches!(first, Err(Refused::Saturated { .. })), "{first:?}");
    assert!(matches!(second, Err(Refused::Saturated { .. })), "{second:?}");
    for call in urgent_calls {
        call.await.unwrap().unwrap();
    }
    // The refused calls are no longer ahead of it.
    assert_eq!(third.await.unwrap().unwrap() - start, ms(3000));
}

#[tokio::test(start_paused = true)]
async fn calls_refused_by_a_lock_do_not_count_as_ahead() {
    let limiter = limiter(1, 100);
    let mut attempt = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    attempt.sending().unwrap();
    let start = clock::now();
    let mut short = Vec::new();
    for _ in 0..4 {
        short.push(spawned(&limiter, request(start + ms(4999), Arrival::New)).await);
    }
    // The lock ends at 5 s, and both can be served by 6 s, but only if the others are removed.
    let one = spawned(&limiter, request(start + ms(5000), Arrival::New)).await;
    let other = spawned(&limiter, request(start + ms(6000), Arrival::New)).await;
    attempt.answered(StatusCode::OK);
    attempt.locked(None);
    drop(attempt);
    for call in short {
        assert_eq!(call.await.unwrap(), Err(Refused::Locked { retry_after: ms(5000) }));
    }
    assert_eq!(clock::now(), start);
    assert_eq!(one.await.unwrap().unwrap() - start, ms(5000));
    assert_eq!(other.await.unwrap().unwrap() - start, ms(6000));
}

#[tokio::test(start_paused = true)]
async fn a_lock_refuses_ten_thousand_calls_at_once() {
    let limiter = limiter(1, 10_000);
    let mut attempt = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    attempt.sending().unwrap();
    let (start, long) = (clock::now(), 10 * FAR);
    let mut waiting = Vec::new();
    for _ in 0..10_000 {
        waiting.push(spawned(&limiter, request(start + long, Arrival::New)).await);
    }
    attempt.answered(StatusCode::OK);
    attempt.locked(Some(2 * long));
    for call in waiting {
        assert_eq!(call.await.unwrap(), Err(Refused::Locked { retry_after: 2 * long }));
    }
    assert_eq!(clock::now(), start);
    assert_eq!(limiter.status().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn two_limiters_share_a_day() {
    let context = LimiterContext::in_memory(Limits::calls(100));
    let day = day(threshold(3, 100_000, Pace::Burst));
    let [one, other] = [2, 5].map(|requests| limiter_of(requests, vec![day.clone()], context.clone()));
    served(&one, FAR).await.unwrap();
    served(&other, FAR).await.unwrap();
    let held = other.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    let start = clock::now();
    assert_eq!(
        served(&one, ms(5000)).await,
        Err(Refused::Saturated { retry_after: ms(100_000), daily: true, position: None }),
        "the route has a free slot, the day has none"
    );
    let waiting = spawned(&one, request(start + FAR, Arrival::New)).await;
    assert_eq!(other.allowance().daily.unwrap().remaining, 0);
    drop(held);
    let allowance = other.allowance();
    assert_eq!(allowance.route.remaining, 4, "an unused attempt gives both slots back");
    // The other limiter cannot wake this one, which checks again by itself every now and then.
    assert!(waiting.await.unwrap().unwrap() - start <= ms(1000));
    assert_eq!(one.allowance().daily.unwrap().remaining, 0);
}

/// As for calls of `attendance/entries`: 10 a minute, 100 an hour, 1,500 a day.
#[tokio::test(start_paused = true)]
async fn a_call_counts_against_all_limits_of_its_route() {
    let hour = LimitSpec::own(
        Key { limit: "hour".to_owned(), ..Key::default() },
        threshold_of(5, Duration::from_secs(60), Pace::Burst),
    );
    let limiter = limiter_of(
        2,
        vec![day(threshold(7, 1_000_000, Pace::Burst)), hour],
        LimiterContext::in_memory(Limits::calls(100)),
    );
    let start = clock::now();
    for second in [0, 0, 1, 1, 2, 60, 60] {
        assert_eq!((served(&limiter, FAR).await.unwrap() - start).as_secs(), second);
    }
    // The hour has free slots, the day has none.
    let day_is_used_up = Refused::Saturated { retry_after: ms(940_000), daily: true, position: None };
    assert_eq!(served(&limiter, ms(0)).await, Err(day_is_used_up));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_has_no_slot_takes_none_of_the_others() {
    let narrow = LimitSpec::own(Key { limit: "hour".to_owned(), ..Key::default() }, threshold(1, 60_000, Pace::Burst));
    let limiter =
        limiter_of(5, vec![day(threshold(9, 100_000, Pace::Burst)), narrow], LimiterContext::in_memory(Limits::NOBODY));
    served(&limiter, ms(0)).await.unwrap();
    for _ in 0..3 {
        assert!(served(&limiter, ms(0)).await.is_err());
    }
    let allowance = limiter.allowance();
    assert_eq!(
        (allowance.route.remaining, allowance.daily.unwrap().remaining),
        (0, 8),
        "the tightest of its own limits, and the day's"
    );
    tokio::time::advance(ms(60_000)).await;
    assert_eq!(limiter.allowance().daily.unwrap().remaining, 8);
    served(&limiter, ms(0)).await.unwrap();
}

fn kept_in(dir: &Path) -> (Arc<RouteLimiter>, Journal) {
    let opened = Store::open(dir).unwrap();
    let journal = Journal::keep(opened.store, Arc::new(Recovered::none()), Arc::new(())).unwrap();
    let backend = Arc::new(RecordedBackend::new(Arc::new(Recovered::none()), journal.clone()));
    let context = LimiterContext { backend, ..LimiterContext::in_memory(Limits::calls(10)) };
    let threshold = Threshold { lock: ms(300), ..threshold(5, 60_000, Pace::Burst) };
    (RouteLimiter::new(LimitSpec::own(Key::default(), threshold), Vec::new(), &[], context), journal)
}

/// What a process would find if it started now. Works on a copy, since only one process may use the directory.
fn found_in(dir: &Path) -> StartState {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    Store::open(copy.path()).unwrap().start_state
}

/// With a real clock: a paused clock would advance while the journal's thread works.
#[tokio::test]
async fn an_attempt_is_on_the_disk_when_it_is_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let (limiter, journal) = kept_in(dir.path());
    for grant in 1..=2 {
        let attempt = limiter.attempt(request(clock::now() + FAR, Arrival::New)).await.unwrap();
        let StartState::Kept(rows) = found_in(dir.path()) else { panic!("not kept") };
        assert_eq!(rows[&Key::default()].in_flight, grant);
        std::mem::forget(attempt);
    }
    journal.close().await;
}

#[tokio::test]
async fn no_call_is_sent_until_the_store_works_again() {
    let root = tempfile::tempdir().unwrap();
    let (dir, away) = (root.path().join("state"), root.path().join("away"));
    let (limiter, journal) = kept_in(&dir);
    let mut first = limiter.attempt(request(clock::now(), Arrival::New)).await.unwrap();
    first.sending().unwrap();
    first.answered(StatusCode::OK);
    first.locked(None);
    let mut probe = limiter.attempt(request(clock::now() + FAR, Arrival::New)).await.unwrap();

    // The open files would still work, but the end of the lock has to be written to a new file next to them.
    fs::rename(&dir, &away).unwrap();
    fs::write(&dir, "in the way").unwrap();
    probe.sending().unwrap();
    probe.answered(StatusCode::OK);
    probe.judged(true);
    let left = limiter.allowance().route.remaining;
    assert_eq!(limiter.attempt(request(clock::now() + FAR, Arrival::New)).await.err(), Some(Refused::Unrecorded));
    assert_eq!(limiter.allowance().route.remaining, left, "its slot is free again");
    assert!(matches!(journal.health(), Health::Failing(_)), "{:?}", journal.health());
    assert_eq!(served(&limiter, FAR).await, Err(Refused::Unrecorded), "at once from now on");

    fs::remove_file(&dir).unwrap();
    fs::rename(&away, &dir).unwrap();
    let again = async {
        while served(&limiter, FAR).await.is_err() {
            tokio::time::sleep(ms(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("it resumes by itself");
    assert_eq!(journal.health(), Health::Good);
    journal.close().await;
    drop(limiter);
    let StartState::Kept(rows) = Store::open(&dir).unwrap().start_state else { panic!("not kept") };
    assert_eq!(rows[&Key::default()].lock, None, "the complete state was written again");
}
