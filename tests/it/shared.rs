//! Several gateways on one login, which share its limits through Redis.

use serde_json::json;

use crate::support::{COURSE, Gateway, RedisServer, SHARE, Sandbox, Setup, all, ms, put};

const ROUTE: &str = "people.lms.share-course";
const API: &str = "PUT /api/v1/courses/{id}/share";
const WINDOW: &str = "1s";

/// One of several gateways, whose record is empty because nothing was ever sent.
fn shared(zoho: &Sandbox, redis: &RedisServer) -> Setup {
    Gateway::before(zoho)
        .route(ROUTE, "requests", 9)
        .route(ROUTE, "window", WINDOW)
        .set("upstream.timeout", "1s")
        .set("state.redis", redis.url())
        .set("state.when_empty", "fresh")
}

fn sandbox() -> Sandbox {
    Sandbox::start(&["--requests", "9", "--window", WINDOW, "--lock", "60s", "--delay", "50ms"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_keep_one_threshold() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &redis).start()).collect();
    let share = put(COURSE).form(SHARE);
    let calls = (0..60).map(|call| share.sending(gateways[call % 3].address()));
    for answer in all(calls).await {
        answer.is_zohos(200);
    }
    let tally = zoho.tally(API).await;
    assert_eq!((tally.arrivals, tally.accepted, tally.locks, tally.arrivals_during_lock), (60, 60, 0, 0));
    assert!(tally.most_in_any_window <= 9, "{tally:?}");
}

/// All slots go to the gateway that needs them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_busy_gateway_gets_the_whole_threshold() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &redis).route(ROUTE, "window", "60s").start()).collect();
    let share = put(COURSE).form(SHARE).header("prefer", "wait=10");
    for gateway in &gateways {
        gateway.send(&share).await.is_zohos(200);
    }
    for _ in 0..6 {
        gateways[0].send(&share).await.is_zohos(200);
    }
    let now = put(COURSE).form(SHARE).header("prefer", "wait=2");
    gateways[1].send(&now).await.problem_of(429, "threshold-saturated", ROUTE);
    let _ = (json!(0), ms(1));
}
