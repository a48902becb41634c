//! Waiting for a slot: in order, as long as the caller likes, and for nothing if it leaves.

use std::sync::Arc;

use tokio::sync::Notify;
use zoho_gateway::os::clock;

use crate::support::{self, Answer, COURSE, Call, Gateway, Mute, Reply, Sandbox, Setup, Upstream, all, get, ms};

const ROUTE: &str = "people.lms.get-shared-users";
const API: &str = "GET /api/v1/courses/{id}/share";

/// One slot, taken by a call that is answered when the gate opens.
async fn one_slot_taken() -> (Upstream, Gateway, Arc<Notify>) {
    one_slot_taken_with(|setup| setup).await
}

async fn one_slot_taken_with(more: impl FnOnce(Setup) -> Setup) -> (Upstream, Gateway, Arc<Notify>) {
    support::one_slot_taken(more, |call| call).await
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

/// Its slot is taken, and the connection to Zoho on which it would go is being made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_before_its_call_has_a_connection_spends_nothing() {
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
    assert_eq!(order(&upstream), (0..=9).collect::<Vec<_>>());
}

/// The numbers of the calls that came, in their order.
fn order(upstream: &Upstream) -> Vec<u32> {
    let number = |line: &str| line.split_once("startIndex=")?.1.split(' ').next()?.parse().ok();
    let numbers = upstream.received().into_iter().map(|received| number(&received.line).expect("a number"));
    numbers.collect()
}

fn numbered(number: usize) -> Call {
    get(&format!("{COURSE}?startIndex={number}"))
}

/// The urgent ones come later by less than the 35 s for which waiting would weigh as much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_urgent_go_first_and_among_equals_who_came_first() {
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
async fn who_is_overtaken_and_will_not_be_served_in_time_hears_so_before_its_wait_is_over() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho).route(ROUTE, "requests", 1).route(ROUTE, "window", "5m");
    let gateway = setup.set("queue.max_wait", "1h").start();
    gateway.send(&numbered(0)).await.is_zohos(200);
    // The next slot comes after five minutes, the one after it after ten. The tests' patience is far shorter.
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

/// Of the limit that was passed, and at once: the slot is still taken.
#[track_caller]
fn is_turned_away(answer: &Answer, key: &str) {
    let body = answer.problem_of(429, "queue-full", ROUTE);
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(&format!("({key})"))), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_holds_so_many_bytes() {
    let (upstream, gateway, gate) =
        one_slot_taken_with(|setup| setup.set("queue.max_waiting_bytes", "50KiB").set("queue.max_waiting", 3)).await;
    let heavy = numbered(1).header("x-weight", &"x".repeat(1200));
    let first = tokio::spawn(heavy.sending(gateway.address()));
    gateway.until_waiting(1).await;
    let answer = gateway.send(&heavy).await;
    is_turned_away(&answer, "queue.max_waiting_bytes");
    assert_eq!(answer.header("connection"), Some("close"), "a connection takes memory too");
    let light = tokio::spawn(numbered(2).sending(gateway.address()));
    gateway.until_waiting(2).await;
    gate.notify_one();
    for task in [first, light] {
        task.await.expect("no panic").is_zohos(200);
    }
    // What has left the queue weighs nothing any more.
    gateway.send(&heavy).await.is_zohos(200);
    assert_eq!(order(&upstream), [0, 1, 2, 1]);
}

/// A body that came without its length is read until it is too long to be held, and that much of it waits here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_at_hand_of_a_long_body_counts_among_the_bytes() {
    let (_upstream, gateway, gate) = one_slot_taken_with(|setup| setup.set("queue.max_waiting_bytes", "200KiB")).await;
    // Of a type that is no form, or all of it would be read first.
    let long = numbered(1).header("content-type", "application/octet-stream").body("x".repeat(100 * 1024));
    let chunked = long.clone().chunked().header("transfer-encoding", "chunked");
    let first = tokio::spawn(chunked.sending(gateway.address()));
    gateway.until_waiting(1).await;
    is_turned_away(&gateway.send(&chunked).await, "queue.max_waiting_bytes");
    // With a length it is left with its caller.
    let second = tokio::spawn(long.sending(gateway.address()));
    gateway.until_waiting(2).await;
    gate.notify_one();
    for task in [first, second] {
        task.await.expect("no panic").is_zohos(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_holds_so_many_calls_of_one_caller() {
    let (upstream, gateway, gate) =
        one_slot_taken_with(|setup| setup.set("queue.max_waiting_per_caller", 2).set("queue.max_waiting", 9)).await;
    let waiting = [1, 2].map(|number| tokio::spawn(numbered(number).sending(gateway.address())));
    gateway.until_waiting(2).await;
    is_turned_away(&gateway.send(&numbered(3).header("priority", "u=0")).await, "queue.max_waiting_per_caller");
    gate.notify_one();
    for task in waiting {
        task.await.expect("no panic").is_zohos(200);
    }
    gateway.send(&numbered(4)).await.is_zohos(200);
    assert_eq!(upstream.received().len(), 4);
}

/// Most leave while they wait, some while their call is on its way, which stays charged until it can arrive no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_hang_up_at_any_moment_leave_nothing_behind() {
    let zoho = Sandbox::start(&["--requests", "30", "--window", "500ms", "--delay", "50ms"]);
    let gateway = Gateway::before(&zoho).route(ROUTE, "window", "500ms").start();
    let leaving = (0..200).map(|number| {
        let call = tokio::spawn(numbered(number).sending(gateway.address()));
        async move {
            // Moments all over the first second, in an order that has nothing to do with that of the calls.
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
    assert!(clock::now() - began < ms(900), "told at once, not after the wait");
    // Longer than the gateway's own limit, because the caller says so.
    gateway.send(&get(COURSE).header("prefer", "respond-async, wait=10")).await.is_zohos(200);
    assert_eq!(zoho.tally(API).await.arrivals, 2);
}
