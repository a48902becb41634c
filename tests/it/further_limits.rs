//! A call with limits of several windows at once: 10 a minute, 100 an hour, 1,500 a day.

use crate::support::{Answer, Call, Gateway, RedisServer, Reply, Setup, Upstream, call};

const ROUTE: &str = "people.v3-attendance.add-entries";

fn entries(wait: u32) -> Call {
    let call = call("POST", "/people/api/v3/attendance/entries").form("data=[]");
    call.header("prefer", &format!("wait={wait}"))
}

/// The limit of a minute does not matter here.
fn often(setup: Setup) -> Setup {
    setup.route(ROUTE, "requests", 1000).route(ROUTE, "window", "1s")
}

/// Checks that the limit of an hour rejects the call.
#[track_caller]
fn is_spent(answer: &Answer) {
    let body = answer.problem_of(429, "threshold-saturated", ROUTE);
    assert!(body["retry_after"].as_u64().is_some_and(|seconds| (3_500..=3_605).contains(&seconds)), "{body}");
    assert!(!body["detail"].as_str().is_some_and(|detail| detail.contains("daily_calls")), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_an_hour_holds_beside_that_of_a_minute_and_survives_a_kill() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = often(Gateway::before_upstream(&upstream)).start();
    let first = gateway.send(&entries(20)).await;
    assert!(first.header("ratelimit").is_some_and(|limit| limit.contains(";r=99;t=")), "the tighter one: {first:?}");
    for _ in 1..100 {
        gateway.send(&entries(20)).await.is_zohos(200);
    }
    is_spent(&gateway.send(&entries(0)).await);
    let gateway = gateway.kill().start();
    is_spent(&gateway.send(&entries(0)).await);
    assert_eq!(upstream.received().len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_share_the_limit_of_an_hour() {
    let (upstream, redis) = (Upstream::start(|_| Reply::json(200, "{}")).await, RedisServer::start(&[]));
    let start = || {
        let setup = often(Gateway::before_upstream(&upstream)).set("state.redis", redis.url());
        setup.set("state.lease", "1s").set("state.when_empty", "fresh").start()
    };
    let gateways = [start(), start()];
    for number in 0..100 {
        gateways[number % 2].send(&entries(20)).await.is_zohos(200);
    }
    for gateway in &gateways {
        gateway.send(&entries(0)).await.problem_of(429, "threshold-saturated", ROUTE);
    }
    assert_eq!(upstream.received().len(), 100);
}
