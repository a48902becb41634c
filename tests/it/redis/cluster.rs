//! A cluster: each key is on the node of its slot.

use zoho_gateway::redis::{Message, Redis, RunError, Script, ServerUrl, Settings};

use super::{COUNT, unusable};
use crate::support::{Cluster, RedisServer, ms, redis_settings, until};

/// Keys of three nodes.
const KEYS: [&str; 3] = ["a", "b", "c"];

fn client(url: &str) -> Redis {
    let topology = ServerUrl::parse(url).expect("a URL").topology;
    Redis::new(Settings { topology, ..redis_settings(1) })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_is_on_its_node() {
    let cluster = Cluster::start().await;
    let (redis, script) = (client(&cluster.url()), Script::new(COUNT));
    for expected in ["1:x", "2:x"] {
        for key in KEYS {
            assert_eq!(redis.run(&script, key, &["x"], ms(5000)).await.as_deref(), Ok(expected), "{key}");
        }
    }
    let mut nodes = KEYS.map(|key| cluster.node_of(key));
    nodes.sort_unstable();
    assert_eq!(nodes, [0, 1, 2]);
    assert_eq!(redis.probe(&KEYS).await, Ok(()));

    // A message of any node arrives.
    let mut messages = redis.subscribe("news".to_owned());
    assert_eq!(messages.recv().await, Some(Message::Subscribed));
    let publish = Script::new("redis.call('PUBLISH', 'news', KEYS[1]) return 'published'");
    for key in KEYS {
        redis.run(&publish, key, &[], ms(5000)).await.expect("an answer");
        assert_eq!(messages.recv().await, Some(Message::Text(key.to_owned())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_moves_is_followed() {
    let cluster = Cluster::start().await;
    let (redis, script) = (client(&cluster.url()), Script::new(COUNT));
    assert_eq!(redis.run(&script, "a", &[], ms(5000)).await.as_deref(), Ok("1:"));
    let to = (cluster.node_of("a") + 1) % 3;
    cluster.begin_to_move("a", to);
    for expected in ["2:", "3:"] {
        assert_eq!(redis.run(&script, "a", &[], ms(5000)).await.as_deref(), Ok(expected), "its slot is moving");
    }
    cluster.end_to_move("a", to);
    assert_eq!(redis.run(&script, "a", &[], ms(5000)).await.as_deref(), Ok("4:"));
    assert_eq!(cluster.node_of("a"), to);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_is_looked_for_again() {
    let mut cluster = Cluster::start().await;
    let (redis, script) = (client(&cluster.url()), Script::new(COUNT));
    for key in KEYS {
        assert_eq!(redis.run(&script, key, &[], ms(5000)).await.as_deref(), Ok("1:"));
    }
    let away = cluster.node_of("a");
    cluster.nodes()[away].kill();
    let answer = redis.run(&script, "a", &[], ms(5000)).await;
    assert!(matches!(answer, Err(RunError::Unreachable(_) | RunError::Unknown(_))), "{answer:?}");
    until("the other nodes have noticed", async || {
        let answer = redis.run(&script, "b", &[], ms(5000)).await;
        matches!(&answer, Err(RunError::Unreachable(error)) if error.starts_with("CLUSTERDOWN"))
    })
    .await;
    cluster.nodes()[away].restart();
    cluster.until_ok().await;
    for key in KEYS {
        assert!(redis.run(&script, key, &[], ms(5000)).await.is_ok(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_has_to_fit_the_server() {
    let (cluster, single) = (Cluster::start().await, RedisServer::start(&[]));
    let as_single = cluster.url().replace("redis-cluster", "redis");
    let (one, _) = as_single.split_once(',').expect("several nodes");
    unusable(&client(one), "for a cluster write redis-cluster://").await;
    unusable(&client(&format!("{one}/1")), "for a cluster write redis-cluster://").await;
    unusable(
        &client(&single.url().replace("redis", "redis-cluster")),
        "is not a cluster: write redis:// or rediss:// in state.redis (the node of account main)",
    )
    .await;
}
