//! A cluster: each account's record is on the node of its slot.

use super::{API, Load, REQUESTS, ROUTE, WINDOW, all_succeed, sandbox, share, until_accepted, was_kept};
use crate::{
    accounts::with_second,
    support::{Cluster, Gateway, Setup},
};

fn record(account: &str) -> String {
    format!("zoho-gateway:{{{account}}}:ledger")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_accounts_have_their_records_on_two_nodes() {
    let (zoho, cluster) = (sandbox(), Cluster::start().await);
    let setup = || on(&cluster, with_second(&zoho, "1000.sandbox.second-login"));
    let gateways: Vec<_> = (0..2).map(|_| setup().start()).collect();
    let second = share().header("gateway-account", "second");
    let mut calls = Vec::new();
    for gateway in &gateways {
        for call in [share(), second.clone()] {
            calls.extend((0..2 * REQUESTS).map(|_| tokio::spawn(call.clone().sending(gateway.address()))));
        }
    }
    for call in calls {
        call.await.expect("no panic").is_zohos(200);
    }
    let tallies = zoho.tallies().await.into_iter().filter(|(api, _)| api.ends_with(API));
    let tallies: Vec<_> = tallies.map(|(_, tally)| tally).collect();
    assert_eq!(tallies.len(), 2, "one of each login");
    for tally in tallies {
        assert_eq!((tally.accepted, tally.locks, tally.arrivals_during_lock), (4 * REQUESTS, 0, 0), "{tally:?}");
        assert!(tally.most_in_any_window <= REQUESTS as usize, "{tally:?}");
    }
    assert_ne!(cluster.node_of(&record("main")), cluster.node_of(&record("second")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_moves_to_another_node() {
    let (zoho, cluster) = (sandbox(), Cluster::start().await);
    let setup = || on(&cluster, Gateway::before(&zoho)).set("upstream.timeout", "60s");
    let gateways: Vec<_> = (0..2).map(|_| setup().start()).collect();
    let loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    let (key, from) = (record("main"), cluster.node_of(&record("main")));
    for to in [(from + 1) % 3, from] {
        cluster.begin_to_move(&key, to);
        until_accepted(&zoho, REQUESTS).await;
        cluster.end_to_move(&key, to);
        until_accepted(&zoho, 2 * REQUESTS).await;
        assert_eq!(cluster.node_of(&key), to);
    }
    all_succeed(loads).await;
    was_kept(&zoho).await;
}

/// The other two masters elect one of the replicas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_dies_and_its_replica_takes_over() {
    let (zoho, mut cluster) = (sandbox(), Cluster::start().await);
    let node = cluster.owner_of(&record("main"));
    cluster.add_replicas(node, 2).await;
    let setup = || on(&cluster, Gateway::before(&zoho)).set("upstream.timeout", "60s").set("state.replicas", 2);
    let gateways: Vec<_> = (0..2).map(|_| setup().start()).collect();
    let loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    tokio::task::block_in_place(|| cluster.nodes()[node].kill());
    until_accepted(&zoho, 4 * REQUESTS).await;
    all_succeed(loads).await;
    was_kept(&zoho).await;
}

pub(super) fn on(cluster: &Cluster, setup: Setup) -> Setup {
    setup
        .route(ROUTE, "requests", REQUESTS)
        .route(ROUTE, "window", WINDOW)
        .set("upstream.timeout", "1s")
        .set("state.redis", cluster.url())
        .set("state.lease", "1s")
        .set("state.when_empty", "fresh")
}
