//! The limits of jobs, and faults of their store.

use serde_json::json;

use super::{ROUTE, accepted, gated, job, one_at_a_time, share, state, until_in};
use crate::support::{COURSE, Gateway, Reply, Upstream, get, ms, prlimit, put, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_no_job_is_accepted_and_none_is_lost() {
    let (upstream, gateway, gate) = gated(|setup| one_at_a_time(setup).ignoring_the_file_size_signal()).await;
    let on_the_way = accepted(&gateway.send(&job()).await);
    upstream.until_received(1).await;
    let waiting = accepted(&gateway.send(&share(2).header("prefer", "respond-async")).await);

    prlimit(gateway.process().id(), "--fsize=0:");
    for key in ["", "\"k\""] {
        let call = share(3).header("prefer", "respond-async, wait=5");
        let call = if key.is_empty() { call } else { call.header("idempotency-key", key) };
        gateway.send(&call).await.problem(503, "state-unavailable");
    }
    let ready = gateway.admin("/readyz").await.json()["checks"]["jobs"].to_string();
    assert!(ready.contains("state-unavailable"), "{ready}");
    // The answer that comes now cannot be stored, and is not said to be there.
    gate.notify_one();
    tokio::time::sleep(ms(300)).await;
    assert_eq!(state(&gateway, &on_the_way).await["state"], "sending");
    assert_eq!(state(&gateway, &waiting).await["state"], "queued");

    prlimit(gateway.process().id(), "--fsize=unlimited:");
    until_in(&gateway, &on_the_way, "done").await;
    upstream.until_received(2).await;
    gate.notify_one();
    until_in(&gateway, &waiting, "done").await;
    assert_eq!(gateway.admin("/readyz").await.json()["checks"].get("jobs"), None);
    // What was refused is not there, not even after a restart.
    let gateway = gateway.kill().start();
    let list = gateway.send(&get("/gateway/jobs")).await.json();
    assert_eq!(list["counts"], json!({ "queued": 0, "sending": 0, "done": 2, "failed": 0, "unknown": 0 }));
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_limited_in_number_and_kept_for_a_while() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).set("jobs.max_jobs", 2).set("jobs.keep", "2s").start();
    let mut made = Vec::new();
    for number in 0..2 {
        made.push(accepted(&gateway.send(&share(number).header("prefer", "respond-async")).await));
        until_in(&gateway, &made[number as usize], "done").await;
    }
    let full = gateway.send(&job()).await;
    full.problem_of(429, "jobs-full", ROUTE);
    assert!(full.header("retry-after").is_some_and(|seconds| ["1", "2"].contains(&seconds)), "{full:?}");
    // Calls that are no jobs are served.
    gateway.send(&share(3)).await.is_zohos(200);
    until("the first is no longer kept", async || gateway.send(&get(&made[0])).await.status == 404).await;
    gateway.send(&get(&format!("{}/answer", made[0]))).await.problem(404, "unknown-job");
    until("there is space again", async || gateway.send(&job()).await.status == 202).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_limited_in_bytes() {
    let (upstream, gateway, gate) = gated(|setup| one_at_a_time(setup).set("jobs.max_bytes", "200KiB")).await;
    let upload = |bytes: usize| {
        let call = put("/people/api/v1/files").header("content-type", "application/octet-stream");
        call.header("prefer", "respond-async").body(vec![7; bytes])
    };
    let location = accepted(&gateway.send(&upload(150_000)).await);
    upstream.until_received(1).await;
    let full = gateway.send(&upload(100_000)).await.problem(429, "jobs-full");
    assert!(full["detail"].to_string().contains("jobs.max_bytes"), "{full}");
    gate.notify_one();
    until_in(&gateway, &location, "done").await;
    assert_eq!(upstream.only().body, vec![7; 150_000], "a body that streams is kept whole");
    accepted(&gateway.send(&upload(100_000)).await);
    upstream.until_received(2).await;
    gate.notify_one();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_answer_that_is_too_large_the_status_is_kept() {
    let upstream = Upstream::start(|_| Reply::with(201, "", &[b'x'; 3000])).await;
    let gateway = Gateway::before_upstream(&upstream).set("jobs.max_answer", "2KiB").start();
    let location = accepted(&gateway.send(&job()).await);
    assert_eq!(until_in(&gateway, &location, "done").await["status"], 201);
    gateway.send(&get(&format!("{location}/answer"))).await.problem(410, "job-answer-too-large");
}

/// Nothing was sent, so a job tries again what a caller would try again, until its wait is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_cannot_be_sent_in_time_fails_with_the_reason() {
    let unreachable = "http://127.0.0.1:1";
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let setup = Gateway::before_upstream(&upstream).set("accounts.main.endpoints.people", unreachable);
    let gateway = setup.set("jobs.max_wait", "3s").start();
    let location = accepted(&gateway.send(&job()).await);
    assert_eq!(state(&gateway, &location).await["state"], "queued");
    until_in(&gateway, &location, "failed").await;
    let answer = gateway.send(&get(&format!("{location}/answer"))).await;
    assert_eq!((answer.status, &answer.json()["type"]), (502, &json!("urn:zoho-gateway:problem:upstream-unreachable")));
    assert!(answer.header("proxy-status").is_some(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_could_not_be_served_in_its_wait_is_refused_at_once() {
    let (upstream, gateway, gate) =
        gated(|setup| setup.route(ROUTE, "requests", 1).route(ROUTE, "window", "1h").set("jobs.max_wait", "30m")).await;
    let first = accepted(&gateway.send(&job()).await);
    upstream.until_received(1).await;
    gate.notify_one();
    until_in(&gateway, &first, "done").await;
    gateway.send(&job()).await.problem_of(429, "threshold-saturated", ROUTE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_reveals_nothing_and_survives_damage() {
    let upstream = Upstream::start(|_| Reply::json(200, "{\"secret\":\"tangerine\"}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let call = put(&format!("{COURSE}?note=apricot"))
        .form("erecnosList=%5B588882000000212025%5D")
        .header("prefer", "respond-async");
    let location = accepted(&gateway.send(&call).await);
    until_in(&gateway, &location, "done").await;
    let setup = gateway.stop();
    let path = setup.state("jobs.redb");
    let bytes = std::fs::read(&path).expect("the store");
    for text in ["apricot", "tangerine", "588882000000212025", "erecnosList"] {
        assert!(!bytes.windows(text.len()).any(|found| found == text.as_bytes()), "{text}");
    }
    std::fs::write(&path, vec![0xA5; bytes.len()]).expect("written");
    let gateway = setup.start();
    gateway.process().logs("the jobs are lost");
    gateway.send(&get(&location)).await.problem(404, "unknown-job");
    // The ledger has a file of its own.
    assert_eq!(gateway.admin("/readyz").await.json()["checks"]["state"], "ok");
    accepted(&gateway.send(&job()).await);
}
