//! A gateway starts: with a server that nobody can use, with one that is away, or with a wrong configuration.

use super::{ROUTE, sandbox, share, share_now, shared};
use crate::support::{Ended, Process, RedisServer, Setup, until};

fn run(setup: &Setup) -> Ended {
    let config = setup.write();
    Process::run(&["run", "--config", config.to_str().expect("UTF-8")], &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_server_ends_the_start() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let refuses = |words: &str| {
        let ended = run(&shared(&zoho, &redis));
        assert!(ended.code == Some(1) && ended.stderr.contains(words), "{words}: {ended:?}");
    };
    let set = |name: &str, value: &str| assert_eq!(redis.command(&["CONFIG", "SET", name, value]), "OK");
    set("maxmemory", "100mb");
    set("maxmemory-policy", "allkeys-lru");
    refuses("set maxmemory-policy to noeviction");
    set("maxmemory-policy", "noeviction");
    let cluster = shared(&zoho, &redis).set("state.redis", redis.url().replace("redis", "redis-cluster"));
    let ended = run(&cluster);
    assert!(ended.code == Some(1) && ended.stderr.contains("is not a cluster: write redis://"), "{ended:?}");
    let master = RedisServer::start(&[]);
    redis.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    refuses(&format!("is a replica: set state.redis to its master, 127.0.0.1:{}", master.port()));
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    set("requirepass", "s3cret");
    refuses("set state.redis_password");
    let ended = run(&shared(&zoho, &redis).set("state.redis_password", "wr0ng"));
    assert!(ended.code == Some(1) && ended.stderr.contains("correct state.redis_user"), "{ended:?}");
    assert!(!ended.stderr.contains("wr0ng"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_waited_for() {
    let (zoho, mut redis) = (sandbox(), RedisServer::start(&[]));
    redis.stop();
    let gateways: Vec<_> = (0..2).map(|_| shared(&zoho, &redis).start()).collect();
    for gateway in &gateways {
        gateway.send(&share_now()).await.problem_of(503, "state-unavailable", ROUTE);
        let answer = gateway.admin("/readyz").await;
        let state = answer.json()["checks"]["state"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 503 && state.starts_with("state-unavailable: Redis cannot be reached"), "{answer:?}");
    }
    let waiting: Vec<_> = gateways.iter().map(|gateway| tokio::spawn(share().sending(gateway.address()))).collect();
    for gateway in &gateways {
        gateway.until_waiting(1).await;
    }
    tokio::task::block_in_place(|| redis.restart());
    for call in waiting {
        call.await.expect("no panic").is_zohos(200);
    }
    until("both are ready", async || {
        let (one, other) = (gateways[0].admin("/readyz").await, gateways[1].admin("/readyz").await);
        [one.status, other.status] == [200, 200]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_with_other_times_are_told_so() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let one = shared(&zoho, &redis).start();
    one.send(&share()).await.is_zohos(200);
    let other = shared(&zoho, &redis).set("upstream.timeout", "2s").start();
    other.send(&share_now()).await.problem_of(503, "state-unavailable", ROUTE);
    let state = other.admin("/readyz").await.json()["checks"]["state"].as_str().unwrap_or_default().to_owned();
    assert!(state.contains("upstream.timeout"), "{state}");
    one.send(&share()).await.is_zohos(200);
}

#[test]
fn sentinel_needs_replicas_or_a_fenced_failover() {
    let nowhere = "http://127.0.0.1:1";
    let setup = Setup::before_all(nowhere, nowhere, nowhere);
    let ended = run(&setup.set("state.redis", "redis-sentinel://127.0.0.1:1/main"));
    let words = "set state.replicas to the number of the master's replicas";
    assert!(ended.code == Some(2) && ended.stderr.contains(words), "{ended:?}");
}

#[test]
fn a_share_is_for_gateways_without_redis() {
    let nowhere = "http://127.0.0.1:1";
    let setup = Setup::before_all(nowhere, nowhere, nowhere);
    let ended = run(&setup.set("state.redis", "redis://127.0.0.1:1").set("accounts.main.share", "1/2"));
    let words = "is for gateways without state.redis";
    assert!(ended.code == Some(2) && ended.stderr.contains(words), "{ended:?}");
}
