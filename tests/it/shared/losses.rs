//! Redis loses its data: the gateways claim their slots again. Slots that nobody claims would be shut for longer than
//! these tests wait.

use super::{Load, REQUESTS, all_succeed, sandbox, share, shared, until_accepted, until_idle, was_kept};
use crate::support::{RedisServer, ms};

const RECORD: &str = "zoho-gateway:{main}:ledger";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_that_has_its_data() {
    recovers_from(|redis| {
        redis.kill();
        redis.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_without_its_data() {
    recovers_from(|redis| {
        redis.kill();
        redis.restart_empty();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_for_longer_than_the_lease() {
    recovers_from(|redis| {
        redis.kill();
        std::thread::sleep(ms(2500));
        redis.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_server() {
    recovers_from(|redis| assert_eq!(redis.command(&["FLUSHALL"]), "OK")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_record() {
    recovers_from(|redis| assert_eq!(redis.command(&["DEL", RECORD]), "1")).await;
}

/// Under load and while all slots are idle.
async fn recovers_from(loss: impl Fn(&mut RedisServer)) {
    let (zoho, mut redis) = (sandbox(), RedisServer::start(&[]));
    let setup = || shared(&zoho, &redis).set("upstream.timeout", "60s");
    let gateways: Vec<_> = (0..3).map(|_| setup().start()).collect();
    for gateway in &gateways {
        gateway.send(&share()).await.is_zohos(200);
    }
    until_idle(&gateways, REQUESTS).await;
    tokio::task::block_in_place(|| loss(&mut redis));
    let loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 3 * REQUESTS).await;
    all_succeed(loads).await;
    until_idle(&gateways, REQUESTS).await;

    let loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, REQUESTS).await;
    tokio::task::block_in_place(|| loss(&mut redis));
    until_accepted(&zoho, 2 * REQUESTS).await;
    all_succeed(loads).await;
    was_kept(&zoho).await;
}
