//! SIGTERM: calls in flight end, new calls get an error, and the process ends in time.

use std::{fs, sync::Arc};

use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify};

use crate::support::{
    Answer, COURSE, Call, Gateway, Mute, Process, Reply, SHARE, Sandbox, Setup, Upstream, all_that_comes, get, ms,
    one_slot_taken, put, until,
};

const ROUTE: &str = "people.lms.get-shared-users";

/// Longer than the tests' timeout: a drain that lasts this long fails its test.
const FOR_EVER: &str = "5m";

const NOTHING_SENT: &str = "nothing of the call was sent";
const NOT_EXECUTED: &str = "Zoho has not executed it";
const MAY_BE_EXECUTED: &str = "may have been executed";

/// The last answer of the gateway to a caller, and whether Zoho may have executed the call.
#[track_caller]
fn assert_outcome(answer: &Answer, outcome: &str) {
    let body = answer.problem(503, "shutting-down");
    let detail = body["detail"].as_str().unwrap_or_default();
    for known in [NOTHING_SENT, NOT_EXECUTED, MAY_BE_EXECUTED] {
        assert_eq!(detail.contains(known), known == outcome, "{body}");
    }
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
}

/// A gateway whose route has one slot in ten minutes, which is in use.
async fn spent(zoho: &Sandbox, more: impl FnOnce(Setup) -> Setup) -> Gateway {
    let setup = Gateway::before(zoho).route(ROUTE, "requests", 1).route(ROUTE, "window", "10m");
    let gateway = more(setup.set("queue.max_wait", "1h").set("proxy.drain", FOR_EVER)).start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_flight_is_answered_and_a_new_one_rejected() {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| Reply::json(200, "{}").behind(&closed)).await;
    let mut gateway = Gateway::before_upstream(&upstream).set("proxy.drain", "20s").start();
    // An idle connection must not delay the end.
    let _silent = gateway.connect().await;
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    upstream.until_received(1).await;

    gateway.drain().await;
    let late = gateway.send(&get(COURSE)).await;
    assert_outcome(&late, NOTHING_SENT);
    assert_eq!(gateway.admin("/readyz").await.status, 503);

    gate.notify_one();
    let answer = in_flight.await.expect("no panic");
    answer.is_zohos(200);
    assert_eq!(answer.header("connection"), Some("close"), "its connection ends too");
    assert_eq!(gateway.wait(), Some(0));
    upstream.only();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigquit_drains_like_sigterm() {
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

/// A supervisor's reload ended the gateway with exit code 0, and systemd did not start it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_of_other_services_is_logged_and_ends_nothing() {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| Reply::json(200, "{}").behind(&closed)).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    upstream.until_received(1).await;
    for (signal, times) in [("USR1", 1), ("USR2", 1), ("USR1", 2)] {
        gateway.process().signal(signal);
        let said = format!("SIG{signal} is ignored");
        let logged = || gateway.process().log().iter().filter(|line| line.contains(&said)).count();
        until("the signal is logged", async || logged() == times).await;
        assert_eq!(gateway.admin("/readyz").await.status, 200, "{signal}");
    }
    gate.notify_one();
    in_flight.await.expect("no panic").is_zohos(200);
    upstream.only();
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_nohup_ignores_does_not_end_it() {
    let env = [("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:0"), ("ZOHO_GATEWAY__ADMIN__LISTEN", "127.0.0.1:0")];
    let mut process = Process::start_after(r#"trap "" HUP"#, &["run", "--sandbox"], &env);
    let admin =
        process.said(|line| line.split("metrics are on http://").nth(1)?.split(". Try").next().map(str::to_owned));
    process.signal("HUP");
    // Nothing is in flight, so a drain would end at once.
    tokio::time::sleep(ms(300)).await;
    assert_eq!(get("/livez").send(&admin).await.status, 200);
    process.terminate();
    assert_eq!(process.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_waiting_for_a_connection_gets_an_error() {
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
async fn a_call_that_does_not_end_in_time_is_cut_off() {
    let silent = Upstream::start(|_| Reply::Never).await;
    let mut gateway = Gateway::before_upstream(&silent).set("proxy.drain", "300ms").start();
    let in_flight = tokio::spawn(get(COURSE).sending(gateway.address()));
    silent.until_received(1).await;
    gateway.terminate();
    assert_outcome(&in_flight.await.expect("no panic"), MAY_BE_EXECUTED);
    assert_eq!(gateway.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_slot_in_time_is_rejected_at_once() {
    let zoho = Sandbox::boundless();
    let mut gateway = spent(&zoho, |setup| setup).await;
    let mut kept = gateway.connect().await;
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(get(COURSE).sending(gateway.address()))).collect();
    let kept = tokio::spawn(async move { kept.send(&get(COURSE)).await });
    gateway.until_waiting(4).await;
    gateway.terminate();
    for waiting in waiting.into_iter().chain([kept]) {
        assert_outcome(&waiting.await.expect("no panic"), NOTHING_SENT);
    }
    assert_eq!(gateway.wait(), Some(0), "nothing is in flight, so nothing is waited for");
    assert_eq!(zoho.requests().await.len(), 1);
}

/// Identical reads share one call that waits for its slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_shared_call_are_rejected_too() {
    let zoho = Sandbox::boundless();
    let mut gateway = spent(&zoho, |setup| setup.route(ROUTE, "cache", "1m")).await;
    let read = get(&format!("{COURSE}?startIndex=1"));
    let waiting: Vec<_> = (0..5).map(|_| tokio::spawn(read.sending(gateway.address()))).collect();
    gateway.until_waiting(1).await;
    gateway.terminate();
    for waiting in waiting {
        assert_outcome(&waiting.await.expect("no panic"), NOTHING_SENT);
    }
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(zoho.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_a_slot_in_time_is_served() {
    let (upstream, mut gateway, gate) = one_slot_taken(|setup| setup.set("proxy.drain", FOR_EVER), |call| call).await;
    let waiting = tokio::spawn(get(COURSE).sending(gateway.address()));
    gateway.until_waiting(1).await;
    gateway.drain().await;
    gate.notify_one();
    waiting.await.expect("no panic").is_zohos(200);
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(upstream.received().len(), 2);
}

/// The waiting call could be served until the call before it is lost, or hits a lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_loses_its_slot_is_rejected_then() {
    let locked = r#"{"response":{"status":1,"errors":{"code":7209,"message":"locked"}}}"#;
    for (end, met_a_lock) in [(Reply::json(429, "{}"), true), (Reply::json(200, locked), true), (Reply::Close, false)] {
        let gate = Arc::new(Notify::new());
        let closed = Arc::clone(&gate);
        let upstream = Upstream::start(move |request| match (request.line.contains("startIndex=0 "), &end) {
            (true, Reply::Close) => Reply::Gated(Arc::clone(&closed), Vec::new()),
            (true, end) => end.clone().behind(&closed),
            (false, _) => Reply::json(200, "{}"),
        })
        .await;
        let setup = Gateway::before_upstream(&upstream).route(ROUTE, "requests", 1).route(ROUTE, "window", "5s");
        let setup = setup.set("queue.max_wait", "1h").set("proxy.drain", "8s").set("upstream.timeout", "1s");
        let mut gateway = setup.start();
        let first = tokio::spawn(get(&format!("{COURSE}?startIndex=0")).sending(gateway.address()));
        upstream.until_received(1).await;
        let waiting = tokio::spawn(get(COURSE).sending(gateway.address()));
        gateway.until_waiting(1).await;
        gateway.drain().await;
        if met_a_lock {
            gate.notify_one();
            assert_outcome(&first.await.expect("no panic"), NOT_EXECUTED);
        } else {
            first.await.expect("no panic").problem(504, "upstream-timeout");
        }
        assert_outcome(&waiting.await.expect("no panic"), NOTHING_SENT);
        assert_eq!(gateway.wait(), Some(0));
        upstream.only();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_for_a_token_does_not_delay_the_end() {
    let silent = Upstream::bare(|_| Reply::Never).await;
    let mut gateway = Gateway::before_upstream(&silent).set("proxy.drain", FOR_EVER).start();
    let waiting = tokio::spawn(put(COURSE).form(SHARE).sending(gateway.address()));
    until("a token is asked for", async || silent.token_calls() == 1).await;
    gateway.terminate();
    assert_outcome(&waiting.await.expect("no panic"), NOTHING_SENT);
    assert_eq!(gateway.wait(), Some(0));
    assert!(silent.received().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_sends_its_body_does_not_delay_the_end() {
    let zoho = Sandbox::boundless();
    let mut gateway = Gateway::before(&zoho).set("proxy.drain", FOR_EVER).start();
    let mut stream = TcpStream::connect(gateway.address()).await.expect("it listens");
    let head = format!(
        "PUT {COURSE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        SHARE.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it is taken");
    // The gateway asks for the body, so it waits for it.
    stream.readable().await.expect("100 Continue");
    stream.write_all(&SHARE.as_bytes()[..10]).await.expect("it is taken");
    gateway.terminate();
    let answer = all_that_comes(stream).await;
    let (proceed, answer) = answer.split_once("\r\n\r\n").expect("100 Continue and the answer");
    assert!(proceed.starts_with("HTTP/1.1 100"), "{proceed}");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(NOTHING_SENT), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close") && answer.contains("retry-after:"), "{answer}");
    assert_eq!(gateway.wait(), Some(0));
    assert!(zoho.requests().await.is_empty());
}

/// Its slot is in use and it has a token, but no byte of it has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_for_a_connection_was_not_sent() {
    let accounts = Upstream::start(|_| Reply::Never).await;
    for (route, signals) in [("1", 1), ("off", 1), ("1", 2)] {
        let people = Mute::start();
        let setup = Gateway::before_upstream(&accounts).set("accounts.main.endpoints.people", people.url());
        let setup = match route {
            "off" => setup.route(ROUTE, "throttle", "off"),
            _ => setup,
        };
        let drain = if signals == 1 { "300ms" } else { FOR_EVER };
        let mut gateway = setup.set("upstream.connect_timeout", "10m").set("proxy.drain", drain).start();
        let connecting = tokio::spawn(get(COURSE).sending(gateway.address()));
        people.until_tried().await;
        gateway.drain().await;
        for _ in 1..signals {
            gateway.terminate();
        }
        assert_outcome(&connecting.await.expect("no panic"), NOTHING_SENT);
        assert_eq!(gateway.wait(), Some(0));
    }
}

/// `upstream.timeout` counts from the moment at which the call is ready to leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_timed_out_before_its_connection_was_not_sent() {
    let people = Mute::start();
    let accounts = Upstream::start(|_| Reply::Never).await;
    let setup = Gateway::before_upstream(&accounts).set("accounts.main.endpoints.people", people.url());
    let gateway = setup.set("upstream.connect_timeout", "10m").set("upstream.timeout", "300ms").start();
    let body = gateway.send(&put(COURSE).form(SHARE)).await.problem(504, "upstream-timeout");
    let detail = body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("was not sent") && !detail.contains(MAY_BE_EXECUTED), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_cuts_off_what_is_in_flight() {
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT"), ("INT", "TERM"), ("INT", "INT")] {
        let silent = Upstream::start(|_| Reply::Never).await;
        let mut gateway = Gateway::before_upstream(&silent).set("proxy.drain", FOR_EVER).start();
        let write = Call::new("PUT", COURSE).form(SHARE);
        let in_flight = tokio::spawn(write.sending(gateway.address()));
        silent.until_received(1).await;
        gateway.process().signal(first);
        gateway.process().logs("draining");
        gateway.process().signal(second);
        assert_outcome(&in_flight.await.expect("no panic"), MAY_BE_EXECUTED);
        assert_eq!(gateway.wait(), Some(0), "{first}, {second}");
        // The next process knows the call: its slot is still in use.
        gateway.process().logs("drained");
    }
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
