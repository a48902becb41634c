//! `state.redis` and the keys that belong to it.

use super::*;
use crate::redis::{Failover, Settings};

fn settings(text: &str) -> Settings {
    good(&with_account(text), &[]).state.redis.unwrap().settings
}

#[test]
fn a_server_has_defaults() {
    let config = good(&with_account("state.redis = \"redis://localhost\"\n"), &[]);
    let shared = config.state.redis.as_ref().unwrap();
    assert_eq!(shared.lease, Duration::from_secs(5));
    let Settings { topology, user, password, database, namespace, failover, replicas, .. } = &shared.settings;
    assert_eq!((topology.to_string().as_str(), namespace.as_str()), ("redis://localhost:6379", "zoho-gateway"));
    assert!(user.is_none() && password.is_none());
    assert_eq!((*database, *failover, *replicas), (0, Failover::None, 0));
    // Another gateway may use the login, so an empty Redis is no first start.
    assert_eq!(config.state.when_empty, WhenEmpty::AssumeLost);
    assert_eq!(config.warnings(), [""; 0]);
    assert!(config.state.dir.is_some());
    assert!(good(ACCOUNT, &[]).state.redis.is_none());
}

#[test]
fn every_key_of_a_server_is_taken() {
    let text = r#"
        [state]
        redis = "rediss://redis.example:7000/3"
        redis_user = "joe"
        redis_password = "pass"
        namespace = "team:a.b_c-1"
        lease = "1s"
        failover = "fenced"
        dir = "none"
        when_empty = "fresh"
        "#;
    let config = good(&with_account(text), &[]);
    let shared = config.state.redis.as_ref().unwrap();
    let Settings { topology, user, password, database, namespace, failover, .. } = &shared.settings;
    assert_eq!((topology.to_string().as_str(), namespace.as_str()), ("rediss://redis.example:7000", "team:a.b_c-1"));
    assert_eq!(password.as_ref().unwrap().current().expose(), "pass");
    assert_eq!((user.as_deref(), *database, *failover), (Some("joe"), 3, Failover::Fenced));
    assert_eq!((shared.lease, config.state.when_empty), (Duration::from_secs(1), WhenEmpty::Fresh));
    assert_eq!(config.state.dir, None, "not even STATE_DIRECTORY");
    assert!(!format!("{config:?}").contains("\"pass\""));
}

#[test]
fn replicas_are_counted() {
    let settings = |line: &str| settings(&format!("[state]\nredis = \"redis://h\"\n{line}\n"));
    assert_eq!(settings("replicas = 2").replicas, 2);
    assert_eq!(settings("replicas = 8\nfailover = \"none\"").replicas, 8);
    assert_eq!(settings("replicas = 0\nfailover = \"fenced\"").failover, Failover::Fenced);
}

#[test]
fn sentinels_and_nodes_are_taken() {
    let text = r#"
        [state]
        redis = "rediss-sentinel://h,i:1/main/2"
        redis_password = "pass"
        redis_sentinel_password = "other"
        replicas = 2
        "#;
    let Settings { topology, password, sentinel_password, database, .. } = settings(text);
    assert_eq!((topology.to_string().as_str(), database), ("rediss-sentinel://h:26379,i:1/main", 2));
    let [password, of_sentinels] = [password, sentinel_password].map(|password| password.unwrap().current());
    assert_eq!((password.expose(), of_sentinels.expose()), ("pass", "other"));
    let fenced = settings("[state]\nredis = \"redis-sentinel://h/main\"\nfailover = \"fenced\"\n");
    assert_eq!(fenced.failover, Failover::Fenced);
    let cluster = settings("state.redis = \"redis-cluster://h,i:1\"\n");
    assert_eq!(cluster.topology.to_string(), "redis-cluster://h:6379,i:1");
}

#[test]
fn a_url_may_be_in_a_file_or_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    fs::write(&file, "unix:/run/redis.sock?db=2\n").unwrap();
    let of_file = settings(&format!("state.redis = {{ file = \"{}\" }}\n", file.display()));
    assert_eq!((of_file.topology.to_string().as_str(), of_file.database), ("unix:/run/redis.sock", 2));
    for (text, variable) in [("state.redis = { env = \"URL\" }\n", "URL"), ("", "ZOHO_GATEWAY__STATE__REDIS")] {
        let config = good(&with_account(text), &[(variable, "redis://joe:p%40ss@redis.example")]);
        let Settings { user, password, .. } = &config.state.redis.as_ref().unwrap().settings;
        let password = password.as_ref().unwrap().current();
        assert_eq!((user.as_deref(), password.expose()), (Some("joe"), "p@ss"));
        let warning =
            "the password of Redis crosses the network in the clear at redis://redis.example:6379; use rediss://";
        assert_eq!(config.warnings(), [warning]);
    }
}

#[test]
fn mistakes_are_told_without_the_url() {
    let malformed = "state.redis: expected a URL such as";
    let range = "state.lease: expected a duration from 1s to 1m";
    let name = "state.namespace: expected 1 to 64 letters, digits and . _ - :";
    let long = format!("redis = \"redis://h\"\nnamespace = \"{}\"", "x".repeat(65));
    for (text, expected) in [
        ("redis = \"http://joe:s3cr3tc4n4ry@h\"", malformed),
        ("redis = \"redis://joe:s3cr3tc4n4ry/@h\"", malformed),
        ("redis = \"redis://h/s3cr3tc4n4ry\"", "state.redis: expected the number of a database"),
        (
            "redis = \"redis+sentinel://:s3cr3tc4n4ry@h\"",
            "state.redis: expected the Sentinels and the name of the master",
        ),
        (
            "redis = \"redis+sentinel://:s3cr3tc4n4ry@h/main\"",
            "state.redis: with Sentinel a replica takes over that may lack the last writes: set state.replicas",
        ),
        ("redis = \"redis+cluster://:s3cr3tc4n4ry@h/1\"", "state.redis: a cluster has no databases"),
        ("redis = \"redis://:s3cr3tc4n4ry@h,i\"", "state.redis: expected one host"),
        (
            "redis = \"redis://h\"\nredis_sentinel_password = \"p\"",
            "state.redis_sentinel_password: is for Sentinels: write redis-sentinel:// in state.redis",
        ),
        ("redis = \"redis://:s3cr3tc4n4ry%20x@h\"", "state.redis: its password holds white space"),
        ("redis = \"\"", "state.redis: is empty"),
        ("redis = 6379", "state.redis: expected a string, { env = \"NAME\" } or { file = \"PATH\" }, found an integer"),
        ("redis = \"redis://h\"\nredis_user = \"\"", "state.redis_user: is empty"),
        ("redis = \"redis://u@h\"\nredis_user = \"u\"", "state.redis_user: the URL of state.redis has one too"),
        (
            "redis = \"redis://:s3cr3tc4n4ry@h\"\nredis_password = \"p\"",
            "state.redis_password: the URL of state.redis has one too",
        ),
        ("redis = \"redis://h\"\nredis_ca_file = \"/no/ca.pem\"", "state.redis_ca_file: the file /no/ca.pem cannot"),
        ("redis = \"redis://h\"\nlease = \"0.9s\"", range),
        ("redis = \"redis://h\"\nlease = \"61s\"", range),
        ("redis = \"redis://h\"\nnamespace = \"\"", name),
        ("redis = \"redis://h\"\nnamespace = \"a{b}\"", name),
        ("redis = \"redis://h\"\nnamespace = \"a b\"", name),
        (&long, name),
        ("redis = \"redis://h\"\nreplicas = 9", "state.replicas: expected an integer from 0 to 8"),
        ("redis = \"redis://h\"\nreplicas = -1", "state.replicas: expected an integer from 0 to 8"),
        (
            "redis = \"redis://h\"\nreplicas = 1\nfailover = \"fenced\"",
            "state.failover: \"fenced\" makes a majority of state.replicas needless",
        ),
        ("replicas = 0", "state.replicas: has no effect without state.redis"),
        ("redis = \"redis://h\"\nfailover = \"yes\"", "state.failover: expected one of \"none\", \"fenced\""),
        ("redis_user = \"u\"", "state.redis_user: has no effect without state.redis"),
        ("redis_sentinel_password = \"p\"", "state.redis_sentinel_password: has no effect without state.redis"),
        ("redis_password = \"p\"", "state.redis_password: has no effect without state.redis"),
        ("namespace = \"n\"", "state.namespace: has no effect without state.redis"),
        ("lease = \"5s\"", "state.lease: has no effect without state.redis"),
        ("failover = \"none\"", "state.failover: has no effect without state.redis"),
        ("dir = \"none\"", "state.dir: \"none\" is for state.redis"),
    ] {
        let errors = bad(&with_account(&format!("[state]\n{text}\n")), &[]);
        assert!(lines(&errors).iter().any(|line| line.contains(expected)), "{text}: {errors}");
        assert!(!format!("{errors} {errors:?}").contains(CANARY), "{errors}");
    }
}

#[test]
fn a_trust_root_is_for_tls() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let authority = rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap();
    fs::write(&file, authority.cert.pem()).unwrap();
    let with_url =
        |url: &str| with_account(&format!("[state]\nredis = \"{url}\"\nredis_ca_file = \"{}\"\n", file.display()));
    assert!(good(&with_url("rediss://h"), &[]).state.redis.is_some());
    let message = lines(&bad(&with_url("redis://h"), &[]));
    assert_eq!(message, ["gateway.toml:3:1: state.redis_ca_file: is for TLS: write rediss:// in state.redis"]);
}
