//! SIGTERM: work in flight ends, new work is told so, and the process is gone in time.

use std::{fs, sync::Arc};

use tokio::sync::Notify;

use crate::support::{COURSE, Gateway, Process, Reply, Sandbox, Upstream, get, ms, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_flight_is_answered_and_a_new_one_is_told() {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| Reply::json(200, "{}").behind(&closed)).await;
    let mut gateway = Gateway::before_upstream(&upstream).set("proxy.drain", "20s").start();
    // A connection that has nothing to say must not hold the end up.
    let _silent = gateway.connect().await;
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    upstream.until_received(1).await;

    gateway.drain().await;
    let late = gateway.send(&get(COURSE)).await;
    late.problem(503, "shutting-down");
    assert_eq!(late.header("connection"), Some("close"));
    assert_eq!(gateway.admin("/readyz").await.status, 503);

    gate.notify_one();
    in_flight.await.expect("no panic").is_zohos(200);
    assert_eq!(gateway.wait(), Some(0));
    upstream.only();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quit_drains_like_a_termination() {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| Reply::json(200, "{}").behind(&closed)).await;
    let mut gateway = Gateway::before_upstream(&upstream).set("proxy.drain", "20s").start();
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    upstream.until_received(1).await;
    gateway.process().signal("QUIT");
    gateway.process().logged(|line| line.contains("draining").then_some(()));
    gate.notify_one();
    in_flight.await.expect("no panic").is_zohos(200);
    assert_eq!(gateway.wait(), Some(0));
}

/// A supervisor's reload ended the gateway with exit code 0, after which systemd did not start it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_reload_is_logged_and_ends_nothing() {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| Reply::json(200, "{}").behind(&closed)).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    upstream.until_received(1).await;
    for (signal, times) in [("HUP", 1), ("USR1", 1), ("USR2", 1), ("HUP", 2)] {
        gateway.process().signal(signal);
        let said = format!("SIG{signal} is ignored");
        let told = || gateway.process().log().iter().filter(|line| line.contains(&said)).count();
        until("the signal is logged", async || told() == times).await;
        assert_eq!(gateway.admin("/readyz").await.status, 200, "{signal}");
    }
    gate.notify_one();
    in_flight.await.expect("no panic").is_zohos(200);
    upstream.only();
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nohup_has_it_ignore_does_not_end_it() {
    let env = [("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:0"), ("ZOHO_GATEWAY__ADMIN__LISTEN", "127.0.0.1:0")];
    let mut process = Process::start_after(r#"trap "" HUP"#, &["run", "--sandbox"], &env);
    let admin =
        process.said(|line| line.split("metrics are on http://").nth(1)?.split(". Try").next().map(str::to_owned));
    process.signal("HUP");
    // It would be gone by then: nothing is in flight.
    tokio::time::sleep(ms(300)).await;
    assert_eq!(get("/livez").send(&admin).await.status, 200);
    process.terminate();
    assert_eq!(process.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_place_is_told_too() {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| Reply::json(200, "{}").behind(&closed)).await;
    let setup = Gateway::before_upstream(&upstream).set("proxy.drain", "20s").set("proxy.max_connections", 1);
    let mut gateway = setup.start();
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    upstream.until_received(1).await;
    let files = || fs::read_dir(format!("/proc/{}/fd", gateway.process().id())).expect("it runs").count();
    let before = files();
    let waiting = tokio::spawn(get(COURSE).sending(gateway.address()));
    while files() == before {
        tokio::time::sleep(ms(10)).await;
    }
    gateway.drain().await;
    waiting.await.expect("no panic").problem(503, "shutting-down");
    gate.notify_one();
    in_flight.await.expect("no panic").is_zohos(200);
    assert_eq!(gateway.wait(), Some(0));
    upstream.only();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_in_time_is_cut_off() {
    let silent = Upstream::start(|_| Reply::Never).await;
    let mut gateway = Gateway::before_upstream(&silent).set("proxy.drain", "300ms").start();
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    silent.until_received(1).await;
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
async fn a_second_signal_and_an_idle_gateway_end_at_once() {
    let zoho = Sandbox::boundless();
    let mut gateway = Gateway::before(&zoho).set("proxy.drain", "20s").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let _kept = gateway.connect().await;
    gateway.terminate();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
}
