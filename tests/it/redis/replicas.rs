//! Scripts that are confirmed by a majority of a master and its replicas.

use futures_util::future::join_all;
use zoho_gateway::redis::{Failover, ProbeError, Redis, RunError, Script, Settings};

use super::{COUNT, password, unusable};
use crate::support::{RedisServer, ms, replicas_of, until};

fn settings(master: &RedisServer, replicas: u32) -> Settings {
    Settings { replicas, ..master.settings() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_majority_has_what_is_confirmed() {
    let master = RedisServer::start(&[]);
    let replicas = replicas_of(&master, 2).await;
    let (redis, script) = (Redis::new(settings(&master, 2)), Script::new(COUNT));
    let run = async || redis.run_confirmed(&script, "key", &[], ms(5000)).await;
    let answer = |text: &str, confirmed| Ok((text.to_owned(), confirmed));
    assert_eq!(run().await, answer("1:", true));
    master.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(run().await, answer("2:", true));
    replicas[0].freeze();
    assert_eq!(run().await, answer("3:", true), "two of three nodes are a majority");
    replicas[1].freeze();
    assert_eq!(run().await, answer("4:", false), "it has run, but no replica has it");
    replicas[0].thaw();
    assert_eq!(run().await, answer("5:", true));
    assert_eq!(replicas[0].command(&["GET", "key"]), "5");
    replicas[1].thaw();
}

/// With two nodes both are the majority.
#[tokio::test(flavor = "multi_thread")]
async fn one_replica_has_to_confirm_everything() {
    let master = RedisServer::start(&[]);
    let replicas = replicas_of(&master, 1).await;
    let (redis, script) = (Redis::new(settings(&master, 1)), Script::new(COUNT));
    assert_eq!(redis.run_confirmed(&script, "key", &[], ms(2000)).await, Ok(("1:".to_owned(), true)));
    drop(replicas);
    assert_eq!(redis.run_confirmed(&script, "key", &[], ms(600)).await, Ok(("2:".to_owned(), false)));
    let alone = Redis::new(settings(&master, 0));
    assert_eq!(alone.run_confirmed(&script, "key", &[], ms(2000)).await, Ok(("3:".to_owned(), true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_confirmed_at_a_time() {
    let master = RedisServer::start(&[]);
    let _replicas = replicas_of(&master, 1).await;
    let (redis, script) = (Redis::new(settings(&master, 1)), Script::new(COUNT));
    let keys: Vec<String> = (0..500).map(|number| format!("key {number}")).collect();
    let runs = keys.iter().map(async |key| redis.run_confirmed(&script, key, &[key], ms(20_000)).await);
    for (key, answer) in keys.iter().zip(join_all(runs).await) {
        assert_eq!(answer, Ok((format!("1:{key}"), true)));
    }
    let connections = master.command(&["CLIENT", "LIST", "TYPE", "NORMAL"]).lines().count();
    // And that of redis-cli.
    assert!((2..=33).contains(&connections), "{connections}");
}

/// A script that waits for its replicas has a connection of its own.
#[tokio::test(flavor = "multi_thread")]
async fn other_scripts_do_not_wait_for_replicas() {
    let master = RedisServer::start(&[]);
    let replicas = replicas_of(&master, 1).await;
    let (redis, script) = (Redis::new(settings(&master, 1)), Script::new(COUNT));
    replicas[0].freeze();
    let unconfirmed = redis.run_confirmed(&script, "key", &[], ms(60_000));
    let others = async {
        until("the script has run", async || master.command(&["GET", "key"]) == "1").await;
        redis.run(&script, "key", &[], ms(5000)).await
    };
    tokio::select! {
        answer = unconfirmed => panic!("the replica is frozen: {answer:?}"),
        answer = others => assert_eq!(answer.as_deref(), Ok("2:")),
    }
    replicas[0].thaw();
}

/// Otherwise a minority would count as the majority.
#[tokio::test(flavor = "multi_thread")]
async fn more_replicas_than_configured_are_noticed() {
    let master = RedisServer::start(&[]);
    let _replicas = replicas_of(&master, 3).await;
    let (redis, script) = (Redis::new(settings(&master, 2)), Script::new(COUNT));
    until("all three have confirmed at once", async || {
        let answer = redis.run_confirmed(&script, "key", &[], ms(2000)).await;
        matches!(&answer, Err(RunError::Refused(error)) if error.contains("state.replicas is 2: set it to 3"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_counts_replicas() {
    let master = RedisServer::start(&[]);
    let replicas = replicas_of(&master, 2).await;
    unusable(&Redis::new(settings(&master, 0)), "Set state.replicas to 2").await;
    unusable(&Redis::new(settings(&master, 1)), "the master has 2 replicas, and state.replicas is 1").await;
    assert_eq!(Redis::new(settings(&master, 2)).probe(&["main"]).await, Ok(()));
    // Two of its replicas are away, for example after a failover.
    assert_eq!(Redis::new(settings(&master, 4)).probe(&["main"]).await, Ok(()));

    master.command(&["ACL", "SETUSER", "joe", "on", ">s3cret", "~*", "&*", "+@all", "-wait"]);
    let joe = Settings {
        user: Some("joe".to_owned()),
        password: Some(password("s3cret")),
        failover: Failover::None,
        ..settings(&master, 2)
    };
    unusable(&Redis::new(joe), "allow it on the keys").await;

    drop(replicas);
    until("the master has noticed", async || {
        let outcome = Redis::new(settings(&master, 2)).probe(&["main"]).await;
        matches!(&outcome, Err(ProbeError::Unreachable(error)) if error.contains("has 0 replicas that are ready"))
    })
    .await;
}
