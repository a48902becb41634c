//! A replica takes over, by Sentinel, and nothing is sent that the old master allowed and the new one does not know.

use super::{Load, REQUESTS, all_succeed, sandbox, share, shared, until_accepted, was_kept};
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
