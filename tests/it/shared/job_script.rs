//! The rules of the script of jobs, on a real server.

use serde_json::Value;
use zoho_gateway::redis::{Redis, Script};

use crate::support::{RedisServer, ms};

const ID: &str = "0193-job";
const LEASE: u64 = 5000;

/// A gateway, as the script sees it.
struct Owner<'a> {
    redis: &'a Redis,
    name: &'a str,
}

impl Owner<'_> {
    async fn run(&self, operation: &str, arguments: &[&str]) -> String {
        let script = Script::new(include_str!("../../../src/middleware/jobs/store/shared.lua")).with_further_keys(&[
            ":records",
            ":requests",
            ":answers",
            ":names",
            ":until",
            ":owned",
            ":listed",
            ":heard",
            ":since",
            ":claimed",
            ":news",
            ":counts",
            ":server",
        ]);
        let arguments = [&[operation, self.name], arguments].concat();
        self.redis.run(&script, "test:{main}:jobs", &arguments, ms(5000)).await.expect("an answer")
    }

    async fn write(&self, number: &str, state: &str, request: &str) -> String {
        self.run("write", &[ID, number, state, "9999999999", "caller", state, request, ""]).await
    }

    async fn beat(&self) -> Value {
        serde_json::from_str(&self.run("beat", &[]).await).expect("JSON")
    }

    async fn shown(&self) -> String {
        let shown = self.run("show", &[ID]).await;
        serde_json::from_str(&shown).map_or(shown, |row: Value| row["record"].as_str().expect("text").to_owned())
    }
}

/// Resolves after a lease in which these gateways were heard.
async fn lease_of(owners: &[&Owner<'_>]) {
    for _ in 0..=LEASE / 500 {
        tokio::time::sleep(ms(500)).await;
        for owner in owners {
            owner.run("beat", &["nothing"]).await;
        }
    }
}

#[tokio::test]
async fn only_the_owner_changes_a_job_and_no_late_request_does() {
    let server = RedisServer::start(&[]);
    let redis = Redis::new(server.settings());
    let [one, other] = ["one", "other"].map(|name| Owner { redis: &redis, name });
    assert_eq!(one.write("1", "q", "").await, "lost", "what is not new has a request already");
    assert_eq!(one.write("2", "q", "cmVx").await, "ok");
    assert_eq!(one.write("4", "s", "").await, "ok");
    assert_eq!(one.write("3", "q", "").await, "ok", "too late");
    assert_eq!(other.write("9", "q", "").await, "lost");
    assert_eq!(one.shown().await, "s");
    assert_eq!(other.run("cancel", &[ID]).await, "sent");
    assert_eq!(one.write("5", "x", "").await, "ok");
    assert_eq!(one.shown().await, "");
    assert_eq!(one.write("2", "q", "cmVx").await, "lost", "a removed job is not made again");
    assert_eq!((one.write("6", "q", "").await.as_str(), one.shown().await.as_str()), ("lost", ""));
}

#[tokio::test]
async fn a_key_has_one_job() {
    let server = RedisServer::start(&[]);
    let redis = Redis::new(server.settings());
    let [one, other] = ["one", "other"].map(|name| Owner { redis: &redis, name });
    let reserve =
        async |owner: &Owner<'_>, id| owner.run("reserve", &[id, "1", "9999999999", "caller", "record", "key"]).await;
    assert_eq!(reserve(&one, ID).await, "");
    assert_eq!(reserve(&other, "another").await, ID);
    assert_eq!(one.write("2", "x", "").await, "ok");
    assert_eq!(reserve(&other, "another").await, "");
    assert_eq!(reserve(&one, "third").await, "another");
}

#[tokio::test]
async fn jobs_are_taken_over_after_a_lease_and_not_after_an_outage() {
    let server = RedisServer::start(&[]);
    let redis = Redis::new(server.settings());
    let [one, other] = ["one", "other"].map(|name| Owner { redis: &redis, name });
    assert_eq!(one.write("1", "q", "cmVx").await, "ok");
    lease_of(&[&one, &other]).await;
    // All were silent: nobody knows that the first is gone.
    tokio::time::sleep(ms(LEASE + 500)).await;
    assert!(other.beat().await.get("rows").is_none());
    lease_of(&[&other]).await;
    let row = &other.beat().await["rows"][0];
    assert_eq!((&row["id"], &row["request"]), (&ID.into(), &"cmVx".into()));
    assert_eq!(other.beat().await["rows"][0]["id"], ID, "until it says that it has it");
    other.run("beat", &[ID]).await;
    assert!(other.beat().await.get("rows").is_none());
    assert_eq!(one.write("2", "s", "").await, "lost", "the first cannot send it any more");
    assert_eq!(other.write("1", "s", "").await, "ok");
    // A clean stop needs no lease.
    other.run("leave", &[]).await;
    assert_eq!(one.beat().await["rows"][0]["id"], ID);
}
