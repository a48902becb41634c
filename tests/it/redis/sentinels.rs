//! A master that Sentinels watch.

use zoho_gateway::redis::{Message, ProbeError, Redis, RunError, Script, ServerUrl, Settings};

use super::{COUNT, password, unusable};
use crate::support::{RedisServer, Sentinels, free_port, ms, replicas_of, until};

/// For the master with two replicas that a URL leads to.
fn settings(url: &str, master: &RedisServer) -> Settings {
    let topology = ServerUrl::parse(url).expect("a URL").topology;
    Settings { topology, replicas: 2, ..master.settings() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_script_follows_a_failover() {
    let mut master = RedisServer::start(&[]);
    let replicas = replicas_of(&master, 2).await;
    let mut sentinels = Sentinels::watch(&master, 2).await;
    let (redis, script) = (Redis::new(settings(&sentinels.url(), &master)), Script::new(COUNT));
    assert_eq!(redis.probe(&[]).await, Ok(()));
    let mut messages = redis.subscribe("news".to_owned());
    assert_eq!(messages.recv().await, Some(Message::Subscribed));
    assert_eq!(redis.run(&script, "key", &[], ms(2000)).await.as_deref(), Ok("1:"));
    assert_eq!(redis.run_confirmed(&script, "key", &[], ms(2000)).await, Ok(("2:".to_owned(), true)));

    master.kill();
    until("a script is confirmed by the new master", async || {
        redis.run_confirmed(&script, "key", &[], ms(1000)).await.is_ok_and(|(_, confirmed)| confirmed)
    })
    .await;
    let port = sentinels.master().expect("one master");
    let new = replicas.iter().find(|replica| replica.port() == port).expect("one of the replicas");
    assert!(redis.run(&script, "key", &[], ms(2000)).await.is_ok());
    // The subscription may still be at the other replica's side of the failover.
    until("the subscription is at the new master", async || new.command(&["PUBSUB", "NUMSUB", "news"]) == "news\n1")
        .await;
    assert_eq!(messages.recv().await, Some(Message::Subscribed));
    new.command(&["PUBLISH", "news", "text"]);
    assert_eq!(messages.recv().await, Some(Message::Text("text".to_owned())));

    // Two of three Sentinels are enough, and even one.
    sentinels.kill(0);
    let late = Redis::new(settings(&sentinels.url(), &master));
    assert!(late.run(&script, "key", &[], ms(2000)).await.is_ok());
    sentinels.kill(1);
    let late = Redis::new(settings(&sentinels.url(), &master));
    assert!(late.run(&script, "key", &[], ms(2000)).await.is_ok());
    sentinels.kill(2);
    let outcome = Redis::new(settings(&sentinels.url(), &master)).probe(&[]).await;
    assert!(matches!(&outcome, Err(ProbeError::Unreachable(error)) if error.contains("the Sentinel")), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_sentinels_is_told() {
    let master = RedisServer::start(&[]);
    let _replicas = replicas_of(&master, 2).await;
    let sentinels = Sentinels::watch(&master, 2).await;
    let probing = |url: &str| Redis::new(settings(url, &master));
    unusable(&probing(&sentinels.url().replace("/main", "/other")), "correct the name in state.redis").await;
    let servers = format!("redis-sentinel://127.0.0.1:{},127.0.0.1:{}/main", master.port(), free_port());
    unusable(&probing(&servers), "it is no Sentinel").await;
    let fewer = Settings { replicas: 1, ..settings(&sentinels.url(), &master) };
    unusable(&Redis::new(fewer), "the master has 2 replicas, and state.replicas is 1").await;

    let with = |text: &str| Settings { sentinel_password: Some(password(text)), ..settings(&sentinels.url(), &master) };
    unusable(&Redis::new(with("s3cret")), "remove state.redis_sentinel_password").await;
    sentinels.command(&["ACL", "SETUSER", "default", "resetpass", ">s3cret"]);
    unusable(&probing(&sentinels.url()), "set state.redis_sentinel_password").await;
    unusable(&Redis::new(with("wr0ng")), "correct state.redis_sentinel_password").await;
    assert_eq!(Redis::new(with("s3cret")).probe(&[]).await, Ok(()));
}

/// Sentinels that disagree: one is cut off from the others and names an old master.
#[tokio::test(flavor = "multi_thread")]
async fn most_sentinels_decide() {
    let (old, new) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let (of_old, of_new) = tokio::join!(Sentinels::watch(&old, 0), Sentinels::watch(&new, 0));
    let address = |sentinels: &Sentinels, index: usize| format!("127.0.0.1:{}", sentinels.port(index));
    let url = format!("redis-sentinel://{},{},{}/main", address(&of_old, 0), address(&of_new, 0), address(&of_new, 1));
    for _ in 0..10 {
        let redis = Redis::new(Settings { replicas: 0, ..settings(&url, &new) });
        assert!(redis.run(&Script::new(COUNT), "key", &[], ms(2000)).await.is_ok());
    }
    assert_eq!((new.command(&["GET", "key"]).as_str(), old.command(&["GET", "key"]).as_str()), ("10", ""));
}

#[tokio::test]
async fn sentinels_that_are_away_may_come_back() {
    let master = RedisServer::start(&[]);
    let url = format!("redis-sentinel://127.0.0.1:{},127.0.0.1:{}/main", free_port(), free_port());
    let redis = Redis::new(settings(&url, &master));
    let answer = redis.run(&Script::new(COUNT), "key", &[], ms(2000)).await;
    assert!(matches!(&answer, Err(RunError::Unreachable(error)) if error.contains("the Sentinel")), "{answer:?}");
}
