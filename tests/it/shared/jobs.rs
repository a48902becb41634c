//! Jobs on Redis: every gateway answers for them, and another one goes on when their gateway ends.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use tokio::sync::Notify;

use super::sharing;
use crate::{
    jobs::{ROUTE, accepted, job, operators::run, share, state, until_in},
    support::{Call, Gateway, RedisServer, Reply, Setup, Upstream, delete, get, ms, until},
};

/// Zoho answers its first call when the gate opens, and all others at once.
async fn first_behind_gate() -> (Upstream, Arc<Notify>) {
    let (gate, count) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::json(200, r#"{"message":"first"}"#).behind(&closed),
        _ => Reply::json(200, r#"{"message":"ok"}"#),
    })
    .await;
    (upstream, gate)
}

/// One slot, so that jobs wait.
fn one_slot(upstream: &Upstream, redis: &RedisServer) -> Setup {
    sharing(Gateway::before_upstream(upstream), redis).route(ROUTE, "requests", 1).set("upstream.timeout", "5s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_jobs_of_a_killed_gateway_go_on_at_another_one() {
    go_on_after(Gateway::kill_now).await;
}

/// The kernel kills it before it could send anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_jobs_of_a_frozen_gateway_go_on_at_another_one() {
    go_on_after(|gateway| {
        gateway.process().signal("STOP");
        std::thread::sleep(ms(5500));
        gateway.kill_now();
    })
    .await;
}

async fn go_on_after(end: impl FnOnce(&mut Gateway)) {
    let (redis, (upstream, _gate)) = (RedisServer::start(&[]), first_behind_gate().await);
    let (mut killed, other) = (one_slot(&upstream, &redis).start(), one_slot(&upstream, &redis).start());
    let on_the_way = accepted(&killed.send(&job()).await);
    upstream.until_received(1).await;
    let mut waiting = Vec::new();
    for number in 2..5 {
        waiting.push(accepted(&killed.send(&share(number).header("prefer", "respond-async")).await));
    }
    assert_eq!(state(&other, &on_the_way).await["state"], "sending");
    assert_eq!(state(&other, &waiting[0]).await["state"], "queued");
    tokio::task::block_in_place(|| end(&mut killed));
    until_in(&other, &on_the_way, "unknown").await;
    other.send(&get(&format!("{on_the_way}/answer"))).await.problem(502, "job-outcome-unknown");
    for location in &waiting {
        until_in(&other, location, "done").await;
        other.send(&get(&format!("{location}/answer"))).await.is_zohos(200);
    }
    let mut bodies: Vec<_> = upstream.received().into_iter().map(|request| request.body).collect();
    bodies.sort();
    let count = bodies.len();
    bodies.dedup();
    assert_eq!((count, bodies.len()), (4, 4), "each is sent once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_gateway_answers_for_the_jobs_of_the_others() {
    let (redis, (upstream, gate)) = (RedisServer::start(&[]), first_behind_gate().await);
    let (owner, other) = (one_slot(&upstream, &redis).start(), one_slot(&upstream, &redis).start());
    let first = accepted(&owner.send(&job()).await);
    upstream.until_received(1).await;
    let second = accepted(&owner.send(&share(2).header("prefer", "respond-async")).await);
    let counts = other.send(&get("/gateway/jobs")).await.json()["counts"].clone();
    assert_eq!((&counts["sending"], &counts["queued"]), (&json!(1), &json!(1)), "{counts}");
    other.send(&delete(&first)).await.problem(409, "job-sent");
    assert_eq!(other.send(&delete(&second)).await.status, 204);
    other.send(&get(&second)).await.problem(404, "unknown-job");
    until("its owner knows too", async || owner.send(&get(&second)).await.status == 404).await;
    let waits = get(&format!("{first}/answer")).header("prefer", "wait=20");
    let answer = tokio::spawn(waits.sending(other.address()));
    tokio::time::sleep(ms(100)).await;
    gate.notify_one();
    let answer = answer.await.expect("no panic");
    answer.is_zohos(200);
    assert_eq!(answer.json()["message"], "first");
    assert_eq!(upstream.received().len(), 1, "what was removed is not sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_one_call_for_all_gateways() {
    let (redis, (upstream, gate)) = (RedisServer::start(&[]), first_behind_gate().await);
    let start = || sharing(Gateway::before_upstream(&upstream), &redis).set("upstream.timeout", "5s").start();
    let (one, other) = (start(), start());
    let keyed = |number| share(number).header("idempotency-key", "\"k\"").header("prefer", "wait=20");
    let calls = [keyed(1).sending(one.address()), keyed(1).sending(other.address())].map(tokio::spawn);
    upstream.until_received(1).await;
    tokio::time::sleep(ms(500)).await;
    gate.notify_one();
    for call in calls {
        let answer = call.await.expect("no panic");
        answer.is_zohos(200);
        assert_eq!(answer.json()["message"], "first");
    }
    for gateway in [&one, &other] {
        gateway.send(&keyed(1)).await.is_zohos(200);
        gateway.send(&keyed(2)).await.problem(422, "idempotency-key-reused");
    }
    assert_eq!(upstream.received().len(), 1);
}

/// Only the gateway that has the call can make a job of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_a_key_becomes_a_job_through_any_gateway() {
    let (redis, (upstream, gate)) = (RedisServer::start(&[]), first_behind_gate().await);
    let setup = || one_slot(&upstream, &redis).set("upstream.timeout", "30s");
    let (owner, other) = (setup().start(), setup().start());
    let keyed = |number| share(number).header("idempotency-key", &format!("\"{number}\"")).header("prefer", "wait=20");
    let sending = tokio::spawn(keyed(1).sending(owner.address()));
    upstream.until_received(1).await;
    let waiting = tokio::spawn(keyed(2).sending(owner.address()));
    owner.until_waiting(1).await;
    let as_job =
        |number| share(number).header("idempotency-key", &format!("\"{number}\"")).header("prefer", "respond-async");
    let [first, second] = [accepted(&other.send(&as_job(1)).await), accepted(&other.send(&as_job(2)).await)];
    assert_eq!(state(&owner, &first).await["state"], "sending");
    // It goes on without its caller.
    waiting.abort();
    gate.notify_one();
    sending.await.expect("no panic").is_zohos(200);
    for location in [&first, &second] {
        until_in(&other, location, "done").await;
    }
    // What has ended needs no job.
    owner.send(&keyed(3)).await.is_zohos(200);
    other.send(&as_job(3)).await.is_zohos(200);
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_and_cancel_the_jobs_of_all_gateways() {
    let (redis, (upstream, gate)) = (RedisServer::start(&[]), first_behind_gate().await);
    let setup = || one_slot(&upstream, &redis).set("upstream.timeout", "30s");
    let (owner, other) = (setup().start(), setup().start());
    let first = accepted(&owner.send(&job()).await);
    upstream.until_received(1).await;
    let mut waiting = Vec::new();
    for (number, gateway) in [(2, &owner), (3, &other), (4, &owner)] {
        waiting.push(accepted(&gateway.send(&share(number).header("prefer", "respond-async")).await));
    }
    let id = |location: &str| location.rsplit('/').next().expect("an id").to_owned();
    for gateway in [&owner, &other] {
        let (code, list) = run(gateway, &[]);
        assert_eq!(code, Some(0), "{list}");
        let ids: Vec<_> = list.lines().take(4).map(|line| line.split("  ").next().expect("an id").to_owned()).collect();
        let made: Vec<_> = [&first].into_iter().chain(&waiting).map(|location| id(location)).collect();
        assert_eq!(ids, made, "{list}");
        assert!(list.trim_end().ends_with("3 queued, 1 sending, 0 done, 0 failed, 0 unknown"), "{list}");
        let mut next = Some("/jobs?limit=2&state=queued".to_owned());
        let mut listed = Vec::new();
        while let Some(page) = next {
            let page = gateway.admin(&page).await.json();
            let jobs = page["jobs"].as_array().expect("a list");
            listed.extend(jobs.iter().map(|job| job["id"].as_str().expect("an id").to_owned()));
            next = page["next"].as_str().map(str::to_owned);
        }
        assert_eq!(listed, made[1..]);
        assert!(run(gateway, &["show", &id(&waiting[1])]).1.contains("queued"));
    }
    // Each gateway counts its own, so the sum is right.
    assert!(owner.has_metric("zoho_gateway_jobs{state=\"queued\"} 2").await);
    assert!(other.has_metric("zoho_gateway_jobs{state=\"queued\"} 1").await);
    assert_eq!(run(&other, &["cancel", &id(&first)]).0, Some(1));
    for (gateway, location) in [(&other, &waiting[0]), (&owner, &waiting[1])] {
        let (code, text) = run(gateway, &["cancel", &id(location)]);
        assert_eq!(code, Some(0), "{text}");
        let (code, text) = run(gateway, &["show", &id(location)]);
        assert!(code == Some(1) && text.contains("unknown-job"), "{text}");
    }
    gate.notify_one();
    for location in [&first, &waiting[2]] {
        until_in(&other, location, "done").await;
    }
    assert_eq!(upstream.received().len(), 2, "what was removed is not sent");
}

/// A snapshot says that a job waits which was sent since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_redis_has_from_a_snapshot_are_not_sent_again() {
    let mut redis = RedisServer::start(&["--appendonly", "no"]);
    let (upstream, gate) = first_behind_gate().await;
    let setup = one_slot(&upstream, &redis).set("upstream.timeout", "10s");
    let mut gateway = setup.start();
    let asynchronous = |call: Call| call.header("prefer", "respond-async");
    let first = accepted(&gateway.send(&job()).await);
    upstream.until_received(1).await;
    let second = accepted(&gateway.send(&asynchronous(share(2))).await);
    let repeatable = accepted(&gateway.send(&share(3).header("prefer", "respond-async; idempotent")).await);
    assert_eq!(redis.command(&["SAVE"]), "OK");
    gate.notify_one();
    upstream.until_received(2).await;
    tokio::task::block_in_place(|| {
        gateway.kill_now();
        redis.kill();
        redis.restart();
    });
    let other = setup.start();
    for location in [&first, &second] {
        until_in(&other, location, "unknown").await;
    }
    until_in(&other, &repeatable, "done").await;
    let mut sent: Vec<_> = upstream.received().into_iter().map(|request| request.body).collect();
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), 3);
    // The third may have been sent before the end too.
    assert!(upstream.received().len() <= 4, "the others are sent once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_leaves_the_jobs_to_another_gateway() {
    let (redis, (upstream, gate)) = (RedisServer::start(&[]), first_behind_gate().await);
    let (stopped, other) = (one_slot(&upstream, &redis).start(), one_slot(&upstream, &redis).start());
    let first = accepted(&stopped.send(&job()).await);
    upstream.until_received(1).await;
    let second = accepted(&stopped.send(&share(2).header("prefer", "respond-async")).await);
    gate.notify_one();
    tokio::task::spawn_blocking(|| stopped.stop()).await.expect("it ends well");
    assert_eq!(state(&other, &first).await["state"], "done");
    until_in(&other, &second, "done").await;
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_no_job_is_accepted_and_none_is_lost() {
    let (mut redis, (upstream, gate)) = (RedisServer::start(&[]), first_behind_gate().await);
    let gateway = one_slot(&upstream, &redis).start();
    let first = accepted(&gateway.send(&job()).await);
    upstream.until_received(1).await;
    let second = accepted(&gateway.send(&share(2).header("prefer", "respond-async")).await);
    redis.kill();
    gateway.send(&share(3).header("prefer", "respond-async")).await.problem(503, "state-unavailable");
    gateway.send(&share(3).header("idempotency-key", "\"k\"")).await.problem(503, "state-unavailable");
    gate.notify_one();
    assert_eq!(state(&gateway, &first).await["state"], "sending", "until its end is durable");
    redis.restart();
    for location in [&first, &second] {
        until_in(&gateway, location, "done").await;
    }
    assert_eq!(upstream.received().len(), 2);
}
