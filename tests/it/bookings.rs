//! A refused call keeps its turn in the queue: `Retry-After` says when its turn is.

use std::time::Duration;

use zoho_gateway::os::clock;

use crate::support::{COURSE, Call, Connection, Gateway, Reply, Upstream, all, get};

const ROUTE: &str = "people.lms.get-shared-users";

/// How long a window is here: long compared with the whole seconds of `Retry-After`.
const WINDOW: Duration = Duration::from_secs(5);

async fn gateway(requests: u32) -> (Upstream, Gateway) {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let setup = Gateway::before_upstream(&upstream).route(ROUTE, "requests", requests).route(ROUTE, "window", "5s");
    (upstream, setup.start())
}

/// Sends the call until it is answered, as urllib3 does with `Retry(total=5, status_forcelist=[429, 503])`.
async fn repeated(connection: &mut Connection, call: &Call) -> usize {
    for refusals in 0..=5 {
        let answer = connection.send(call).await;
        if answer.status == 200 {
            return refusals;
        }
        answer.problem(429, "threshold-saturated");
        let retry_after: u64 = answer.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
        tokio::time::sleep(Duration::from_secs(retry_after)).await;
    }
    panic!("refused six times: {call:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_back_when_they_are_told_all_succeed() {
    let (upstream, gateway) = gateway(5).await;
    let address = gateway.address().to_owned();
    let began = clock::now();
    let refusals = all((0..10).map(|number| {
        let address = address.clone();
        async move {
            // Half of the clients make equal calls.
            let call = get(&format!("{COURSE}?startIndex={}", number % 5)).header("prefer", "wait=0");
            let mut connection = Connection::open(&address).await;
            repeated(&mut connection, &call).await + repeated(&mut connection, &call).await
        }
    }))
    .await;
    let took = clock::now() - began;
    println!("{took:?}, refusals: {refusals:?}");
    assert_eq!(upstream.received().len(), 20);
    // Twenty calls at five a window; each window may be longer by the rounding of Retry-After and its lateness.
    assert!(took <= WINDOW * 3 + Duration::from_secs(4), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_how_many_are_before_it_and_keeps_its_turn() {
    let (_upstream, gateway) = gateway(1).await;
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let call = |number: u32| get(&format!("{COURSE}?startIndex={number}")).header("prefer", "wait=0");
    let mut connections = Vec::new();
    for number in 0..3_u32 {
        let mut connection = Connection::open(gateway.address()).await;
        let answer = connection.send(&call(number)).await;
        let body = answer.problem_of(429, "threshold-saturated", ROUTE);
        assert_eq!(body["position"], number, "{body}");
        let wait = body["expected_wait"].as_f64().expect("seconds");
        assert!((4.0 + 5.0 * f64::from(number)..=5.0 + 5.5 * f64::from(number)).contains(&wait), "{body}");
        assert_eq!(body["retry_after"].as_f64(), Some(wait.ceil()), "{body}");
        connections.push(connection);
    }
    // Again, early: the same turn. As a call that waits: that one too.
    let body = connections[1].send(&call(1)).await.problem_of(429, "threshold-saturated", ROUTE);
    assert_eq!(body["position"], 1, "{body}");
    let began = clock::now();
    connections[0].send(&get(&format!("{COURSE}?startIndex=0"))).await.is_zohos(200);
    assert!(clock::now() - began < WINDOW + Duration::from_secs(1));
    assert_eq!(gateway.admin("/status").await.json()["buckets"][0]["booked"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_that_applies_is_told() {
    let (_upstream, gateway) = gateway(1).await;
    for (prefer, applied) in [("wait=7", Some("wait=7")), ("wait=99999", Some("wait=3600")), ("return=minimal", None)] {
        let answer = gateway.send(&get(COURSE).header("prefer", prefer)).await;
        assert_eq!(answer.is_zohos(200).header("preference-applied"), applied);
    }
    let refused = gateway.send(&get(COURSE).header("prefer", "wait=0")).await;
    refused.problem(429, "threshold-saturated");
    assert_eq!(refused.header("preference-applied"), Some("wait=0"));
}
