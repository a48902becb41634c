//! Waiting for a slot: in order, as long as the caller likes, and for nothing if it leaves.

use std::sync::Arc;

use tokio::sync::Notify;
use zoho_gateway::clock;

use crate::support::{COURSE, Gateway, Reply, Sandbox, Upstream, get, ms};

const ROUTE: &str = "people.lms.get-shared-users";
const API: &str = "GET /api/v1/courses/{id}/share";

/// One slot, taken by a call that is answered when the gate opens.
async fn one_slot_taken() -> (Upstream, Gateway, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |request| match request.line.contains("startIndex=0") {
        true => Reply::json(200, "{}").behind(&closed),
        false => Reply::json(200, "{}"),
    })
    .await;
    let setup = Gateway::before_upstream(&upstream).route(ROUTE, "requests", 1);
    let gateway = setup.route(ROUTE, "window", "100ms").set("queue.max_wait", "5m").start();
    tokio::spawn(get(&format!("{COURSE}?startIndex=0")).sending(gateway.address()));
    upstream.until_received(1).await;
    (upstream, gateway, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_while_waiting_spends_nothing() {
    let (upstream, gateway, gate) = one_slot_taken().await;
    let leaving = tokio::spawn(get(&format!("{COURSE}?startIndex=1")).sending(gateway.address()));
    gateway.until_waiting(1).await;
    let staying = tokio::spawn(get(&format!("{COURSE}?startIndex=2")).sending(gateway.address()));
    gateway.until_waiting(2).await;
    leaving.abort();
    gateway.until_waiting(1).await;
    gate.notify_one();
    staying.await.expect("no panic").is_zohos(200);
    let lines: Vec<_> = upstream.received().into_iter().map(|received| received.line).collect();
    assert!(lines.len() == 2 && lines[1].contains("startIndex=2"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_first_is_served_first() {
    let (upstream, gateway, gate) = one_slot_taken().await;
    let mut waiting = Vec::new();
    for number in 1..=9 {
        waiting.push(tokio::spawn(get(&format!("{COURSE}?startIndex={number}")).sending(gateway.address())));
        gateway.until_waiting(number).await;
    }
    gate.notify_one();
    for task in waiting {
        task.await.expect("no panic").is_zohos(200);
    }
    let line = |number| format!("GET /api/v1/courses/588882000000289003/share?startIndex={number} HTTP/1.1");
    let lines: Vec<_> = upstream.received().into_iter().map(|received| received.line).collect();
    assert_eq!(lines, (0..=9).map(line).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_waits_as_long_as_it_prefers() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho).route(ROUTE, "requests", 1).route(ROUTE, "window", "3s");
    let gateway = setup.set("queue.max_wait", "1s").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let began = clock::now();
    gateway.send(&get(COURSE)).await.problem(429, "threshold-saturated");
    gateway.send(&get(COURSE).header("prefer", "wait=1")).await.problem(429, "threshold-saturated");
    assert!(clock::now() - began < ms(900), "told at once, not after the wait");
    // Longer than the gateway's own limit, because the caller says so.
    gateway.send(&get(COURSE).header("prefer", "respond-async, wait=10")).await.is_zohos(200);
    assert_eq!(zoho.tally(API).await.arrivals, 2);
}
