//! Waiting for a slot: in order, as long as the caller wants, and without cost if the caller leaves.

use std::sync::Arc;

use tokio::sync::Notify;
use zoho_gateway::os::clock;

use crate::support::{self, Answer, COURSE, Call, Gateway, Mute, Reply, Sandbox, Setup, Upstream, all, get, ms};

const ROUTE: &str = "people.lms.get-shared-users";
const API: &str = "GET /api/v1/courses/{id}/share";

/// One slot, in use by a call that is answered when the gate opens.
async fn one_slot_taken() -> (Upstream, Gateway, Arc<Notify>) {
    one_slot_taken_with(|setup| setup).await
}

async fn one_slot_taken_with(more: impl FnOnce(Setup) -> Setup) -> (Upstream, Gateway, Arc<Notify>) {
    support::one_slot_taken(more, |call| call).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_while_waiting_uses_no_slot() {
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

/// It has its slot, and the connection to Zoho is being made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_before_its_connection_uses_no_slot() {
    let people = Mute::start();
    let accounts = Upstream::start(|_| Reply::Never).await;
    let setup = Gateway::before_upstream(&accounts).set("accounts.main.endpoints.people", people.url());
    let gateway = setup.route(ROUTE, "requests", 1).set("upstream.connect_timeout", "10m").start();
    let leaving = tokio::spawn(numbered(0).sending(gateway.address()));
    people.until_tried().await;
    leaving.abort();
    gateway.until_free(ROUTE, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_served_in_order_of_arrival() {
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
    assert_eq!(order(&upstream), (0..=9).collect::<Vec<_>>());
}

/// The numbers of the received calls, in their order.
fn order(upstream: &Upstream) -> Vec<u32> {
    let number = |line: &str| line.split_once("startIndex=")?.1.split(' ').next()?.parse().ok();
    let numbers = upstream.received().into_iter().map(|received| number(&received.line).expect("a number"));
    numbers.collect()
}

fn numbered(number: usize) -> Call {
    get(&format!("{COURSE}?startIndex={number}"))
}

/// The urgent calls come less than 35 s later; a longer wait would count as much as their urgency.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urgent_calls_go_first_and_equals_in_order_of_arrival() {
    let (upstream, gateway, gate) = one_slot_taken().await;
    let urgencies = ["u=7", "u=7", "", "u=0", "u=0", "i, u=5"];
    let mut waiting = Vec::new();
    for (before, urgency) in urgencies.into_iter().enumerate() {
        let call = numbered(before + 1);
        let call = if urgency.is_empty() { call } else { call.header("priority", urgency) };
        waiting.push(tokio::spawn(call.sending(gateway.address())));
        gateway.until_waiting(before + 1).await;
    }
    gate.notify_one();
    for task in waiting {
        task.await.expect("no panic").is_zohos(200);
    }
    assert_eq!(order(&upstream), [0, 4, 5, 3, 6, 1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overtaken_call_that_cannot_be_served_is_rejected_early() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho).route(ROUTE, "requests", 1).route(ROUTE, "window", "5m");
    let gateway = setup.set("queue.max_wait", "1h").start();
    gateway.send(&numbered(0)).await.is_zohos(200);
    // The next slot is free after five minutes, the one after it after ten: far beyond the tests' timeout.
    let plain = tokio::spawn(numbered(1).header("prefer", "wait=400").sending(gateway.address()));
    gateway.until_waiting(1).await;
    let urgent = tokio::spawn(numbered(2).header("priority", "u=0").sending(gateway.address()));

    let body = plain.await.expect("no panic").problem_of(429, "threshold-saturated", ROUTE);
    assert!(body["retry_after"].as_u64().is_some_and(|seconds| seconds > 400), "{body}");
    gateway.until_waiting(1).await;
    assert!(!urgent.is_finished(), "the urgent one waits on");
    urgent.abort();
    gateway.until_waiting(0).await;
}

/// Names the exceeded limit, and comes at once: the slot is still in use.
#[track_caller]
fn is_rejected(answer: &Answer, key: &str) {
    let body = answer.problem_of(429, "queue-full", ROUTE);
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(&format!("({key})"))), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_of_waiting_calls_are_limited() {
    let (upstream, gateway, gate) =
        one_slot_taken_with(|setup| setup.set("queue.max_waiting_bytes", "50KiB").set("queue.max_waiting", 3)).await;
    let heavy = numbered(1).header("x-weight", &"x".repeat(1200));
    let first = tokio::spawn(heavy.sending(gateway.address()));
    gateway.until_waiting(1).await;
    let answer = gateway.send(&heavy).await;
    is_rejected(&answer, "queue.max_waiting_bytes");
    assert_eq!(answer.header("connection"), Some("close"), "a connection takes memory too");
    let light = tokio::spawn(numbered(2).sending(gateway.address()));
    gateway.until_waiting(2).await;
    gate.notify_one();
    for task in [first, light] {
        task.await.expect("no panic").is_zohos(200);
    }
    // A call that left the queue no longer counts.
    gateway.send(&heavy).await.is_zohos(200);
    assert_eq!(order(&upstream), [0, 1, 2, 1]);
}

/// A body without a length is read until it is too long to be held; that part of it is in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_part_that_was_read_of_a_long_body_counts() {
    let (_upstream, gateway, gate) = one_slot_taken_with(|setup| setup.set("queue.max_waiting_bytes", "200KiB")).await;
    // Not of a form's type, because a form would be read whole first.
    let long = numbered(1).header("content-type", "application/octet-stream").body("x".repeat(100 * 1024));
    let chunked = long.clone().chunked().header("transfer-encoding", "chunked");
    let first = tokio::spawn(chunked.sending(gateway.address()));
    gateway.until_waiting(1).await;
    is_rejected(&gateway.send(&chunked).await, "queue.max_waiting_bytes");
    // A body with a length stays with its caller.
    let second = tokio::spawn(long.sending(gateway.address()));
    gateway.until_waiting(2).await;
    gate.notify_one();
    for task in [first, second] {
        task.await.expect("no panic").is_zohos(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_waiting_calls_of_one_caller_are_limited() {
    let (upstream, gateway, gate) =
        one_slot_taken_with(|setup| setup.set("queue.max_waiting_per_caller", 2).set("queue.max_waiting", 9)).await;
    let waiting = [1, 2].map(|number| tokio::spawn(numbered(number).sending(gateway.address())));
    gateway.until_waiting(2).await;
    is_rejected(&gateway.send(&numbered(3).header("priority", "u=0")).await, "queue.max_waiting_per_caller");
    gate.notify_one();
    for task in waiting {
        task.await.expect("no panic").is_zohos(200);
    }
    gateway.send(&numbered(4)).await.is_zohos(200);
    assert_eq!(upstream.received().len(), 4);
}

/// Most leave while they wait, some while their call is in flight; its slot stays in use until it can no longer arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_hang_up_at_any_moment_leave_nothing_behind() {
    let zoho = Sandbox::start(&["--requests", "30", "--window", "500ms", "--delay", "50ms"]);
    let gateway = Gateway::before(&zoho).route(ROUTE, "window", "500ms").start();
    let leaving = (0..200).map(|number| {
        let call = tokio::spawn(numbered(number).sending(gateway.address()));
        async move {
            // Moments throughout the first second, in an order independent of that of the calls.
            tokio::time::sleep(ms((number as u64 * 7919) % 1000)).await;
            call.abort();
            usize::from(call.await.is_ok())
        }
    });
    let leaving = tokio::spawn(all(leaving.collect::<Vec<_>>()));
    let staying = (0..10).map(|number| numbered(1000 + number).header("prefer", "wait=25").sending(gateway.address()));
    for answer in all(staying.collect::<Vec<_>>()).await {
        answer.is_zohos(200);
    }
    let answered: usize = leaving.await.expect("no panic").into_iter().sum();
    gateway.until_waiting(0).await;

    gateway.until_free(ROUTE, 30).await;
    for answer in
        all((0..30).map(|number| numbered(number).header("prefer", "wait=0").sending(gateway.address()))).await
    {
        answer.is_zohos(200);
    }
    let tally = zoho.tally(API).await;
    assert!(answered < 200, "some of them did hang up");
    assert!(tally.arrivals >= 40 + answered as u64, "{tally:?}");
    assert_eq!((tally.locks, tally.arrivals_during_lock), (0, 0), "{tally:?}");
    assert!(tally.most_in_any_window <= 30, "{tally:?}");
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
    assert!(clock::now() - began < ms(900), "rejected at once, not after the wait");
    // Longer than the gateway's own limit, as the caller prefers.
    gateway.send(&get(COURSE).header("prefer", "respond-async, wait=10")).await.is_zohos(200);
    assert_eq!(zoho.tally(API).await.arrivals, 2);
}
