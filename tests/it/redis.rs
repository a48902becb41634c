//! The connection to Redis, with a real redis-server.

mod cluster;
mod replicas;
mod sentinels;

use std::{fs, sync::Arc};

use futures_util::future::join_all;
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    time::{sleep, timeout},
};
use zoho_gateway::{
    redis::{Failover, Message, ProbeError, Redis, RunError, Script, Server, Settings, Topology},
    secret::{Secret, credential::Credential},
    upstream::{ExtraRoots, tls},
};

use crate::support::{
    Authority, Ended, Gateway, Process, RedisServer, Sandbox, Setup, free_port, ms, redis_settings, until,
};

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
    let runs = (0..20).map(|_| redis.run(&script, "key", &["late"], ms(300)));
    for outcome in timeout(ms(1000), join_all(runs)).await.expect("the timeouts hold") {
        assert!(matches!(outcome, Err(RunError::Unknown(_))), "{outcome:?}");
    }
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
    for (key, answer) in keys.iter().zip(join_all(runs).await) {
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

#[tokio::test]
async fn a_database_behind_a_unix_socket_is_used() {
    let server = RedisServer::start(&[]);
    let redis = Redis::new(Settings {
        topology: Topology::Single(Server::Unix(server.socket())),
        database: 3,
        ..server.settings()
    });
    assert_eq!(redis.run(&Script::new(COUNT), "key", &[], ms(5000)).await.as_deref(), Ok("1:"));
    assert_eq!(server.command(&["-n", "3", "GET", "key"]), "1");
}

#[tokio::test]
async fn a_new_connection_is_opened_on_demand() {
    let server = RedisServer::start(&[]);
    let (redis, script) = (Redis::new(server.settings()), Script::new(COUNT));
    // The id of the connection that last ran a script.
    let id = || {
        let clients = server.command(&["CLIENT", "LIST"]);
        let client = clients.lines().find(|line| line.contains("cmd=eval")).expect("a connection");
        client.split(' ').next().map(str::to_owned)
    };
    redis.run(&script, "key", &[], ms(5000)).await.expect("an answer");
    let first = id();
    redis.run(&script, "key", &[], ms(5000)).await.expect("an answer");
    assert_eq!(id(), first);
    redis.reconnect();
    redis.run(&script, "key", &[], ms(5000)).await.expect("an answer");
    assert_ne!(id(), first);
}

// === What goes wrong on the way ===

/// A script that ran although its answer is lost must not run again.
#[tokio::test]
async fn a_script_without_an_answer_is_not_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let redis = Redis::new(redis_settings(listener.local_addr().expect("an address").port()));
    let script = Script::new(COUNT);
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        assert!(stream.read(&mut [0; 1024]).await.expect("a request") > 0);
    };
    let (answer, ()) = tokio::join!(redis.run(&script, "key", &[], ms(5000)), server);
    assert!(matches!(answer, Err(RunError::Unknown(_))), "{answer:?}");
    assert!(timeout(ms(300), listener.accept()).await.is_err(), "there is no second connection");
}

/// Its server may have vanished without a word.
#[tokio::test]
async fn a_connection_without_answers_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let redis = Redis::new(redis_settings(listener.local_addr().expect("an address").port()));
    let script = Script::new(COUNT);
    let mut connections = Vec::new();
    for _ in 0..2 {
        let answer = redis.run(&script, "key", &[], ms(100)).await;
        assert!(matches!(answer, Err(RunError::Unknown(_))), "{answer:?}");
        connections.push(timeout(ms(100), listener.accept()).await.expect("a new connection"));
    }
}

#[tokio::test]
async fn an_abandoned_script_does_not_confuse_the_next_one() {
    let server = RedisServer::start(&[]);
    let (redis, script) = (Redis::new(server.settings()), Script::new(COUNT));
    assert_eq!(redis.run(&script, "key", &["first"], ms(5000)).await.as_deref(), Ok("1:first"));
    server.freeze();
    for _ in 0..3 {
        let abandoned = timeout(ms(50), redis.run(&script, "key", &["abandoned"], ms(5000))).await;
        assert!(abandoned.is_err(), "{abandoned:?}");
    }
    server.thaw();
    assert_eq!(redis.run(&script, "other", &["next"], ms(5000)).await.as_deref(), Ok("1:next"));
    assert_eq!(server.command(&["GET", "key"]), "4", "the abandoned scripts ran late");
}

#[tokio::test]
async fn an_error_of_the_server_is_passed_on() {
    let server = RedisServer::start(&[]);
    let redis = Redis::new(server.settings());
    for (code, words) in [
        ("return redis.call('INCR', KEYS[1], 'x')", "ERR"),
        ("return redis.error_reply('MISCONF the disk is full')", "MISCONF the disk is full"),
        ("this is not Lua", "ERR Error compiling script"),
    ] {
        let answer = redis.run(&Script::new(code), "key", &[], ms(5000)).await;
        assert!(matches!(&answer, Err(RunError::Refused(error)) if error.starts_with(words)), "{answer:?}");
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let answer = redis.run(&Script::new(COUNT), "key", &[], ms(5000)).await;
    assert!(matches!(&answer, Err(RunError::Refused(error)) if error.contains("OOM")), "{answer:?}");
    let answer = redis.run(&Script::new("return {1}"), "key", &[], ms(5000)).await;
    assert!(matches!(answer, Err(RunError::Unknown(_))), "{answer:?}");
}

#[tokio::test]
async fn a_subscription_connects_again_without_a_busy_loop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let redis = Redis::new(redis_settings(listener.local_addr().expect("an address").port()));
    let messages = redis.subscribe("news".to_owned());
    let mut connections = 0;
    let counting = async {
        loop {
            drop(listener.accept().await);
            connections += 1;
        }
    };
    // After pauses of 50, 100, 200, 400 and 800 ms, and then a second each.
    assert!(timeout(ms(2000), counting).await.is_err());
    assert!((3..=6).contains(&connections), "{connections}");
    drop(messages);
    sleep(ms(50)).await;
    while timeout(ms(50), listener.accept()).await.is_ok() {}
    assert!(timeout(ms(1500), listener.accept()).await.is_err(), "the task has ended with its receiver");
}

/// A slow receiver is told that it lost messages, and does not fill the memory.
#[tokio::test]
async fn a_slow_receiver_is_told_that_messages_were_lost() {
    let server = RedisServer::start(&[]);
    let mut messages = Redis::new(server.settings()).subscribe("news".to_owned());
    assert_eq!(messages.recv().await, Some(Message::Subscribed));
    let publish = "for number = 1, 1000 do redis.call('PUBLISH', 'news', number) end";
    server.command(&["EVAL", publish, "0"]);
    // The task waits for the receiver without a subscription.
    until("the subscription ends", async || server.command(&["PUBSUB", "NUMSUB", "news"]) == "news\n0").await;
    let mut texts = 0;
    while let Some(Message::Text(text)) = messages.recv().await {
        texts += 1;
        assert_eq!(text, texts.to_string());
    }
    assert!((1..1000).contains(&texts), "{texts}");
}

// === Who may connect ===

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_a_password_is_let_in() {
    let server = RedisServer::start(&[]);
    server.command(&["ACL", "SETUSER", "joe", "on", ">s3cret", "~*", "&*", "+@all"]);
    server.command(&["CONFIG", "SET", "requirepass", "d3fault"]);
    let command = |arguments: &[&str]| server.command(&[&["-a", "d3fault"], arguments].concat());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("password");
    fs::write(&file, "s3cret\n").expect("a file");
    let of_file = Credential::in_file(file.clone()).expect("a password");
    let settings =
        |user: Option<&str>, password| Settings { user: user.map(str::to_owned), password, ..server.settings() };
    let script = Script::new(COUNT);
    let joe = Redis::new(settings(Some("joe"), Some(of_file.clone())));
    assert_eq!(joe.run(&script, "key", &[], ms(5000)).await.as_deref(), Ok("1:"));
    let default = Redis::new(settings(None, Some(password("d3fault"))));
    assert_eq!(default.run(&script, "key", &[], ms(5000)).await.as_deref(), Ok("2:"));

    // A changed password is used for the next connection.
    command(&["ACL", "SETUSER", "joe", "resetpass", ">n3xt"]);
    fs::write(&file, "n3xt\n").expect("a file");
    command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    sleep(ms(50)).await;
    assert_eq!(joe.run(&script, "key", &[], ms(5000)).await.as_deref(), Ok("3:"));
    let mut messages = joe.subscribe("news".to_owned());
    assert_eq!(messages.recv().await, Some(Message::Subscribed));

    for (user, password, words) in [
        (None, None, "NOAUTH"),
        (None, Some(password("wr0ng")), "WRONGPASS"),
        (Some("joe"), Some(password("wr0ng")), "WRONGPASS"),
        (Some("nobody"), Some(password("wr0ng")), "WRONGPASS"),
        (Some("joe"), None, "WRONGPASS"),
    ] {
        let redis = Redis::new(settings(user, password));
        let answer = redis.run(&script, "key", &[], ms(5000)).await;
        assert!(matches!(&answer, Err(RunError::Refused(error)) if error.starts_with(words)), "{answer:?}");
        let told = format!("{answer:?} {redis:?}");
        assert!(!told.contains("wr0ng"), "{told}");
        unusable(&redis, "set state.redis_password|correct state.redis_user and state.redis_password").await;
    }
}

#[tokio::test]
async fn tls_trusts_an_authority_of_its_own() {
    let server = RedisServer::start(&[]);
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a temporary folder"));
    let (issued, path) = (authority.issue(&["localhost"]), |name: &str| folder.path().join(name));
    for (name, pem) in [("cert", issued.pem()), ("key", issued.key_pem()), ("ca", authority.pem())] {
        fs::write(path(name), pem).expect("a file");
    }
    let port = free_port();
    let [cert, key] = ["cert", "key"].map(|name| path(name).display().to_string());
    let set = ["tls-cert-file", &cert, "tls-key-file", &key, "tls-auth-clients", "no", "tls-port", &port.to_string()];
    assert_eq!(server.command(&[&["CONFIG", "SET"], &set[..]].concat()), "OK", "a redis-server with TLS");

    let roots = ExtraRoots::in_file(&path("ca")).expect("an authority");
    let settings = |host: &str, port, roots: &ExtraRoots| Settings {
        topology: Topology::Single(Server::Tls { host: host.to_owned(), port }),
        tls: Arc::new(tls(roots)),
        ..server.settings()
    };
    let redis = Redis::new(settings("localhost", port, &roots));
    assert_eq!(redis.run(&Script::new(COUNT), "key", &[], ms(5000)).await.as_deref(), Ok("1:"));
    let mut messages = redis.subscribe("news".to_owned());
    assert_eq!(messages.recv().await, Some(Message::Subscribed));
    for wrong in [settings("localhost", port, &ExtraRoots::default()), settings("127.0.0.1", port, &roots)] {
        let answer = Redis::new(wrong).run(&Script::new(COUNT), "key", &[], ms(5000)).await;
        assert!(matches!(&answer, Err(RunError::Unreachable(error)) if error.contains("certificate")), "{answer:?}");
    }
    let without_tls = settings("localhost", server.port(), &roots);
    let outcome = Redis::new(without_tls).probe(&["main"]).await;
    let asks = |error: &str| error.contains("does the server speak TLS?");
    assert!(matches!(&outcome, Err(ProbeError::Unreachable(error)) if asks(error)), "{outcome:?}");
    let in_the_clear = Settings { password: Some(password("s3cret")), ..redis_settings(port) };
    let answer = Redis::new(in_the_clear).run(&Script::new(COUNT), "key", &[], ms(5000)).await;
    assert!(matches!(&answer, Err(RunError::Unreachable(error)) if error.contains("TLS")), "{answer:?}");
}

// === The probe ===

#[tokio::test]
async fn the_probe_tells_what_to_change() {
    let server = RedisServer::start(&[]);
    let redis = Redis::new(server.settings());
    assert_eq!(redis.probe(&["main"]).await, Ok(()));

    unusable(&Redis::new(Settings { database: 99, ..server.settings() }), "has no database 99").await;
    let with_password = Settings { password: Some(password("s3cret")), ..server.settings() };
    unusable(&Redis::new(with_password), "remove state.redis_password").await;
    server.command(&["ACL", "SETUSER", "joe", "on", ">s3cret", "~*", "&*", "+@all", "-info"]);
    let without_info =
        Settings { user: Some("joe".to_owned()), password: Some(password("s3cret")), ..server.settings() };
    unusable(&Redis::new(without_info), "allow it on the keys").await;
    let of_jobs = [
        "-hset",
        "-hget",
        "-hstrlen",
        "-hdel",
        "-zadd",
        "-zscore",
        "-zrange",
        "-zrangebyscore",
        "-zrangebylex",
        "-zrem",
    ];
    for right in ["-time", "-get", "-set", "-publish", "resetchannels", "resetkeys"].into_iter().chain(of_jobs) {
        server.command(&["ACL", "SETUSER", "joe", "reset", "on", ">s3cret", "~*", "&*", "+@all"]);
        server.command(&["ACL", "SETUSER", "joe", right]);
        let user = Settings { user: Some("joe".to_owned()), password: Some(password("s3cret")), ..server.settings() };
        unusable(&Redis::new(user), "allow it on the keys").await;
    }

    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    assert_eq!(redis.probe(&["main"]).await, Ok(()), "without maxmemory nothing is evicted");
    server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    unusable(&redis, "set maxmemory-policy to noeviction").await;
    server.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    assert_eq!(redis.probe(&["main"]).await, Ok(()));
}

#[tokio::test]
async fn replicas_are_refused_unless_their_failover_is_fenced() {
    let master = RedisServer::start(&[]);
    let replica = RedisServer::start(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    let connected = async || master.command(&["INFO", "replication"]).contains("connected_slaves:1");
    until("the replica is connected", connected).await;
    let of_master = format!("is a replica: set state.redis to its master, 127.0.0.1:{}", master.port());
    unusable(&Redis::new(replica.settings()), &of_master).await;
    replica.command(&["CONFIG", "SET", "replica-read-only", "no"]);
    unusable(&Redis::new(replica.settings()), "is a replica, even though it takes writes").await;
    unusable(&Redis::new(master.settings()), "set state.failover to \"fenced\" instead").await;
    let fenced = Settings { failover: Failover::Fenced, ..master.settings() };
    assert_eq!(Redis::new(fenced).probe(&["main"]).await, Ok(()));
    drop(replica);
}

#[tokio::test]
async fn a_server_that_is_away_may_come_back() {
    let mut server = RedisServer::start(&[]);
    let redis = Redis::new(server.settings());
    server.stop();
    let outcome = redis.probe(&["main"]).await;
    assert!(matches!(outcome, Err(ProbeError::Unreachable(_))), "{outcome:?}");
    server.restart();
    assert_eq!(redis.probe(&["main"]).await, Ok(()));
    let endless = Script::new("while true do end");
    server.command(&["CONFIG", "SET", "busy-reply-threshold", "1"]);
    let answer = redis.run(&endless, "key", &[], ms(200)).await;
    assert!(matches!(answer, Err(RunError::Unknown(_))), "{answer:?}");
    let outcome = redis.probe(&["main"]).await;
    assert!(matches!(&outcome, Err(ProbeError::Unreachable(error)) if error.contains("BUSY")), "{outcome:?}");
    assert_eq!(server.command(&["SCRIPT", "KILL"]), "OK");
    until("the script has ended", async || redis.probe(&["main"]).await == Ok(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_the_server_and_probes_it_online() {
    let (server, zoho) = (RedisServer::start(&[]), Sandbox::boundless());
    server.command(&["CONFIG", "SET", "requirepass", "s3cret"]);
    let url = server.url().replace("redis://", "redis://:s3cret@");
    let setup = Gateway::before(&zoho).set("state.redis", url);
    let named = format!("redis    {}, database 0, namespace zoho-gateway\n", server.url());
    let offline = check(&setup, &[]);
    assert!(offline.code == Some(0) && offline.stdout.contains(&named), "{offline:?}");
    let online = check(&setup, &["--online"]);
    let fit = format!("redis: {} is fit for a shared ledger", server.url());
    assert!(online.code == Some(0) && online.stdout.contains(&fit), "{online:?}");
    server.command(&["-a", "s3cret", "CONFIG", "SET", "requirepass", "0ther"]);
    let refused = check(&setup, &["--online"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("correct state.redis_user"), "{refused:?}");
    assert!(!format!("{offline:?} {online:?} {refused:?}").contains("s3cret"));
}

fn check(setup: &Setup, more: &[&str]) -> Ended {
    let config = setup.write();
    let arguments = [&["check", "--config", config.to_str().expect("UTF-8")], more].concat();
    Process::run(&arguments, &[])
}

fn password(text: &str) -> Credential {
    Credential::written(Secret::from(text)).expect("a password")
}

/// Checks that the probe refuses the server with one of these texts, which "|" separates.
async fn unusable(redis: &Redis, words: &str) {
    match redis.probe(&["main"]).await {
        Err(ProbeError::Unusable(error)) if words.split('|').any(|words| error.contains(words)) => {}
        other => panic!("{words}: {other:?}"),
    }
}
