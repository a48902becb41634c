//! The room with a counting Zoho beyond the door.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::CacheLayer;
use crate::{
    body::Body,
    boxed::BoxFuture,
    call::{Call, Payload, tests},
    clock,
    refusal::{Cause, Refusal},
    telemetry::Metrics,
};

fn layer() -> CacheLayer {
    CacheLayer::new(1 << 20, Duration::from_secs(30), Duration::from_secs(60), Arc::new(Metrics::new()))
}

type Room = BoxCloneSyncService<Call, Response<Body>, Refusal>;

const GOOD: &str = r#"{"code":"200","sharedUsers":[]}"#;

/// A cache room before a Zoho that takes 100 ms and answers with the count of its calls in `X-Call`.
fn room(body: &'static str) -> (Room, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let zoho = service_fn(move |_: Call| {
        let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let answer: BoxFuture<_, _> = Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if body == "refused" {
                return Err(Refusal::from(Cause::ShuttingDown));
            }
            Ok(Response::builder().header("x-call", call).header("ratelimit", "x").body(Body::full(body)).unwrap())
        });
        answer
    });
    (BoxCloneSyncService::new(layer().layer(zoho)), calls)
}

fn call(method: Method, account: &str, target: &str, headers: &[(&'static str, &str)]) -> Call {
    let mut call = tests::call_of(account, target);
    Arc::make_mut(&mut call.subject.route).cache = Duration::from_secs(60);
    call.headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    Call { method, ..call }
}

fn get(target: &str, headers: &[(&'static str, &str)]) -> Call {
    call(Method::GET, "main", target, headers)
}

async fn ask(room: &Room, call: Call) -> Response<Body> {
    room.clone().oneshot(call).await.unwrap()
}

fn status(response: &Response<Body>) -> &str {
    response.headers()["cache-status"].to_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_repeated_read_is_answered_without_a_call() {
    let (room, calls) = room(GOOD);
    let first = ask(&room, get("/a?x=1", &[])).await;
    assert_eq!(status(&first), "zoho-gateway; fwd=uri-miss; stored");
    assert_eq!(first.headers()["ratelimit"], "x", "this one did spend a slot");
    tokio::time::advance(Duration::from_secs(10)).await;
    let second = ask(&room, get("/a?x=1", &[])).await;
    assert_eq!(status(&second), "zoho-gateway; hit; ttl=50");
    assert_eq!(second.headers()[header::AGE], "10");
    assert_eq!(second.headers()["x-call"], "1");
    assert!(!second.headers().contains_key("ratelimit"), "it speaks of the moment of the call");
    assert_eq!(second.into_body().collect().await.unwrap().to_bytes(), GOOD);
    tokio::time::advance(Duration::from_secs(50)).await;
    assert_eq!(status(&ask(&room, get("/a?x=1", &[])).await), "zoho-gateway; fwd=stale; stored");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn identical_reads_share_one_call() {
    let (room, calls) = room(GOOD);
    let reads: Vec<_> = (0..1000).map(|_| ask(&room, get("/a", &[]))).collect();
    for response in futures_util::future::join_all(reads).await {
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_shared_call_outlives_the_caller_who_started_it() {
    let (room, calls) = room(GOOD);
    let first = tokio::spawn({
        let room = room.clone();
        async move { ask(&room, get("/a", &[])).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    assert_eq!(ask(&room, get("/a", &[])).await.headers()["x-call"], "1");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_handed_to_all_and_not_kept() {
    let (room, calls) = room("refused");
    let began = clock::now();
    let reads: Vec<_> = (0..5).map(|_| room.clone().oneshot(get("/a", &[]))).collect();
    assert!(futures_util::future::join_all(reads).await.iter().all(Result::is_err));
    assert_eq!(calls.load(Ordering::SeqCst), 5);
    assert_eq!(clock::now() - began, Duration::from_millis(500), "each tried in its turn");
}

#[tokio::test(start_paused = true)]
async fn failures_inside_a_200_are_not_kept() {
    for body in [
        r#"{"response":{"errors":{"code":7024},"status":1}}"#,
        r#"{"error":[{"error_code":"x"}]}"#,
        r#"{"code":"NOT_FOUND"}"#,
        r#"{"status":"failure"}"#,
        "<html>",
    ] {
        let (room, calls) = room(body);
        for _ in 0..2 {
            assert_eq!(ask(&room, get("/a", &[])).await.into_body().collect().await.unwrap().to_bytes(), body);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_the_answer_makes_it_another_read() {
    let (room, calls) = room(GOOD);
    for call in [
        get("/a", &[]),
        get("/b", &[]),
        get("/a?x", &[]),
        get("/a", &[("accept", "application/json+large")]),
        get("/a", &[("accept-language", "de")]),
        call(Method::GET, "other", "/a", &[]),
    ] {
        ask(&room, call).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_visible_to_the_very_next_read() {
    let (room, calls) = room(GOOD);
    ask(&room, get("/a?startIndex=0", &[])).await;
    // On its way when the write begins: its answer may be from before.
    let early = tokio::spawn({
        let room = room.clone();
        async move { ask(&room, get("/a?startIndex=1", &[])).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Written in another way, by another login: the same thing at Zoho.
    ask(&room, call(Method::PUT, "other", "/%61", &[])).await;
    early.await.unwrap();
    for target in ["/a?startIndex=0", "/a?startIndex=1"] {
        assert!(!status(&ask(&room, get(target, &[])).await).contains("hit"), "{target}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn the_callers_directives_are_followed() {
    let (room, calls) = room(GOOD);
    let refused = room.clone().oneshot(get("/a", &[("cache-control", "only-if-cached")])).await.unwrap_err();
    assert!(matches!(*refused.cause, Cause::NotCached));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    ask(&room, get("/a", &[])).await;
    tokio::time::advance(Duration::from_secs(30)).await;
    for (directive, hit) in [
        ("max-age=30", true),
        ("min-fresh=30", true),
        ("only-if-cached", true),
        ("no-store", false),
        ("private, MAX-AGE=\"40\"", true),
        ("min-fresh=31", false),
    ] {
        let response = ask(&room, get("/a", &[("cache-control", directive)])).await;
        assert_eq!(status(&response).contains("hit"), hit, "{directive}");
        if directive == "min-fresh=31" {
            break; // It was kept anew.
        }
    }
    for directive in ["no-cache", "max-age=0"] {
        tokio::time::advance(Duration::from_secs(1)).await;
        let response = ask(&room, get("/a", &[("cache-control", directive)])).await;
        assert_eq!(status(&response), "zoho-gateway; fwd=request; stored", "{directive}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_with_a_body_is_not_kept() {
    let (room, calls) = room(GOOD);
    for _ in 0..2 {
        let bytes = bytes::Bytes::from_static(b"startIndex=1");
        ask(&room, Call { payload: Payload::Held { bytes, trailers: None }, ..get("/a", &[]) }).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_answer_is_a_304() {
    let (room, calls) = room(GOOD);
    let first = ask(&room, get("/a", &[])).await;
    let etag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    for (tag, expected) in [
        (etag.as_str(), StatusCode::NOT_MODIFIED),
        (&format!("\"x\", W/{etag}"), StatusCode::NOT_MODIFIED),
        ("*", StatusCode::NOT_MODIFIED),
        ("\"x\"", StatusCode::OK),
    ] {
        let response = ask(&room, get("/a", &[("if-none-match", tag)])).await;
        assert_eq!(response.status(), expected, "{tag}");
        assert_eq!(response.headers()[header::ETAG], etag.as_str());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_route_without_a_span_is_not_cached() {
    let (room, calls) = room(GOOD);
    for _ in 0..2 {
        let mut call = get("/a", &[]);
        let mut route = (*call.subject.route).clone();
        route.cache = Duration::ZERO;
        call.subject.route = Arc::new(route);
        assert!(!ask(&room, call).await.headers().contains_key("cache-status"));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

// === Flights ===

/// A Zoho that makes each call queue for `queued`, and then takes `takes`. It counts the calls that had a slot, and
/// answers those before number `good` with `failure`.
fn slow(queued: Duration, takes: Duration, good: usize, failure: fn() -> Cause) -> (Room, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let zoho = service_fn(move |call: Call| {
        let counted = Arc::clone(&counted);
        let answer: BoxFuture<_, _> = Box::pin(async move {
            call.departure.queues();
            if call.ready_at + Duration::from_secs(5) < clock::now() {
                return Err(Refusal::from(Cause::ThresholdSaturated { retry_after: takes, daily: false }));
            }
            tokio::time::sleep(queued).await;
            call.departure.departs();
            let number = counted.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(takes).await;
            match number < good {
                true => Err(failure().into()),
                false => Ok(Response::builder().header("x-call", number).body(Body::full(GOOD)).unwrap()),
            }
        });
        answer
    });
    (BoxCloneSyncService::new(layer().layer(zoho)), calls)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn silent() -> Cause {
    crate::upstream::Failure::timeout("people.zoho.com").cause
}

async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flight_with_a_slot_goes_on_without_anybody() {
    let (room, calls) = slow(seconds(1), seconds(2), 0, silent);
    let first = tokio::spawn(room.clone().oneshot(get("/a", &[])));
    tokio::time::sleep(seconds(2)).await;
    first.abort();
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(status(&ask(&room, get("/a", &[])).await), "zoho-gateway; hit; ttl=59");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_queues_for_nobody_is_given_up() {
    let (room, calls) = slow(seconds(3600), seconds(1), 0, silent);
    let readers = [(); 2].map(|()| tokio::spawn(room.clone().oneshot(get("/a", &[]))));
    settled().await;
    readers[0].abort();
    tokio::time::sleep(seconds(10)).await;
    readers[1].abort();
    settled().await;
    tokio::time::sleep(seconds(7200)).await;
    assert_eq!(calls.load(Ordering::SeqCst), 0, "it spent no slot");
    // And the next reader does not find its remains.
    let next = tokio::spawn(room.clone().oneshot(get("/a", &[("prefer", "wait=7200")])));
    tokio::time::sleep(seconds(3602)).await;
    assert_eq!(next.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn who_waits_shorter_than_the_one_who_started_is_told_in_time() {
    let (room, calls) = slow(seconds(3600), seconds(1), 0, silent);
    let first = tokio::spawn(room.clone().oneshot(get("/a", &[("prefer", "wait=7200")])));
    settled().await;
    let began = clock::now();
    let refusal = room.clone().oneshot(get("/a", &[("prefer", "wait=6")])).await.unwrap_err();
    assert!(matches!(*refusal.cause, Cause::ThresholdSaturated { .. }));
    assert_eq!(clock::now() - began, seconds(6));
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_for_a_slot_waits_for_the_answer_of_a_call_that_has_one() {
    let (room, calls) = slow(Duration::ZERO, seconds(20), 0, silent);
    let first = tokio::spawn(room.clone().oneshot(get("/a", &[])));
    settled().await;
    let hasty = ask(&room, get("/a", &[("prefer", "wait=0")])).await;
    assert_eq!(status(&hasty), "zoho-gateway; fwd=uri-miss; collapsed");
    first.await.unwrap().unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_follows_for_longer_than_a_call_may_take() {
    // Every call takes 40 of the 60 seconds that an answer may take, and fails.
    let (room, calls) = slow(Duration::ZERO, seconds(40), usize::MAX, silent);
    let reads: Vec<_> = (0..50).map(|_| room.clone().oneshot(get("/a", &[("prefer", "wait=1")]))).collect();
    let began = clock::now();
    for outcome in futures_util::future::join_all(reads).await {
        assert!(matches!(*outcome.unwrap_err().cause, Cause::UpstreamTimeout(_) | Cause::ThresholdSaturated { .. }));
    }
    assert!(clock::now() - began <= seconds(61 + 40));
    assert!(calls.load(Ordering::SeqCst) <= 2, "one at a time");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_one_of_the_others_tries() {
    let (room, calls) = slow(Duration::ZERO, seconds(1), 1, silent);
    let reads: Vec<_> = (0..1000).map(|_| room.clone().oneshot(get("/a", &[]))).collect();
    let outcomes = futures_util::future::join_all(reads).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1, "the failure of one");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn however_many_share_a_failing_call_one_tries_at_a_time() {
    let (room, calls) = room("refused");
    let began = clock::now();
    let reads = (0..500).map(|_| tokio::spawn(room.clone().oneshot(get("/a", &[("prefer", "wait=3600")]))));
    for outcome in futures_util::future::join_all(reads.collect::<Vec<_>>()).await {
        assert!(outcome.unwrap().is_err());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 500);
    assert_eq!(clock::now() - began, Duration::from_millis(100) * 500);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_breaks_leaves_nobody_hanging() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let zoho = service_fn(move |_: Call| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        let answer: BoxFuture<_, _> = Box::pin(async move {
            tokio::time::sleep(seconds(1)).await;
            assert!(number > 0, "the first one breaks");
            Ok(Response::new(Body::full(GOOD)))
        });
        answer
    });
    let room: Room = BoxCloneSyncService::new(layer().layer(zoho));
    let reads: Vec<_> = (0..3).map(|_| room.clone().oneshot(get("/a", &[]))).collect();
    let outcomes = futures_util::future::join_all(reads).await;
    let broken: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(matches!(broken.as_slice(), [refusal] if matches!(*refusal.cause, Cause::Internal)));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_shared_keeps_nobody_waiting_in_line() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let zoho = service_fn(move |_: Call| {
        counted.fetch_add(1, Ordering::SeqCst);
        let answer: BoxFuture<_, _> = Box::pin(async move {
            tokio::time::sleep(seconds(1)).await;
            Ok(Response::builder().header("vary", "*").body(Body::full(GOOD)).unwrap())
        });
        answer
    });
    let room: Room = BoxCloneSyncService::new(layer().layer(zoho));
    let began = clock::now();
    let reads: Vec<_> = (0..100).map(|_| ask(&room, get("/a", &[]))).collect();
    futures_util::future::join_all(reads).await;
    assert_eq!(calls.load(Ordering::SeqCst), 100);
    assert_eq!(clock::now() - began, seconds(2));
}

#[tokio::test(start_paused = true)]
async fn who_wants_an_own_answer_does_not_share_an_earlier_call() {
    let (room, calls) = room(GOOD);
    let first = tokio::spawn(room.clone().oneshot(get("/a", &[])));
    tokio::time::sleep(Duration::from_millis(50)).await;
    for directive in ["no-cache", "max-age=0", "min-fresh=61"] {
        ask(&room, get("/a", &[("cache-control", directive)])).await;
    }
    first.await.unwrap().unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

// === Stale answers ===

#[tokio::test(start_paused = true)]
async fn in_an_outage_a_stale_answer_costs_one_attempt_for_all() {
    let grace = |mut call: Call| {
        Arc::make_mut(&mut call.subject.route).stale_if_error = seconds(600);
        call
    };
    let failing = Arc::new(AtomicUsize::new(0));
    let (now, calls) = (Arc::clone(&failing), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    let zoho = service_fn(move |call: Call| {
        counted.fetch_add(1, Ordering::SeqCst);
        let failing = now.load(Ordering::SeqCst) == 1;
        let answer: BoxFuture<_, _> = Box::pin(async move {
            call.departure.departs();
            tokio::time::sleep(seconds(1)).await;
            if failing { Err(silent().into()) } else { Ok(Response::new(Body::full(GOOD))) }
        });
        answer
    });
    let room: Room = BoxCloneSyncService::new(layer().layer(zoho));
    ask(&room, grace(get("/a", &[]))).await;
    failing.store(1, Ordering::SeqCst);
    tokio::time::advance(seconds(100)).await;
    let reads: Vec<_> = (0..1000).map(|_| ask(&room, grace(get("/a", &[])))).collect();
    for response in futures_util::future::join_all(reads).await {
        assert!(status(&response).contains("detail=stale-if-error"), "{response:?}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    // A write is not excused, and what was kept before it excuses nothing any more.
    assert!(room.clone().oneshot(grace(call(Method::PUT, "main", "/a", &[]))).await.is_err());
    assert!(room.clone().oneshot(grace(get("/a", &[]))).await.is_err());
}

// === Writes ===

/// A Zoho whose writes end as told.
fn writing(outcome: fn() -> Result<StatusCode, Cause>) -> Room {
    let zoho = service_fn(move |call: Call| {
        let outcome = if call.method == Method::GET { Ok(StatusCode::OK) } else { outcome() };
        let answer = outcome
            .map_err(Refusal::from)
            .map(|status| Response::builder().status(status).body(Body::full(GOOD)).unwrap());
        let answer: BoxFuture<_, _> = Box::pin(std::future::ready(answer));
        answer
    });
    BoxCloneSyncService::new(layer().layer(zoho))
}

#[tokio::test(start_paused = true)]
async fn what_a_write_may_have_changed_is_not_served() {
    type Outcome = fn() -> Result<StatusCode, Cause>;
    let outcomes: [(Outcome, bool); 9] = [
        (|| Ok(StatusCode::OK), true),
        (|| Ok(StatusCode::FOUND), true),
        (|| Ok(StatusCode::UNPROCESSABLE_ENTITY), true),
        (|| Ok(StatusCode::BAD_GATEWAY), true),
        (|| Err(silent()), true),
        (|| Err(Cause::Internal), true),
        (|| Err(Cause::ThresholdLocked { retry_after: seconds(1) }), false),
        (|| Err(Cause::StateUnavailable), false),
        (|| Err(Cause::TokenThrottled { retry_after: seconds(1) }), false),
    ];
    for (number, (outcome, changes)) in outcomes.into_iter().enumerate() {
        let room = writing(outcome);
        ask(&room, get("/a", &[])).await;
        let _ = room.clone().oneshot(call(Method::PUT, "main", "/a", &[])).await;
        let again = ask(&room, get("/a", &[])).await;
        assert_eq!(!status(&again).contains("hit"), changes, "outcome {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_outcome_may_be_executed_later() {
    let room = writing(|| Err(silent()));
    let _ = room.clone().oneshot(call(Method::PUT, "main", "/a", &[])).await;
    for _ in 0..3 {
        let answer = ask(&room, get("/a", &[])).await;
        assert!(!status(&answer).contains("hit"), "nothing is kept while Zoho may still execute it");
        tokio::time::advance(seconds(19)).await;
    }
    tokio::time::advance(seconds(4)).await;
    assert!(!status(&ask(&room, get("/a", &[])).await).contains("hit"));
    assert!(status(&ask(&room, get("/a", &[])).await).contains("hit"), "after 60 s it is over");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_on_its_write_has_written() {
    let (room, calls) = room(GOOD);
    ask(&room, get("/a", &[])).await;
    let write = tokio::spawn(room.clone().oneshot(call(Method::DELETE, "main", "/a", &[])));
    tokio::time::sleep(Duration::from_millis(50)).await;
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    assert!(!status(&ask(&room, get("/a", &[])).await).contains("hit"));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn both_roots_of_people_and_every_spelling_are_one_resource() {
    for (read, write) in [
        ("/api/v1/courses/1/share", "/people/api/v1/courses/1/share"),
        ("/people/api/v1/courses/1/share?a=1", "/api/v1/courses/1/share"),
        ("/api/v1/courses/1/share", "/api/v1/c%6Furses/1/share/"),
    ] {
        let room = writing(|| Ok(StatusCode::OK));
        ask(&room, get(read, &[])).await;
        ask(&room, call(Method::PUT, "main", write, &[])).await;
        assert!(!status(&ask(&room, get(read, &[])).await).contains("hit"), "{read} {write}");
    }
}

// === The bound ===

#[tokio::test(start_paused = true)]
async fn no_more_is_kept_than_the_bound_allows() {
    let body: &'static str = Box::leak(format!(r#"{{"code":"200","x":"{}"}}"#, "x".repeat(100_000)).into_boxed_str());
    let (room, calls) = room(body);
    for number in 0..40 {
        ask(&room, get(&format!("/a?{number}"), &[])).await;
    }
    let before = calls.load(Ordering::SeqCst);
    let mut kept = 0;
    for number in 0..40 {
        let read = get(&format!("/a?{number}"), &[("cache-control", "only-if-cached")]);
        kept += usize::from(room.clone().oneshot(read).await.is_ok());
    }
    assert!((1..=10).contains(&kept), "{kept} of 100 kB in 1 MiB");
    assert_eq!(calls.load(Ordering::SeqCst), before);
}
