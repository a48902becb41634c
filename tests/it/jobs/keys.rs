//! `Idempotency-Key`: a repeated request is the same call.

use super::{ROUTE, accepted, gated, one_at_a_time, share, state, until_in};
use crate::support::{Call, Gateway, Reply, Upstream, get, ms, until};

fn keyed(number: u64) -> Call {
    share(number).header("idempotency-key", "\"8e03978e-40d5\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_gets_the_same_answer_and_is_not_sent_again() {
    let upstream = Upstream::start(|_| Reply::with(200, "X-From: zoho\r\n", b"{\"n\":1}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let first = gateway.send(&keyed(1)).await;
    let gateway = gateway.kill().start();
    for again in [gateway.send(&keyed(1)).await, gateway.send(&keyed(1).header("prefer", "wait=0")).await] {
        again.is_zohos(200);
        assert_eq!((&again.body, &again.headers["x-from"]), (&first.body, &first.headers["x-from"]));
    }
    gateway.send(&keyed(2)).await.problem_of(422, "idempotency-key-reused", ROUTE);
    // The same call as a job.
    let answer = gateway.send(&keyed(1).header("prefer", "respond-async")).await;
    answer.is_zohos(200);
    assert_eq!(upstream.received().len(), 1);
    for malformed in ["8e03978e-40d5", "\"\"", "\"a"] {
        let call = share(1).header("idempotency-key", malformed);
        let problem = gateway.send(&call).await.problem_of(400, "invalid-payload", ROUTE);
        assert_eq!(problem["errors"][0]["parameter"], "Idempotency-Key");
    }
    // A read may be repeated anyway.
    gateway.send(&get("/people/api/v1/courses/1/share").header("idempotency-key", "\"r\"")).await.is_zohos(200);
    gateway.send(&get("/people/api/v1/courses/1/share").header("idempotency-key", "\"r\"")).await.is_zohos(200);
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_with_one_key_are_one_call() {
    let (upstream, gateway, gate) = gated(|setup| setup).await;
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(keyed(1).sending(gateway.address()))).collect();
    upstream.until_received(1).await;
    gateway.send(&keyed(2)).await.problem_of(422, "idempotency-key-reused", ROUTE);
    let location = accepted(&gateway.send(&keyed(1).header("prefer", "respond-async")).await);
    assert_eq!(state(&gateway, &location).await["state"], "sending");
    tokio::time::sleep(ms(100)).await;
    gate.notify_one();
    for call in calls {
        call.await.expect("no panic").is_zohos(200);
    }
    until_in(&gateway, &location, "done").await;
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_waits_as_long_as_it_prefers() {
    let (upstream, gateway, gate) = gated(one_at_a_time).await;
    let other = tokio::spawn(share(7).sending(gateway.address()));
    upstream.until_received(1).await;
    let first = tokio::spawn(keyed(1).sending(gateway.address()));
    gateway.until_waiting(1).await;
    let conflict = gateway.send(&keyed(1).header("prefer", "wait=0")).await;
    conflict.problem_of(409, "idempotency-conflict", ROUTE);
    assert!(conflict.header("retry-after").is_some(), "{conflict:?}");
    gate.notify_one();
    other.await.expect("no panic").is_zohos(200);
    upstream.until_received(2).await;
    gate.notify_one();
    first.await.expect("no panic").is_zohos(200);
}

/// A key alone makes no job: the call ends with its caller, as long as it was not sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_caller_left_the_queue_is_not_sent_and_its_key_is_free() {
    let (upstream, gateway, gate) = gated(one_at_a_time).await;
    let other = tokio::spawn(share(7).sending(gateway.address()));
    upstream.until_received(1).await;
    let first = tokio::spawn(keyed(1).sending(gateway.address()));
    gateway.until_waiting(1).await;
    first.abort();
    gateway.until_waiting(0).await;
    gate.notify_one();
    other.await.expect("no panic").is_zohos(200);
    let second = tokio::spawn(keyed(2).sending(gateway.address()));
    upstream.until_received(2).await;
    gate.notify_one();
    second.await.expect("no panic").is_zohos(200);
    assert_eq!(upstream.received().len(), 2);
}

/// The answer is there for the next request, though nobody waited for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_caller_left_while_it_was_sent_is_remembered() {
    let (upstream, gateway, gate) = gated(|setup| setup).await;
    let first = tokio::spawn(keyed(1).sending(gateway.address()));
    upstream.until_received(1).await;
    first.abort();
    tokio::time::sleep(ms(50)).await;
    gate.notify_one();
    gateway.send(&keyed(1)).await.is_zohos(200);
    assert_eq!(upstream.received().len(), 1);
}

/// A refusal of the gateway itself is not remembered: nothing was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_refusal_the_key_is_free() {
    let (upstream, gateway, gate) = gated(one_at_a_time).await;
    let other = tokio::spawn(share(7).sending(gateway.address()));
    upstream.until_received(1).await;
    gateway.send(&keyed(1).header("prefer", "wait=0")).await.problem_of(429, "threshold-saturated", ROUTE);
    gate.notify_one();
    other.await.expect("no panic").is_zohos(200);
    let second = tokio::spawn(keyed(1).sending(gateway.address()));
    upstream.until_received(2).await;
    gate.notify_one();
    second.await.expect("no panic").is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_an_answer_is_not_repeated() {
    let upstream = Upstream::start(|_| Reply::Close).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    for _ in 0..2 {
        gateway.send(&keyed(1)).await.problem_of(502, "upstream-invalid-response", ROUTE);
    }
    assert_eq!(upstream.received().len(), 1);
    let gateway = gateway.kill().start();
    let again = gateway.send(&keyed(1)).await;
    assert_eq!((again.status, upstream.received().len()), (502, 1), "{again:?}");
    until("the metric is there", async || gateway.has_metric("zoho_gateway_jobs{state=\"unknown\"} 0").await).await;
}
