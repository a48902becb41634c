//! Jobs on servers that fail over, and in a cluster whose keys move.

use super::{ROUTE, clusters::on, sharing};
use crate::{
    jobs::{accepted, share, state, until_in},
    support::{Cluster, Gateway, RedisServer, Reply, Sentinels, Setup, Upstream, get, ms, replicas_of, until},
};

const JOBS: &str = "zoho-gateway:{main}:jobs";

/// One call in a while, so that most jobs wait.
fn slowly(setup: Setup) -> Setup {
    setup.route(ROUTE, "requests", 1).route(ROUTE, "window", "300ms")
}

async fn zoho() -> Upstream {
    Upstream::start(|_| Reply::json(200, "{}")).await
}

/// Accepts jobs on both gateways.
async fn jobs_on(gateways: &[Gateway], numbers: std::ops::Range<u64>) -> Vec<String> {
    let mut locations = Vec::new();
    for number in numbers {
        let gateway = &gateways[number as usize % gateways.len()];
        locations.push(accepted(&gateway.send(&share(number).header("prefer", "respond-async")).await));
    }
    locations
}

async fn all_are_done_once(gateway: &Gateway, jobs: &[String], upstream: &Upstream) {
    for location in jobs {
        until("it answers", async || gateway.send(&get(location)).await.status == 200).await;
        until_in(gateway, location, "done").await;
    }
    let mut sent: Vec<_> = upstream.received().into_iter().map(|request| request.body).collect();
    sent.sort();
    sent.dedup();
    assert_eq!((sent.len(), upstream.received().len()), (jobs.len(), jobs.len()), "each is sent once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_jobs_survive_a_failover() {
    let (upstream, mut master) = (zoho().await, RedisServer::start(&[]));
    let _replicas = replicas_of(&master, 2).await;
    let sentinels = Sentinels::watch(&master, 2).await;
    let setup = || slowly(sharing(Gateway::before_upstream(&upstream), &master)).set("state.redis", sentinels.url());
    let gateways: Vec<_> = (0..2).map(|_| setup().set("state.replicas", 2).start()).collect();
    let jobs = jobs_on(&gateways, 0..6).await;
    tokio::task::block_in_place(|| master.kill());
    until("a replica takes over", async || sentinels.master().is_some_and(|port| port != master.port())).await;
    all_are_done_once(&gateways[0], &jobs, &upstream).await;
    for location in &jobs {
        assert_eq!(state(&gateways[1], location).await["state"], "done");
    }
}

/// A script that would see only a part of the keys does not run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_jobs_move_as_a_whole_or_not_at_all() {
    let (upstream, cluster) = (zoho().await, Cluster::start().await);
    let setup = || slowly(on(&cluster, Gateway::before_upstream(&upstream)));
    let gateways: Vec<_> = (0..2).map(|_| setup().start()).collect();
    let mut jobs = jobs_on(&gateways, 0..6).await;
    let to = (cluster.owner_of(JOBS) + 1) % 3;
    cluster.begin_to_move(JOBS, to);
    for gateway in &gateways {
        gateway.send(&share(99).header("prefer", "respond-async")).await.problem(503, "state-unavailable");
    }
    tokio::time::sleep(ms(500)).await;
    cluster.end_to_move(JOBS, to);
    jobs.extend(jobs_on(&gateways, 6..8).await);
    all_are_done_once(&gateways[1], &jobs, &upstream).await;
    assert_eq!(cluster.node_of(JOBS), to);
    let counts = gateways[0].send(&get("/gateway/jobs")).await.json()["counts"].clone();
    assert_eq!(counts["done"], jobs.len(), "{counts}");
}
