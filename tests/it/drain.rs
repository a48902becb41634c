//! SIGTERM: work in flight ends, new work is told so, and the process is gone in time.

use serde_json::json;

use crate::support::{COURSE, Gateway, Reply, Sandbox, Upstream, get, ms};

fn is_draining(line: &str) -> Option<()> {
    line.contains("draining").then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_flight_is_answered_and_a_new_one_is_told() {
    let slow = Upstream::start(|_| Reply::json(200, "{}").after(ms(1500))).await;
    let mut gateway = Gateway::before_upstream(&slow).start();
    // A connection that has nothing to say must not hold the end up.
    let _silent = gateway.connect().await;
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    while slow.received().is_empty() {
        tokio::time::sleep(ms(5)).await;
    }
    gateway.terminate();
    gateway.process().logged(is_draining);

    let late = gateway.send(&get(COURSE)).await;
    late.problem(503, "shutting-down");
    assert_eq!(late.header("connection"), Some("close"));
    assert!(!in_flight.is_finished(), "the drain was watched while it lasted");
    in_flight.await.expect("no panic").is_zohos(200);
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(slow.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_in_time_is_cut_off() {
    let silent = Upstream::start(|_| Reply::Never).await;
    let mut gateway = Gateway::before_upstream(&silent).set("proxy.drain", "300ms").start();
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    while silent.received().is_empty() {
        tokio::time::sleep(ms(5)).await;
    }
    gateway.terminate();
    in_flight.await.expect("no panic").problem(503, "shutting-down");
    assert_eq!(gateway.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_slot_is_not_left_without_an_answer() {
    let zoho = Sandbox::boundless();
    let route = "people.lms.get-shared-users";
    let setup = Gateway::before(&zoho).route(route, "requests", 1).set("proxy.drain", "300ms");
    let mut gateway = setup.set("queue.max_wait", "5m").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let waiting = tokio::spawn(get(COURSE).sending(gateway.address()));
    gateway.until_waiting(1).await;
    gateway.terminate();
    waiting.await.expect("no panic").problem(503, "shutting-down");
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(zoho.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_says_draining_before_the_end() {
    let slow = Upstream::start(|_| Reply::json(200, "{}").after(ms(1500))).await;
    let gateway = Gateway::before_upstream(&slow).start();
    assert_eq!(gateway.admin("/readyz").await.json()["status"], json!("ready"));
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    while slow.received().is_empty() {
        tokio::time::sleep(ms(5)).await;
    }
    gateway.terminate();
    gateway.process().logged(is_draining);
    let answer = gateway.admin("/readyz").await;
    assert_eq!((answer.status, &answer.json()["checks"]["listener"]), (503, &json!("draining")));
    in_flight.await.expect("no panic").is_zohos(200);
}
