//! The cache in front of a Zoho that counts its calls.

mod shared_calls;
mod writes;

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

use super::{Cache, LinkedRead};
use crate::{
    call::{Call, Payload, tests},
    message::body::Body,
    middleware::layer::{BoxFuture, MiddlewareLayer},
    os::clock,
    problem::{Cause, Refusal},
    telemetry::Metrics,
    zoho::catalogue::{Catalogue, Stale},
};

fn layer() -> MiddlewareLayer<Cache> {
    let catalogue = Catalogue::published().unwrap();
    let reads = ["people.forms.get-records", "people.lms.get-shared-users"];
    let reads = reads.map(|id| LinkedRead::from(catalogue.find(id).unwrap())).into();
    Cache::new(1 << 20, Duration::from_secs(60), reads, None, Arc::new(Metrics::new())).layer()
}

type Service = BoxCloneSyncService<Call, Response<Body>, Refusal>;

const GOOD: &str = r#"{"code":"200","sharedUsers":[]}"#;

/// A cache in front of a Zoho that takes 100 ms and gives the number of the call in `X-Call`.
fn cache(body: &'static str) -> (Service, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let zoho = service_fn(move |Call { attempt_log, .. }: Call| {
        let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
        attempt_log.sends();
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
    let route = Arc::make_mut(&mut call.context.route);
    (route.cache, route.methods, route.reads) = (Duration::from_secs(60), Vec::new(), true);
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    tests::with_headers(tests::with_method(call, method), headers)
}

fn get(target: &str, headers: &[(&'static str, &str)]) -> Call {
    call(Method::GET, "main", target, headers)
}

async fn ask(cache: &Service, call: Call) -> Response<Body> {
    cache.clone().oneshot(call).await.unwrap()
}

fn status(response: &Response<Body>) -> &str {
    response.headers()["cache-status"].to_str().unwrap()
}

fn silent() -> Cause {
    crate::upstream::Failure::timeout("people.zoho.com").cause
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_repeated_read_is_answered_without_a_call() {
    let (cache, calls) = cache(GOOD);
    let first = ask(&cache, get("/a?x=1", &[])).await;
    assert_eq!(status(&first), "zoho-gateway; fwd=uri-miss; stored");
    assert_eq!(first.headers()["ratelimit"], "x", "this call used a slot");
    tokio::time::advance(Duration::from_secs(10)).await;
    let second = ask(&cache, get("/a?x=1", &[])).await;
    assert_eq!(status(&second), "zoho-gateway; hit; ttl=50");
    assert_eq!(second.headers()[header::AGE], "10");
    assert_eq!(second.headers()["x-call"], "1");
    assert!(!second.headers().contains_key("ratelimit"), "it describes the time of the call");
    assert_eq!(second.into_body().collect().await.unwrap().to_bytes(), GOOD);
    tokio::time::advance(Duration::from_secs(50)).await;
    assert_eq!(status(&ask(&cache, get("/a?x=1", &[])).await), "zoho-gateway; fwd=stale; stored");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// `Cache-Status` says `stored` only if later reads can have the answer (RFC 9211 section 2.5).
#[tokio::test(start_paused = true)]
async fn an_answer_too_large_for_the_store_is_not_called_stored() {
    let small = Cache::new(100, Duration::from_secs(60), [].into(), None, Arc::new(Metrics::new())).layer();
    let zoho = service_fn(|_: Call| {
        let answer: BoxFuture<_, _> = Box::pin(async { Ok(Response::new(Body::full(GOOD))) });
        answer
    });
    let cache: Service = BoxCloneSyncService::new(small.layer(zoho));
    for _ in 0..2 {
        assert_eq!(status(&ask(&cache, get("/a", &[])).await), "zoho-gateway; fwd=uri-miss");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_write_is_not_called_stored() {
    let (cache, _) = cache(GOOD);
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { ask(&cache, get("/a", &[])).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let write = tokio::spawn(cache.clone().oneshot(call(Method::PUT, "main", "/a", &[])));
    tokio::time::sleep(Duration::from_millis(10)).await;
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    assert_eq!(status(&read.await.unwrap()), "zoho-gateway; fwd=uri-miss");
    assert_eq!(
        status(&ask(&cache, get("/a", &[])).await),
        "zoho-gateway; fwd=uri-miss",
        "Zoho may still execute the write"
    );
    tokio::time::advance(seconds(61)).await;
    assert_eq!(status(&ask(&cache, get("/a", &[])).await), "zoho-gateway; fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn identical_reads_share_one_call() {
    let (cache, calls) = cache(GOOD);
    let reads: Vec<_> = (0..1000).map(|_| ask(&cache, get("/a", &[]))).collect();
    for response in futures_util::future::join_all(reads).await {
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shared_call_continues_when_its_caller_leaves() {
    let (cache, calls) = cache(GOOD);
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { ask(&cache, get("/a", &[])).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    assert_eq!(ask(&cache, get("/a", &[])).await.headers()["x-call"], "1");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_neither_shared_nor_stored() {
    let (cache, calls) = cache("refused");
    let began = clock::now();
    let reads: Vec<_> = (0..5).map(|_| cache.clone().oneshot(get("/a", &[]))).collect();
    assert!(futures_util::future::join_all(reads).await.iter().all(Result::is_err));
    assert_eq!(calls.load(Ordering::SeqCst), 5);
    assert_eq!(clock::now() - began, Duration::from_millis(500), "one call after the other");
}

#[tokio::test(start_paused = true)]
async fn failures_inside_a_200_are_not_stored() {
    for body in [
        r#"{"response":{"errors":{"code":7024},"status":1}}"#,
        r#"{"error":[{"error_code":"x"}]}"#,
        r#"{"code":"NOT_FOUND"}"#,
        r#"{"status":"failure"}"#,
        "<html>",
    ] {
        let (cache, calls) = cache(body);
        for _ in 0..2 {
            assert_eq!(ask(&cache, get("/a", &[])).await.into_body().collect().await.unwrap().to_bytes(), body);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_may_change_the_answer_is_part_of_the_key() {
    let (cache, calls) = cache(GOOD);
    for call in [
        get("/a", &[]),
        get("/b", &[]),
        get("/a?x", &[]),
        get("/a", &[("accept", "application/json+large")]),
        get("/a", &[("accept-language", "de")]),
        call(Method::GET, "other", "/a", &[]),
    ] {
        ask(&cache, call).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_visible_to_the_very_next_read() {
    let (cache, calls) = cache(GOOD);
    ask(&cache, get("/a?startIndex=0", &[])).await;
    // In progress when the write begins, so its answer may be from before the write.
    let early = tokio::spawn({
        let cache = cache.clone();
        async move { ask(&cache, get("/a?startIndex=1", &[])).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Another spelling and another login, but the same resource at Zoho.
    ask(&cache, call(Method::PUT, "other", "/%61", &[])).await;
    early.await.unwrap();
    for target in ["/a?startIndex=0", "/a?startIndex=1"] {
        assert!(!status(&ask(&cache, get(target, &[])).await).contains("hit"), "{target}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn the_callers_directives_are_obeyed() {
    let (cache, calls) = cache(GOOD);
    let refused = cache.clone().oneshot(get("/a", &[("cache-control", "only-if-cached")])).await.unwrap_err();
    assert!(matches!(*refused.cause, Cause::NotCached));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    ask(&cache, get("/a", &[])).await;
    tokio::time::advance(Duration::from_secs(30)).await;
    for (directive, hit) in [
        ("max-age=30", true),
        ("min-fresh=30", true),
        ("only-if-cached", true),
        ("no-store", false),
        ("private, MAX-AGE=\"40\"", true),
        ("min-fresh=31", false),
    ] {
        let response = ask(&cache, get("/a", &[("cache-control", directive)])).await;
        assert_eq!(status(&response).contains("hit"), hit, "{directive}");
        if directive == "min-fresh=31" {
            break; // The new answer was stored.
        }
    }
    for directive in ["no-cache", "max-age=0"] {
        tokio::time::advance(Duration::from_secs(1)).await;
        let response = ask(&cache, get("/a", &[("cache-control", directive)])).await;
        assert_eq!(status(&response), "zoho-gateway; fwd=request; stored", "{directive}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_with_a_body_is_not_stored() {
    let (cache, calls) = cache(GOOD);
    for _ in 0..2 {
        let bytes = bytes::Bytes::from_static(b"startIndex=1");
        ask(&cache, tests::with_payload(get("/a", &[]), Payload::Held { bytes, trailers: None })).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_answer_is_a_304() {
    let (cache, calls) = cache(GOOD);
    let first = ask(&cache, get("/a", &[])).await;
    let etag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    for (tag, expected) in [
        (etag.as_str(), StatusCode::NOT_MODIFIED),
        (&format!("\"x\", W/{etag}"), StatusCode::NOT_MODIFIED),
        ("*", StatusCode::NOT_MODIFIED),
        ("\"x\"", StatusCode::OK),
    ] {
        let response = ask(&cache, get("/a", &[("if-none-match", tag)])).await;
        assert_eq!(response.status(), expected, "{tag}");
        assert_eq!(response.headers()[header::ETAG], etag.as_str());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_route_without_a_lifetime_is_not_cached() {
    let (cache, calls) = cache(GOOD);
    for _ in 0..2 {
        let mut call = get("/a", &[]);
        let mut route = (*call.context.route).clone();
        route.cache = Duration::ZERO;
        call.context.route = Arc::new(route);
        assert!(!ask(&cache, call).await.headers().contains_key("cache-status"));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

// === Stale answers ===

#[tokio::test(start_paused = true)]
async fn in_an_outage_all_reads_share_one_attempt() {
    let grace = |mut call: Call| {
        Arc::make_mut(&mut call.context.route).stale_if_error = seconds(600);
        call
    };
    let failing = Arc::new(AtomicUsize::new(0));
    let (now, calls) = (Arc::clone(&failing), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    let zoho = service_fn(move |call: Call| {
        counted.fetch_add(1, Ordering::SeqCst);
        let failing = now.load(Ordering::SeqCst) == 1;
        let answer: BoxFuture<_, _> = Box::pin(async move {
            call.queue_status.leaves();
            call.attempt_log.sends();
            tokio::time::sleep(seconds(1)).await;
            if failing { Err(silent().into()) } else { Ok(Response::new(Body::full(GOOD))) }
        });
        answer
    });
    let cache: Service = BoxCloneSyncService::new(layer().layer(zoho));
    ask(&cache, grace(get("/a", &[]))).await;
    failing.store(1, Ordering::SeqCst);
    tokio::time::advance(seconds(100)).await;
    let reads: Vec<_> = (0..1000).map(|_| ask(&cache, grace(get("/a", &[])))).collect();
    for response in futures_util::future::join_all(reads).await {
        assert!(status(&response).contains("detail=stale-if-error"), "{response:?}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    // A write gets no stale answer, and after it no earlier answer is served.
    assert!(cache.clone().oneshot(grace(call(Method::PUT, "main", "/a", &[]))).await.is_err());
    assert!(cache.clone().oneshot(grace(get("/a", &[]))).await.is_err());
}

// === The bound ===

#[tokio::test(start_paused = true)]
async fn the_store_stays_within_its_bound() {
    let body: &'static str = Box::leak(format!(r#"{{"code":"200","x":"{}"}}"#, "x".repeat(100_000)).into_boxed_str());
    let (cache, calls) = cache(body);
    for number in 0..40 {
        ask(&cache, get(&format!("/a?{number}"), &[])).await;
    }
    let before = calls.load(Ordering::SeqCst);
    let mut kept = 0;
    for number in 0..40 {
        let read = get(&format!("/a?{number}"), &[("cache-control", "only-if-cached")]);
        kept += usize::from(cache.clone().oneshot(read).await.is_ok());
    }
    assert!((1..=10).contains(&kept), "{kept} of 100 kB in 1 MiB");
    assert_eq!(calls.load(Ordering::SeqCst), before);
}
