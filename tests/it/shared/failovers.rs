//! A replica takes over, and the new master does not know everything that the old one did.

use super::{
    Load, REQUESTS, all_succeed, outages::until_unavailable, sandbox, share, shared, until_accepted, was_kept,
};
use crate::support::{Gateway, RedisServer, Sandbox, Sentinels, replicas_of, until};

/// Two gateways that share a master with two replicas. A failover takes less time than a gateway keeps its slots.
async fn gateways(zoho: &Sandbox, master: &RedisServer, sentinels: &Sentinels) -> Vec<Gateway> {
    let setup = || {
        shared(zoho, master).set("state.redis", sentinels.url()).set("state.replicas", 2).set("upstream.timeout", "60s")
    };
    let gateways: Vec<_> = (0..2).map(|_| setup().start()).collect();
    for gateway in &gateways {
        gateway.send(&share()).await.is_zohos(200);
    }
    gateways
}

async fn until_failed_over(sentinels: &Sentinels, master: &RedisServer) {
    until("a replica takes over", async || sentinels.master().is_some_and(|port| port != master.port())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_dies() {
    let (zoho, mut master) = (sandbox(), RedisServer::start(&[]));
    let _replicas = replicas_of(&master, 2).await;
    let sentinels = Sentinels::watch(&master, 2).await;
    let gateways = gateways(&zoho, &master, &sentinels).await;
    let loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    tokio::task::block_in_place(|| master.kill());
    until_failed_over(&sentinels, &master).await;
    until_accepted(&zoho, 3 * REQUESTS).await;
    all_succeed(loads).await;
    was_kept(&zoho).await;
}

/// It comes back as a master that does not know of the other one, until a Sentinel tells it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_freezes() {
    let (zoho, master) = (sandbox(), RedisServer::start(&[]));
    let _replicas = replicas_of(&master, 2).await;
    let sentinels = Sentinels::watch(&master, 2).await;
    let gateways = gateways(&zoho, &master, &sentinels).await;
    let loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    master.freeze();
    until_failed_over(&sentinels, &master).await;
    until_accepted(&zoho, 2 * REQUESTS).await;
    master.thaw();
    until("it is a replica", async || master.command(&["ROLE"]).starts_with("slave")).await;
    until_accepted(&zoho, 2 * REQUESTS).await;
    all_succeed(loads).await;
    was_kept(&zoho).await;
}

/// A partition: the old master goes on with one gateway, and the replicas form a majority with a new master.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_two_masters() {
    let (zoho, old) = (sandbox(), RedisServer::start(&[]));
    let replicas = replicas_of(&old, 2).await;
    let on = |master: &RedisServer| shared(&zoho, master).set("state.replicas", 2);
    let first = on(&old).start();
    let busy = Load::on(&first, 12);
    until_accepted(&zoho, 2 * REQUESTS).await;
    let new = &replicas[0];
    new.command(&["REPLICAOF", "NO", "ONE"]);
    replicas[1].command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    until("the new master has a replica", async || new.command(&["INFO", "replication"]).contains("state=online"))
        .await;
    assert!(old.command(&["ROLE"]).starts_with("master"));
    let second = on(new).set("state.when_empty", "assume_lost").start();
    let other = Load::on(&second, 12);
    until_unavailable(&first).await;
    // The other one waits until the slots of the first have settled.
    until_accepted(&zoho, 3 * REQUESTS).await;
    assert_eq!(first.admin("/readyz").await.status, 503);
    all_succeed(vec![other]).await;
    busy.end().await;
    was_kept(&zoho).await;
}
