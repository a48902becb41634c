//! Jobs on Redis: every gateway answers for them, and another one goes on when their gateway ends.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use tokio::sync::Notify;

use super::sharing;
use crate::{
    jobs::{ROUTE, accepted, job, share, state, until_in},
    support::{Gateway, RedisServer, Reply, Setup, Upstream, delete, get, ms, until},
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
    killed.kill_now();
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
