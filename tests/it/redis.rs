//! The connection to Redis, with a real redis-server.

use std::time::Instant;

use zoho_gateway::redis::{Message, Redis, RunError, Script};

use crate::support::{RedisServer, ms};

/// Counts its runs.
const COUNT: &str = "return tostring(redis.call('INCR', KEYS[1])) .. ':' .. table.concat(ARGV, ',')";

#[tokio::test]
async fn runs_a_script_even_if_the_server_forgot_it() {
    let server = RedisServer::start(&[]);
    let (redis, script) = (Redis::new(server.settings()), Script::new(COUNT));
    for (flush, expected) in [(false, "1:a,b"), (false, "2:a,b"), (true, "3:a,b"), (false, "4:a,b")] {
        if flush {
            server.command(&["SCRIPT", "FLUSH"]);
        }
        assert_eq!(redis.run(&script, "key", &["a", "b"], ms(5000)).await.as_deref(), Ok(expected));
    }
    assert_eq!(server.command(&["GET", "key"]), "4");
    assert_eq!(redis.namespace(), "test");
}

#[tokio::test]
async fn a_frozen_server_blocks_no_longer_than_the_timeout() {
    let server = RedisServer::start(&[]);
    let (redis, script) = (Redis::new(server.settings()), Script::new(COUNT));
    redis.run(&script, "key", &["before"], ms(5000)).await.expect("an answer");
    server.freeze();
    let start = Instant::now();
    let runs = (0..20).map(|_| redis.run(&script, "key", &["late"], ms(300)));
    for outcome in futures_util::future::join_all(runs).await {
        assert!(matches!(outcome, Err(RunError::Unknown(_))), "{outcome:?}");
    }
    assert!(start.elapsed() < ms(1000), "{:?}", start.elapsed());
    server.thaw();
    // The late answers are not taken for this one.
    let answer = redis.run(&script, "other", &["after"], ms(5000)).await;
    assert_eq!(answer.as_deref(), Ok("1:after"));
}

#[tokio::test]
async fn many_scripts_run_at_a_time_and_each_gets_its_answer() {
    let server = RedisServer::start(&[]);
    let (redis, script) = (Redis::new(server.settings()), Script::new(COUNT));
    let keys: Vec<String> = (0..500).map(|number| format!("key {number}")).collect();
    let runs = keys.iter().map(async |key| redis.run(&script, key, &[key], ms(5000)).await);
    for (key, answer) in keys.iter().zip(futures_util::future::join_all(runs).await) {
        assert_eq!(answer, Ok(format!("1:{key}")));
    }
    // One connection for all scripts, and that of redis-cli.
    assert_eq!(server.command(&["CLIENT", "LIST"]).lines().count(), 2);
}

// The test's own thread blocks while the server stops and starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_used_again() {
    let mut server = RedisServer::start(&[]);
    let (redis, script) = (Redis::new(server.settings()), Script::new(COUNT));
    assert_eq!(redis.run(&script, "key", &[], ms(5000)).await.as_deref(), Ok("1:"));
    server.kill();
    let answer = redis.run(&script, "key", &[], ms(5000)).await;
    assert!(matches!(answer, Err(RunError::Unreachable(_) | RunError::Unknown(_))), "{answer:?}");
    let answer = redis.run(&script, "key", &[], ms(5000)).await;
    assert!(matches!(answer, Err(RunError::Unreachable(_))), "{answer:?}");
    server.restart();
    assert_eq!(redis.run(&script, "key", &[], ms(5000)).await.as_deref(), Ok("2:"), "the data survived kill -9");
    server.stop();
    server.restart_empty();
    assert_eq!(redis.run(&script, "key", &[], ms(5000)).await.as_deref(), Ok("1:"), "an idle connection was replaced");
}

#[tokio::test]
async fn a_subscription_survives_a_restart() {
    let mut server = RedisServer::start(&[]);
    let mut messages = Redis::new(server.settings()).subscribe("news".to_owned());
    for text in ["one", "two"] {
        assert_eq!(messages.recv().await, Some(Message::Subscribed));
        server.command(&["PUBLISH", "other", "nothing"]);
        server.command(&["PUBLISH", "news", text]);
        assert_eq!(messages.recv().await, Some(Message::Text(text.to_owned())));
        server.kill();
        server.restart();
    }
    assert_eq!(messages.recv().await, Some(Message::Subscribed));
}
