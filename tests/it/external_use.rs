//! External use: a lock that the gateway's own calls do not explain is reported, with the evidence.

use serde_json::{Value, json};

use crate::support::{COURSE, Gateway, SHARE, Sandbox, get, put};

const ROUTE: &str = "people.lms.share-course";
const API: &str = "PUT /api/v1/courses/{id}/share";

/// The value of a metric of the route; 0 if it is absent.
async fn count(gateway: &Gateway, metric: &str) -> u64 {
    let name = format!("zoho_gateway_{metric}_total{{account=\"main\",route=\"{ROUTE}\"}} ");
    let page = gateway.admin("/metrics").await.text();
    page.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or_default()
}

async fn incidents(gateway: &Gateway) -> Value {
    gateway.admin("/status").await.json()["incidents"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unexplained_lock_is_reported_with_our_calls() {
    let zoho = Sandbox::start(&["--token-requests", "1000"]);
    let gateway = Gateway::before(&zoho).start();
    let call = |id: &str| put(COURSE).form(SHARE).header("prefer", "wait=0").header("x-request-id", id);
    for id in ["of-ours-1", "of-ours-2"] {
        gateway.send(&call(id)).await.is_zohos(200);
    }
    assert_eq!(incidents(&gateway).await, json!([]));

    zoho.lock(API, 300.0).await;
    gateway.send(&call("met-the-lock")).await.problem_of(429, "threshold-locked", ROUTE);
    assert_eq!((count(&gateway, "locks").await, count(&gateway, "external_use").await), (1, 1));
    gateway.process().logged(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let is_warning = line["message"].as_str()?.contains("most likely another gateway on this login");
        (is_warning && line["account"] == "main" && line["route"] == ROUTE).then_some(())
    });
    let reported = incidents(&gateway).await;
    let incident = &reported[0];
    assert_eq!(reported.as_array().map(Vec::len), Some(1), "{reported}");
    assert_eq!((&incident["account"], &incident["route"]), (&json!("main"), &json!(ROUTE)), "{incident}");
    assert_eq!((&incident["requests"], &incident["charged"]), (&json!(30), &json!(3)), "{incident}");
    assert_eq!(incident["calls_are_complete"], true, "{incident}");
    let calls = incident["calls"].as_array().expect("the calls");
    let ids: Vec<_> = calls.iter().map(|call| call["request_id"].as_str().unwrap_or_default()).collect();
    assert_eq!(ids, ["of-ours-1", "of-ours-2", "met-the-lock"], "{incident}");
    assert!(calls.iter().all(|call| call["answered_after_seconds"].is_number()), "{incident}");

    // A later call is recorded after the incident, so once it is answered the incident is on disk.
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let gateway = gateway.kill().start();
    assert_eq!(incidents(&gateway).await, reported);
}

/// The single call after a lock may well hit the next lock; the external use is known by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_continues_is_reported_once() {
    let zoho = Sandbox::start(&[]);
    let gateway = Gateway::before(&zoho).route(ROUTE, "lock", "1s").start();
    zoho.lock(API, 300.0).await;
    let call = put(COURSE).form(SHARE);
    let waiting = tokio::spawn(call.sending(gateway.address()));
    zoho.until_locked_out(API, 3).await;
    assert!(count(&gateway, "locks").await >= 2);
    assert_eq!(count(&gateway, "external_use").await, 1);
    assert_eq!(incidents(&gateway).await.as_array().map(Vec::len), Some(1));
    zoho.lock(API, 0.0).await;
    waiting.await.expect("no panic").is_zohos(200);
}

/// A gateway that used up its own threshold explains the lock itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_at_the_threshold_is_not_reported() {
    let zoho = Sandbox::start(&[]);
    let gateway = Gateway::before(&zoho).route(ROUTE, "requests", 1).start();
    zoho.lock(API, 300.0).await;
    gateway.send(&put(COURSE).form(SHARE).header("prefer", "wait=0")).await.problem_of(429, "threshold-locked", ROUTE);
    assert_eq!((count(&gateway, "locks").await, count(&gateway, "external_use").await), (1, 0));
    assert_eq!(incidents(&gateway).await, json!([]));
}
