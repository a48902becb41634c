//! All gateways together use the whole threshold, whichever of them needs it.

use zoho_gateway::os::clock;

use super::{
    API, Load, REQUESTS, ROUTE, accepted, all_succeed, sandbox, share, share_now, shared, until_accepted, was_kept,
};
use crate::support::{COURSE, Gateway, RedisServer, SHARE, Sandbox, all, ms, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_keep_one_threshold() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &redis).start()).collect();
    let calls = (0..60).map(|call| share().sending(gateways[call % 3].address()));
    for answer in all(calls).await {
        answer.is_zohos(200);
    }
    assert_eq!(accepted(&zoho).await, 60);
    was_kept(&zoho).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_busy_gateways_use_the_whole_threshold() {
    the_whole_threshold_is_used(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_busy_gateway_of_eight_uses_the_whole_threshold() {
    the_whole_threshold_is_used(1).await;
}

/// So many of eight gateways are busy.
async fn the_whole_threshold_is_used(busy: usize) {
    const REQUESTS: u32 = 30;
    let redis = RedisServer::start(&[]);
    let zoho = Sandbox::start(&["--requests", "30", "--window", "2s", "--lock", "60s", "--delay", "20ms"]);
    let setup = || shared(&zoho, &redis).route(ROUTE, "requests", REQUESTS).route(ROUTE, "window", "2s");
    let gateways: Vec<_> = (0..8).map(|_| setup().start()).collect();
    for gateway in &gateways {
        gateway.send(&share()).await.is_zohos(200);
    }
    let loads = Load::on_each(&gateways[..busy], 64 / busy);
    until_accepted(&zoho, u64::from(2 * REQUESTS)).await;
    let (before, began) = (accepted(&zoho).await, clock::now());
    tokio::time::sleep(ms(8000)).await;
    let (calls, took) = (accepted(&zoho).await - before, began.elapsed());
    all_succeed(loads).await;
    let tally = zoho.tally(API).await;
    assert_eq!((tally.locks, tally.arrivals_during_lock), (0, 0), "{tally:?}");
    assert!(tally.most_in_any_window <= REQUESTS as usize, "{tally:?}");
    let used = calls as f64 / (f64::from(REQUESTS) * took.as_secs_f64() / 2.0);
    assert!(used >= 0.9, "{used}");
}

/// All slots go to the gateway that needs them, and then no other has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_takes_all_slots() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let setup = || shared(&zoho, &redis).route(ROUTE, "window", "60s");
    let gateways: Vec<Gateway> = (0..3).map(|_| setup().start()).collect();
    for gateway in &gateways {
        gateway.send(&share()).await.is_zohos(200);
    }
    for _ in 0..6 {
        gateways[0].send(&share()).await.is_zohos(200);
    }
    gateways[1].send(&share_now()).await.problem_of(429, "threshold-saturated", ROUTE);
}

/// The forecast expects calls in flight to be answered as usual, not at the last moment: otherwise a burst would be refused
/// although all of it can be served in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_waits_for_the_slots_of_calls_in_flight() {
    let redis = RedisServer::start(&[]);
    let zoho = Sandbox::start(&["--requests", "9", "--window", "2s", "--lock", "60s"]);
    let gateway = shared(&zoho, &redis).route(ROUTE, "window", "2s").start();
    // Three windows' calls: they take four seconds.
    let burst = put(COURSE).form(SHARE).header("prefer", "wait=8");
    for answer in all((0..3 * REQUESTS).map(|_| burst.sending(gateway.address()))).await {
        answer.is_zohos(200);
    }
}
