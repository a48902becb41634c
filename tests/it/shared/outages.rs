//! Redis does not answer: for a moment nobody notices, and after the lease nothing is sent.

use super::{
    API, Load, REQUESTS, ROUTE, all_succeed, sandbox, share_now, shared, until_accepted, until_idle, was_kept,
};
use crate::support::{Gateway, RedisServer, all, free_port, ms, until};

/// Resolves when the gateway says that it is not ready, and why.
pub(super) async fn until_unavailable(gateway: &Gateway) -> String {
    let mut state = String::new();
    until("it is not ready", async || {
        let answer = gateway.admin("/readyz").await;
        state = answer.json()["checks"]["state"].as_str().unwrap_or_default().to_owned();
        answer.status == 503
    })
    .await;
    state
}

/// The lease is longer than the outage, and each gateway has slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_a_short_outage() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &redis).set("state.lease", "20s").start()).collect();
    let all_at_once =
        || (0..REQUESTS).map(|call| share_now().sending(gateways[call as usize % 3].address())).collect::<Vec<_>>();
    for gateway in &gateways {
        gateway.send(&super::share()).await.is_zohos(200);
    }
    until_idle(&gateways, REQUESTS).await;
    redis.freeze();
    for answer in all(all_at_once()).await {
        answer.is_zohos(200);
    }
    tokio::time::sleep(ms(2000)).await;
    for answer in all(all_at_once()).await {
        answer.is_zohos(200);
    }
    redis.thaw();
    until_idle(&gateways, REQUESTS).await;
    was_kept(&zoho).await;
}

/// While calls wait, slots go back to the record. If it does not answer, they are used where they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_gateways_go_on_during_a_short_outage() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &redis).set("state.lease", "8s").start()).collect();
    let loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    redis.freeze();
    // What was sent before has arrived.
    tokio::time::sleep(ms(300)).await;
    until_accepted(&zoho, 3).await;
    redis.thaw();
    all_succeed(loads).await;
    was_kept(&zoho).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_during_a_long_outage() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &redis).start()).collect();
    let loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    redis.freeze();
    for gateway in &gateways {
        let state = until_unavailable(gateway).await;
        assert!(state.starts_with("state-unavailable: Redis has not answered"), "{state}");
        assert!(gateway.has_metric("zoho_gateway_state_available 0").await);
        gateway.send(&share_now()).await.problem_of(503, "state-unavailable", ROUTE);
    }
    // What was sent before has arrived.
    tokio::time::sleep(ms(300)).await;
    let before = zoho.tally(API).await.arrivals;
    tokio::time::sleep(ms(2000)).await;
    assert_eq!(zoho.tally(API).await.arrivals, before);
    redis.thaw();
    until_accepted(&zoho, 2 * REQUESTS).await;
    all_succeed(loads).await;
    for gateway in &gateways {
        gateway.until_ready().await;
        assert!(gateway.has_metric("zoho_gateway_state_available 1").await);
        for words in ["the shared ledger cannot be used", "the shared ledger can be used again"] {
            let log = gateway.process().log();
            let lines: Vec<_> = log.iter().filter(|line| line.contains(words)).collect();
            assert!(lines.len() == 1 && lines[0].contains("\"account\":\"main\""), "{words}: {lines:?}");
        }
    }
    was_kept(&zoho).await;
}

/// Somebody makes the server a replica, and takes it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_while_the_server_is_a_replica() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways: Vec<_> = (0..2).map(|_| shared(&zoho, &redis).start()).collect();
    for gateway in &gateways {
        gateway.send(&super::share()).await.is_zohos(200);
    }
    redis.command(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    for gateway in &gateways {
        let state = until_unavailable(gateway).await;
        assert_eq!(state, "state-unavailable: Redis is a replica now, not the master");
        gateway.send(&share_now()).await.problem_of(503, "state-unavailable", ROUTE);
    }
    assert_eq!(zoho.tally(API).await.arrivals, 2);
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    let loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    all_succeed(loads).await;
    was_kept(&zoho).await;
}

/// It cannot say that it leaves, and does not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_ends_while_redis_is_frozen() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateway = shared(&zoho, &redis).set("state.lease", "60s").start();
    gateway.send(&super::share()).await.is_zohos(200);
    redis.freeze();
    tokio::time::sleep(ms(1500)).await;
    tokio::task::spawn_blocking(|| gateway.stop()).await.expect("it ends well");
}
