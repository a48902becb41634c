//! One gateway sees a lock: no other sends a call until it ends, and then one call of all goes first.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use super::{API, Load, ROUTE, sandbox, share, share_now, shared, sharing};
use crate::support::{COURSE, Gateway, RedisServer, Reply, SHARE, Sandbox, Upstream, call, ms, put, until};

const LOCKED: &str =
    r#"{"response":{"message":"Error occurred","errors":{"code":7209,"message":"blocked"},"status":1}}"#;

/// Resolves when the gateway knows of a lock.
async fn until_locked(gateway: &Gateway) {
    until("it knows of the lock", async || {
        let status = gateway.admin("/status").await.json();
        let mut buckets = status["buckets"].as_array().into_iter().flatten();
        buckets.any(|bucket| bucket["route"] == ROUTE && !bucket["locked_for_seconds"].is_null())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_stop_when_one_sees_a_lock() {
    for lock_answer in ["429", "200"] {
        let redis = RedisServer::start(&[]);
        let zoho = Sandbox::start(&["--requests", "9", "--window", "1s", "--lock-answer", lock_answer]);
        let setup = || shared(&zoho, &redis).route(ROUTE, "lock", "4s");
        let gateways: Vec<_> = (0..3).map(|_| setup().start()).collect();
        for gateway in &gateways {
            gateway.send(&share()).await.is_zohos(200);
        }
        zoho.lock(API, 4.0).await;
        let first = tokio::spawn(share().sending(gateways[0].address()));
        for gateway in &gateways {
            until_locked(gateway).await;
            gateway.send(&share_now()).await.problem_of(429, "threshold-locked", ROUTE);
        }
        let loads = Load::on_each(&gateways, 6);
        first.await.expect("no panic").is_zohos(200);
        super::until_accepted(&zoho, 18).await;
        super::all_succeed(loads).await;
        let tally = zoho.tally(API).await;
        assert_eq!((tally.locks, tally.arrivals_during_lock), (0, 1), "{tally:?}");
        assert!(tally.most_in_any_window <= 9, "{tally:?}");
    }
}

/// Under load, calls that are on their way may meet the lock too, but none is sent later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_under_load_stops_all() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let setup = || shared(&zoho, &redis).route(ROUTE, "lock", "5s");
    let gateways: Vec<_> = (0..3).map(|_| setup().start()).collect();
    let loads = Load::on_each(&gateways, 6);
    super::until_accepted(&zoho, 18).await;
    zoho.lock(API, 4.0).await;
    for gateway in &gateways {
        until_locked(gateway).await;
    }
    tokio::time::sleep(ms(300)).await;
    let before = zoho.tally(API).await.arrivals_during_lock;
    super::until_accepted(&zoho, 18).await;
    super::all_succeed(loads).await;
    let tally = zoho.tally(API).await;
    assert_eq!((tally.locks, tally.arrivals_during_lock), (0, before), "{tally:?}");
    assert!(tally.most_in_any_window <= 9, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lock_one_call_of_all_gateways_goes_alone() {
    let (gate, locks, calls) = (Arc::new(Notify::new()), AtomicBool::new(true), AtomicUsize::new(0));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
        3 => {
            assert!(locks.swap(false, Ordering::Relaxed));
            Reply::json(400, LOCKED)
        }
        4 => Reply::json(200, "{}").behind(&closed),
        _ => Reply::json(200, "{}"),
    })
    .await;
    let redis = RedisServer::start(&[]);
    let setup = || {
        sharing(Gateway::before_upstream(&upstream), &redis).set("upstream.timeout", "20s").route(ROUTE, "lock", "1s")
    };
    let gateways: Vec<_> = (0..3).map(|_| setup().start()).collect();
    for gateway in &gateways {
        gateway.send(&share()).await.is_zohos(200);
    }
    let first = tokio::spawn(share().sending(gateways[0].address()));
    for gateway in &gateways {
        until_locked(gateway).await;
    }
    let others: Vec<_> = (0..6).map(|call| tokio::spawn(share().sending(gateways[call % 3].address()))).collect();
    upstream.until_received(5).await;
    tokio::time::sleep(ms(2500)).await;
    assert_eq!(upstream.received().len(), 5, "one call goes alone");
    gate.notify_one();
    first.await.expect("no panic").is_zohos(200);
    for other in others {
        other.await.expect("no panic").is_zohos(200);
    }
    assert_eq!(upstream.received().len(), 11);
}

/// An operator who knows that Zoho's lock is over tells one gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_one_gateway_lifts_ends_for_all() {
    let redis = RedisServer::start(&[]);
    let zoho = Sandbox::start(&["--requests", "9", "--window", "1s"]);
    let setup = || shared(&zoho, &redis).route(ROUTE, "lock", "5m").set("queue.max_wait", "10m");
    let gateways: Vec<_> = (0..2).map(|_| setup().start()).collect();
    for gateway in &gateways {
        gateway.send(&share()).await.is_zohos(200);
    }
    zoho.lock(API, 0.3).await;
    let patient = |gateway: &Gateway| tokio::spawn(put(COURSE).form(SHARE).sending(gateway.address()));
    let first = patient(&gateways[0]);
    for gateway in &gateways {
        until_locked(gateway).await;
    }
    let second = patient(&gateways[1]);
    gateways[1].until_waiting(1).await;
    // Zoho's lock is over.
    tokio::time::sleep(ms(400)).await;
    let unlock = call("POST", &format!("/unlock?account=main&route={ROUTE}&confirm=true"));
    assert_eq!(unlock.send(gateways[0].admin_address()).await.status, 200);
    for waiting in [first, second] {
        waiting.await.expect("no panic").is_zohos(200);
    }
    assert_eq!(zoho.tally(API).await.arrivals_during_lock, 1);
}
