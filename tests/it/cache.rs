//! Repeated reads under a route's `cache`: answered without Zoho, and told so (RFC 9111, RFC 9211).

use crate::support::{Answer, COURSE, Gateway, SHARE, Sandbox, all, get, put};

const ROUTE: &str = "people.lms.get-shared-users";

#[track_caller]
fn cache_status(answer: &Answer, expected: &str) {
    let status = answer.header("cache-status").unwrap_or_default();
    assert!(status.starts_with("zoho-gateway; ") && status.contains(expected), "{status:?} without {expected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_read_costs_no_call() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").start();
    let first = gateway.send(&get(COURSE)).await;
    cache_status(first.is_zohos(200), "fwd=uri-miss");
    let second = gateway.send(&get(COURSE)).await;
    cache_status(&second, "hit");
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert!(second.header("age").is_some_and(|age| age.parse::<u64>().is_ok()), "{second:?}");
    assert_eq!(zoho.requests().await.len(), 1);

    let etag = second.header("etag").expect("an entity tag");
    let unchanged = gateway.send(&get(COURSE).header("if-none-match", etag)).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    // Another query is another answer, and so is what the caller wants fresh.
    cache_status(&gateway.send(&get(&format!("{COURSE}?startIndex=1"))).await, "fwd=uri-miss");
    cache_status(&gateway.send(&get(COURSE).header("cache-control", "no-cache")).await, "fwd=request");
    assert_eq!(zoho.requests().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_makes_what_was_kept_of_its_path_stale() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").start();
    assert!(!gateway.send(&get(COURSE)).await.text().contains("588882000000212025"));
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
    assert!(gateway.send(&get(COURSE)).await.text().contains("588882000000212025"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_identical_reads_at_once_share_one_call() {
    let zoho = Sandbox::start(&["--requests", "100000", "--delay", "100ms"]);
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").start();
    for answer in all((0..50).map(|_| get(COURSE).sending(gateway.address()))).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(zoho.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_if_cached_never_calls() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").start();
    let only = get(COURSE).header("cache-control", "only-if-cached");
    gateway.send(&only).await.problem_of(504, "not-cached", ROUTE);
    assert_eq!(zoho.requests().await, []);
    gateway.send(&get(COURSE)).await.is_zohos(200);
    cache_status(&gateway.send(&only).await, "hit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_unless_the_route_says_so() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    for _ in 0..2 {
        assert_eq!(gateway.send(&get(COURSE)).await.is_zohos(200).header("cache-status"), None);
    }
    assert_eq!(zoho.requests().await.len(), 2);
}
