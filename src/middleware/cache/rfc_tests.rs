//! The rules of RFC 9111, 9110, 9211 and 5861, case by case.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::Cache;
use crate::{
    call::{Call, tests},
    message::body::Body,
    middleware::layer::BoxFuture,
    problem::{Cause, Refusal, ScopeEvidence},
    telemetry::Metrics,
};

/// Answers are fresh for a minute, and usable for an hour more when Zoho cannot answer.
const FRESH: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(3600);

const BODY: &str = r#"{"code":"200","sharedUsers":[]}"#;
const MODIFIED: &str = "Sun, 22 Nov 2026 10:00:00 GMT";

/// The state of Zoho at the second read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zoho {
    Up,
    /// The route is locked.
    Locked,
    /// It does not answer in time.
    Silent,
    /// It answers 503.
    Down,
    /// It answers 404.
    Without,
    /// The account lacks a scope.
    Scopeless,
}

/// One case: a first read, some time, and a second read.
struct Case {
    /// The fields of the first answer.
    answer: &'static [(&'static str, &'static str)],
    /// The fields of the first read.
    first: &'static [(&'static str, &'static str)],
    /// Seconds in between.
    age: u64,
    zoho: Zoho,
    method: Method,
    /// The fields of the second read.
    second: &'static [(&'static str, &'static str)],
    status: u16,
    /// `Cache-Status` of the second answer, after "zoho-gateway; "; of a rejection, the problem's name.
    told: &'static str,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            answer: &[("etag", "\"v1\""), ("last-modified", MODIFIED)],
            first: &[],
            age: 10,
            zoho: Zoho::Up,
            method: Method::GET,
            second: &[],
            status: 200,
            told: "hit; ttl=50",
        }
    }
}

macro_rules! case {
    ($($field:ident: $value:expr),* $(,)?) => { Case { $($field: $value,)* ..Case::default() } };
}

fn cases() -> Vec<Case> {
    use Zoho::{Down, Locked, Scopeless, Silent, Without};
    vec![
        // Freshness (RFC 9111 section 4.2): the operator's lifetime, whatever Zoho says.
        case! {},
        case! { age: 0, told: "hit; ttl=60" },
        case! { age: 59, told: "hit; ttl=1" },
        case! { age: 60, told: "fwd=stale; stored" },
        case! { age: 600, told: "fwd=stale; stored" },
        case! { age: 3660, told: "fwd=stale; stored" },
        case! { answer: &[("cache-control", "no-store")] },
        case! { answer: &[("cache-control", "private, max-age=0, must-revalidate")] },
        case! { answer: &[("expires", "0")] },
        // An answer that was old at its arrival (section 4.2.3).
        case! { answer: &[("age", "20")], told: "hit; ttl=30" },
        case! { answer: &[("age", "50")], told: "fwd=stale; stored" },
        // no-cache (section 5.2.1.4), and Pragma without Cache-Control (section 5.4).
        case! { second: &[("cache-control", "no-cache")], told: "fwd=request; stored" },
        case! { second: &[("cache-control", "NO-CACHE")], told: "fwd=request; stored" },
        case! { second: &[("cache-control", "no-cache")], age: 70, told: "fwd=stale; stored" },
        case! { second: &[("pragma", "no-cache")], told: "fwd=request; stored" },
        case! { second: &[("pragma", "no-cache"), ("cache-control", "max-age=30")] },
        case! { second: &[("cache-control", "x=\"no-cache\"")] },
        // no-store (section 5.2.1.5).
        case! { second: &[("cache-control", "no-store")], told: "fwd=bypass" },
        case! { first: &[("cache-control", "no-store")], told: "fwd=uri-miss; stored" },
        // max-age (section 5.2.1.1).
        case! { second: &[("cache-control", "max-age=10")] },
        case! { second: &[("cache-control", "max-age=\"10\"")] },
        case! { second: &[("cache-control", "max-age=9")], told: "fwd=request; stored" },
        case! { second: &[("cache-control", "max-age=0")], told: "fwd=request; stored" },
        case! { second: &[("cache-control", "max-age=soon")], told: "fwd=request; stored" },
        case! { second: &[("cache-control", "max-age=99999999999999999999")] },
        case! { second: &[("cache-control", "max-age=100")], age: 70, told: "fwd=stale; stored" },
        // min-fresh (section 5.2.1.3).
        case! { second: &[("cache-control", "min-fresh=50")] },
        case! { second: &[("cache-control", "min-fresh=51")], told: "fwd=request; stored" },
        case! { second: &[("cache-control", "min-fresh")], told: "fwd=request; stored" },
        // max-stale (section 5.2.1.2).
        case! { second: &[("cache-control", "max-stale")], age: 600, told: "hit; ttl=-540" },
        case! { second: &[("cache-control", "max-stale=30")], age: 90, told: "hit; ttl=-30" },
        case! { second: &[("cache-control", "max-stale=30")], age: 91, told: "fwd=stale; stored" },
        case! { second: &[("cache-control", "max-stale=30, max-stale=10")], age: 80, told: "fwd=stale; stored" },
        case! { second: &[("cache-control", "max-stale, no-cache")], age: 90, told: "fwd=stale; stored" },
        case! { second: &[("cache-control", "max-stale, min-fresh=1")], age: 90, told: "fwd=stale; stored" },
        case! { second: &[("cache-control", "max-age=5, max-stale=5")] },
        case! { second: &[("cache-control", "max-age=5, max-stale=4")], told: "fwd=request; stored" },
        case! { second: &[("cache-control", "max-stale")], age: 3660, told: "fwd=stale; stored" },
        // only-if-cached (section 5.2.1.7).
        case! { second: &[("cache-control", "only-if-cached")] },
        case! { second: &[("cache-control", "only-if-cached")], age: 60, status: 504, told: "not-cached" },
        case! { second: &[("cache-control", "only-if-cached, max-stale")], age: 60, told: "hit; ttl=0" },
        case! { second: &[("cache-control", "only-if-cached, no-cache")], status: 504, told: "not-cached" },
        case! { second: &[("cache-control", "only-if-cached, no-store")], status: 504, told: "not-cached" },
        case! { second: &[("cache-control", "only-if-cached"), ("range", "bytes=0-1")], status: 504, told: "not-cached" },
        // Conditions (RFC 9110 section 13, RFC 9111 section 4.3.2).
        case! { second: &[("if-none-match", "\"v1\"")], status: 304 },
        case! { second: &[("if-none-match", "W/\"v1\"")], status: 304 },
        case! { second: &[("if-none-match", "\"v0\", \"v1\"")], status: 304 },
        case! { second: &[("if-none-match", "\"v0\""), ("if-none-match", "\"v1\"")], status: 304 },
        case! { second: &[("if-none-match", "*")], status: 304 },
        case! { second: &[("if-none-match", "\"v0\"")] },
        case! { second: &[("if-none-match", "v1")] },
        case! { second: &[("if-none-match", "W/W/\"v1\"")] },
        case! { second: &[("if-none-match", "\"v0, \"v1\"")] },
        case! { answer: &[("etag", "W/\"v1\"")], second: &[("if-none-match", "\"v1\"")], status: 304 },
        case! { answer: &[("etag", "\"a,b\\\"")], second: &[("if-none-match", "\"x\\\", \"a,b\\\"")], status: 304 },
        case! { second: &[("if-none-match", "\"v1\"")], age: 60, status: 304, told: "fwd=stale; stored" },
        case! { second: &[("if-modified-since", MODIFIED)], status: 304 },
        case! { second: &[("if-modified-since", "Sun, 22 Nov 2026 11:00:00 GMT")], status: 304 },
        case! { second: &[("if-modified-since", "Sun, 22 Nov 2026 09:59:59 GMT")] },
        case! { second: &[("if-modified-since", "yesterday")] },
        case! { second: &[("if-modified-since", MODIFIED), ("if-none-match", "\"v0\"")] },
        case! { answer: &[], second: &[("if-modified-since", MODIFIED)] },
        case! { second: &[("if-match", "\"v1\"")], told: "fwd=bypass" },
        case! { second: &[("if-unmodified-since", MODIFIED)], told: "fwd=bypass" },
        // A part is never served or stored (section 3.3).
        case! { second: &[("range", "bytes=0-1")], told: "fwd=bypass" },
        case! { first: &[("range", "bytes=0-1")], told: "fwd=uri-miss; stored" },
        // Vary (section 4.1).
        case! { answer: &[("vary", "*")], told: "fwd=uri-miss" },
        case! { answer: &[("vary", "X-Zone")], told: "hit; ttl=50" },
        case! { answer: &[("vary", "X-Zone")], second: &[("x-zone", "1")], told: "fwd=vary-miss; stored" },
        case! { answer: &[("vary", "X-Zone")], first: &[("x-zone", "1")], second: &[("x-zone", "1")] },
        case! { answer: &[("vary", "X-Zone, *")], told: "fwd=uri-miss" },
        case! { answer: &[("vary", "Accept-Encoding, Authorization, Cookie")], second: &[("accept-encoding", "gzip"), ("cookie", "a=1")] },
        case! { second: &[("accept", "application/json+large")], told: "fwd=uri-miss; stored" },
        case! { second: &[("authorization", "Bearer another-key")] },
        // Compressed although compression was not requested.
        case! { answer: &[("content-encoding", "gzip")], told: "fwd=uri-miss" },
        // HEAD (section 4, RFC 9110 section 9.3.2).
        case! { method: Method::HEAD },
        case! { method: Method::HEAD, second: &[("if-none-match", "\"v1\"")], status: 304 },
        case! { method: Method::HEAD, age: 60, told: "fwd=stale" },
        // Caches nearer to Zoho come first (RFC 9211 section 2).
        case! { answer: &[("cache-status", "edge; hit")], told: "hit; ttl=50" },
        // Zoho cannot answer (section 4.2.4, RFC 5861 section 4).
        case! { zoho: Locked },
        case! { zoho: Locked, age: 70, told: "hit; ttl=-10; detail=stale-if-error" },
        case! { zoho: Silent, age: 70, told: "fwd=stale; ttl=-10; detail=stale-if-error" },
        case! { zoho: Down, age: 70, told: "fwd=stale; fwd-status=503; ttl=-10; detail=stale-if-error" },
        case! { zoho: Down, method: Method::HEAD, age: 70, told: "fwd=stale; fwd-status=503; ttl=-10; detail=stale-if-error" },
        case! { zoho: Locked, age: 3659, told: "hit; ttl=-3599; detail=stale-if-error" },
        case! { zoho: Locked, age: 3660, status: 429, told: "threshold-locked" },
        case! { zoho: Down, age: 3660, status: 503, told: "fwd=stale" },
        case! { zoho: Without, age: 70, status: 404, told: "fwd=stale" },
        case! { zoho: Scopeless, age: 70, status: 403, told: "scope-missing" },
        case! { zoho: Locked, age: 70, second: &[("if-none-match", "\"v1\"")], status: 304, told: "hit; ttl=-10; detail=stale-if-error" },
        case! { zoho: Locked, age: 70, second: &[("cache-control", "no-cache")], status: 429, told: "threshold-locked" },
        case! { zoho: Locked, second: &[("cache-control", "no-cache")], status: 429, told: "threshold-locked" },
        case! { zoho: Locked, age: 70, second: &[("pragma", "no-cache")], status: 429, told: "threshold-locked" },
        case! { zoho: Locked, age: 70, second: &[("cache-control", "no-store")], status: 429, told: "threshold-locked" },
        case! { zoho: Locked, age: 70, second: &[("cache-control", "max-age=100")], status: 429, told: "threshold-locked" },
        case! { zoho: Locked, age: 70, second: &[("cache-control", "min-fresh=1")], status: 429, told: "threshold-locked" },
        case! { zoho: Locked, age: 70, second: &[("cache-control", "max-stale=9")], status: 429, told: "threshold-locked" },
        case! { zoho: Locked, age: 70, second: &[("cache-control", "max-stale=10")], told: "hit; ttl=-10" },
        case! { zoho: Locked, age: 70, second: &[("cache-control", "stale-if-error=10")], told: "hit; ttl=-10; detail=stale-if-error" },
        case! { zoho: Locked, age: 70, second: &[("cache-control", "stale-if-error=9")], status: 429, told: "threshold-locked" },
        case! { zoho: Locked, age: 70, second: &[("range", "bytes=0-1")], status: 429, told: "threshold-locked" },
        case! { zoho: Locked, age: 70, answer: &[("vary", "X-Zone")], second: &[("x-zone", "1")], status: 429, told: "threshold-locked" },
        case! { zoho: Locked, age: 70, answer: &[("cache-control", "must-revalidate")], told: "hit; ttl=-10; detail=stale-if-error" },
    ]
}

#[tokio::test(start_paused = true)]
async fn follows_the_rfcs() {
    let cases = cases();
    assert!(cases.len() >= 100, "{}", cases.len());
    for (number, case) in cases.into_iter().enumerate() {
        let Case { answer, first, age, zoho, ref method, second, status, told } = case;
        let name = format!("case {number}: {answer:?} {first:?} {age} s {zoho:?} {method} {second:?}");
        let (cache, state, calls) = cache(answer);
        cache.clone().oneshot(call(Method::GET, first)).await.unwrap();
        tokio::time::advance(Duration::from_secs(age)).await;
        state.store(zoho as u8, Ordering::SeqCst);
        let before = calls.load(Ordering::SeqCst);
        let outcome = cache.oneshot(call(method.clone(), second)).await;
        let asked = calls.load(Ordering::SeqCst) - before;
        let response = match outcome {
            Ok(response) => response,
            Err(refusal) => {
                assert_eq!(crate::problem::respond::name(&refusal.cause), told, "{name}");
                assert_eq!(crate::problem::respond::respond(&refusal, "").status(), status, "{name}");
                continue;
            }
        };
        assert_eq!(response.status(), status, "{name}");
        let statuses = response.headers().get_all("cache-status").iter();
        let statuses: Vec<_> = statuses.map(|status| status.to_str().unwrap()).collect();
        assert_eq!(statuses.last(), Some(&format!("zoho-gateway; {told}").as_str()), "{name}");
        assert_eq!(statuses.len(), 1 + usize::from(answer.contains(&("cache-status", "edge; hit"))), "{name}");
        // An answer from the store has an age.
        assert_eq!(response.headers().contains_key(header::AGE), from_the_store(told), "{name}");
        assert!(told.contains("fwd") || told.contains("stale-if-error") || asked == 0, "{name}: {asked} calls");
        if zoho == Zoho::Up && status == 200 {
            assert_eq!(asked, usize::from(!told.starts_with("hit")), "{name}");
        }
        let length = response.headers().get(header::CONTENT_LENGTH).cloned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        match (status, method) {
            (304, _) => assert!(body.is_empty() && length.is_none(), "{name}"),
            (_, &Method::HEAD) if from_the_store(told) => {
                assert!(body.is_empty(), "{name}");
                assert_eq!(length.unwrap(), BODY.len().to_string().as_str(), "{name}");
            }
            (200, &Method::GET) => assert_eq!(body, BODY, "{name}"),
            _ => {}
        }
    }
}

fn from_the_store(told: &str) -> bool {
    told.starts_with("hit") || told.contains("stored") || told.contains("stale-if-error")
}

fn call(method: Method, headers: &[(&'static str, &'static str)]) -> Call {
    let mut call = tests::call("/api/v1/courses/1/share");
    let route = Arc::make_mut(&mut call.context.route);
    (route.cache, route.stale_if_error) = (FRESH, GRACE);
    (route.methods, route.reads) = (Vec::new(), true);
    for (name, value) in headers {
        call.headers.append(*name, value.parse().unwrap());
    }
    tests::with_method(call, method)
}

type Service = BoxCloneSyncService<Call, Response<Body>, Refusal>;

fn cache(answer: &'static [(&'static str, &'static str)]) -> (Service, Arc<AtomicU8>, Arc<AtomicUsize>) {
    let (state, calls) = (Arc::new(AtomicU8::new(Zoho::Up as u8)), Arc::new(AtomicUsize::new(0)));
    let (now, counted) = (Arc::clone(&state), Arc::clone(&calls));
    let zoho = service_fn(move |call: Call| {
        counted.fetch_add(1, Ordering::SeqCst);
        let now = now.load(Ordering::SeqCst);
        let at = |zoho: Zoho| now == zoho as u8;
        let refusal = |cause: Cause| Err(Refusal::from(cause).of(&call.context));
        let status = |status| Ok(Response::builder().status(status).body(Body::full("{}")).unwrap());
        let outcome = if at(Zoho::Locked) {
            refusal(Cause::ThresholdLocked { retry_after: FRESH })
        } else if at(Zoho::Silent) {
            refusal(crate::upstream::Failure::timeout("people.zoho.com").cause)
        } else if at(Zoho::Scopeless) {
            refusal(Cause::ScopeMissing { scopes: Vec::new(), evidence: ScopeEvidence::Code("7218".to_owned()) })
        } else if at(Zoho::Down) {
            status(StatusCode::SERVICE_UNAVAILABLE)
        } else if at(Zoho::Without) {
            status(StatusCode::NOT_FOUND)
        } else if call.headers.contains_key(header::RANGE) {
            Ok(Response::new(Body::full(BODY)))
        } else {
            let mut response = Response::new(Body::full(BODY));
            for (name, value) in answer {
                response.headers_mut().append(*name, value.parse().unwrap());
            }
            Ok(response)
        };
        let answer: BoxFuture<_, _> = Box::pin(std::future::ready(outcome));
        answer
    });
    let layer = Cache::new(1 << 20, Duration::from_secs(60), [].into(), None, Arc::new(Metrics::new())).layer();
    (BoxCloneSyncService::new(layer.layer(zoho)), state, calls)
}
