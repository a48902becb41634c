//! A master with replicas: what a majority of the nodes does not have does not count.

use super::{
    API, Load, REQUESTS, ROUTE, all_succeed, outages::until_unavailable, sandbox, share_now, shared, until_accepted,
    was_kept,
};
use crate::support::{RedisServer, ms, replicas_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_while_no_majority_confirms() {
    let (zoho, master) = (sandbox(), RedisServer::start(&[]));
    let replicas = replicas_of(&master, 2).await;
    let gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &master).set("state.replicas", 2).start()).collect();
    let loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    replicas[0].freeze();
    // Two of three nodes are a majority.
    until_accepted(&zoho, 3 * REQUESTS).await;
    replicas[1].freeze();
    for gateway in &gateways {
        let state = until_unavailable(gateway).await;
        assert!(state.starts_with("state-unavailable: Redis") && state.contains("majority"), "{state}");
        gateway.send(&share_now()).await.problem_of(503, "state-unavailable", ROUTE);
    }
    // What was sent before has arrived.
    tokio::time::sleep(ms(300)).await;
    let before = zoho.tally(API).await.arrivals;
    tokio::time::sleep(ms(2000)).await;
    assert_eq!(zoho.tally(API).await.arrivals, before);
    replicas[0].thaw();
    until_accepted(&zoho, 2 * REQUESTS).await;
    replicas[1].thaw();
    all_succeed(loads).await;
    was_kept(&zoho).await;
}
