//! Zoho locks an API: nothing is sent until the lock ends, in whatever form Zoho reports it.

use std::sync::Arc;

use tokio::sync::Notify;
use zoho_gateway::os::clock;

use crate::support::{CALENDAR, COURSE, Call, Gateway, Reply, SHARE, SHARE_DATA, Sandbox, Upstream, get, ms, put};

const PEOPLE_API: &str = "PUT /api/v1/courses/{id}/share";
const CALENDAR_API: &str = "PUT /api/v1/calendars/{uid}/share";

/// One caller hits the lock; it and later callers are served when it ends, without another call during the lock.
async fn waits_for_the_lock_to_end(lock_answer: &str, call: Call, route: &str, api: &str) {
    let zoho = Sandbox::start(&["--requests", "100000", "--lock-answer", lock_answer]);
    let gateway = Gateway::before(&zoho).route(route, "lock", "2s").start();
    zoho.lock(api, 2.0).await;
    let first = tokio::spawn(call.sending(gateway.address()));
    gateway.until_waiting(1).await;
    assert_eq!(zoho.tally(api).await.arrivals_during_lock, 1);

    let unwaiting = gateway.send(&call.clone().header("prefer", "wait=0")).await;
    let body = unwaiting.problem_of(429, "threshold-locked", route);
    assert!([1, 2].map(Some).contains(&body["retry_after"].as_u64()), "{body}");
    let later = tokio::spawn(call.sending(gateway.address()));
    gateway.until_waiting(2).await;

    first.await.expect("no panic").is_zohos(200);
    later.await.expect("no panic").is_zohos(200);
    let tally = zoho.tally(api).await;
    assert_eq!((tally.arrivals, tally.accepted, tally.arrivals_during_lock), (3, 2, 1));
}

async fn people(lock_answer: &str) {
    let call = put(COURSE).form(SHARE);
    waits_for_the_lock_to_end(lock_answer, call, "people.lms.share-course", PEOPLE_API).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_with_status_429_is_waited_for() {
    people("429").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_with_status_400_is_waited_for() {
    people("400").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_with_status_200_is_waited_for() {
    people("200").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_with_status_200_in_an_array_is_waited_for() {
    people("200-array").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calendars_lock_is_waited_for() {
    let call = put(&format!("{CALENDAR}{SHARE_DATA}"));
    waits_for_the_lock_to_end("429", call, "calendar.calendars.share-calendar", CALENDAR_API).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_does_not_wait_gets_the_lock_it_hit() {
    let zoho = Sandbox::start(&["--requests", "100000", "--lock-answer", "200"]);
    let gateway = Gateway::before(&zoho).start();
    zoho.lock(PEOPLE_API, 300.0).await;
    let answer = gateway.send(&put(COURSE).form(SHARE).header("prefer", "wait=0")).await;
    let body = answer.problem_of(429, "threshold-locked", "people.lms.share-course");
    assert_eq!(body["retry_after"], 300, "the lock of the page: {body}");
    // From now on without a call to Zoho.
    gateway.send(&put(COURSE).form(SHARE)).await.problem(429, "threshold-locked");
    assert_eq!(zoho.tally(PEOPLE_API).await.arrivals, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_caller_that_cannot_outlast_a_lock_is_rejected() {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let locked = r#"{"response":{"message":"Error occurred","errors":{"code":7209,"message":"blocked"},"status":1}}"#;
    let upstream = Upstream::start(move |request| match request.line.contains("startIndex=0") {
        true => Reply::json(200, "{}").behind(&closed),
        false => Reply::json(400, locked),
    })
    .await;
    let route = "people.lms.get-shared-users";
    let gateway =
        Gateway::before_upstream(&upstream).route(route, "requests", 1).route(route, "window", "100ms").start();
    tokio::spawn(get(&format!("{COURSE}?startIndex=0")).sending(gateway.address()));
    upstream.until_received(1).await;
    let call = get(COURSE).header("prefer", "wait=25");
    let next = tokio::spawn(call.sending(gateway.address()));
    gateway.until_waiting(1).await;
    let behind = tokio::spawn(call.sending(gateway.address()));
    gateway.until_waiting(2).await;

    let opened = clock::now();
    gate.notify_one();
    next.await.expect("no panic").problem_of(429, "threshold-locked", route);
    behind.await.expect("no panic").problem_of(429, "threshold-locked", route);
    assert!(clock::now() - opened < ms(10_000), "no caller waited to the end");
    assert_eq!(upstream.received().len(), 2, "only one of them hit the lock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_one_api_does_not_lock_another() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    zoho.lock(PEOPLE_API, 300.0).await;
    gateway.send(&put(COURSE).form(SHARE).header("prefer", "wait=0")).await.problem(429, "threshold-locked");
    gateway.send(&get(COURSE)).await.is_zohos(200);
    gateway.send(&put(&format!("{CALENDAR}{SHARE_DATA}"))).await.is_zohos(200);
}

/// The status alone means a lock, so no later call is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_is_a_lock_even_without_its_body() {
    let cut = b"HTTP/1.1 429 X\r\nRetry-After: 300\r\nContent-Length: 100\r\n\r\n{";
    let upstream = Upstream::start(|_| Reply::Last(cut.to_vec())).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    for _ in 0..3 {
        gateway.send(&get(COURSE).header("prefer", "wait=0")).await.problem(429, "threshold-locked");
    }
    assert_eq!(upstream.received().len(), 1);
}

/// The caller cannot get such an answer, but the lock in it counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_in_a_broken_answer_counts() {
    let lock = r#"{"response":{"errors":{"code":7209,"message":"x"},"status":1}}"#;
    let size = lock.len();
    for rest in [
        format!("Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{lock}\r\n"),
        format!("Content-Length: {}\r\n\r\n{lock}", size + 10),
        format!("Transfer-Encoding: identity\r\n\r\n{lock}"),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{rest}").into_bytes();
        let upstream = Upstream::start(move |_| Reply::Last(bytes.clone())).await;
        let gateway = Gateway::before_upstream(&upstream).start();
        gateway.send(&get(COURSE)).await.problem(502, "upstream-invalid-response");
        gateway.send(&get(COURSE).header("prefer", "wait=0")).await.problem(429, "threshold-locked");
        assert_eq!(upstream.received().len(), 1, "{rest}");
    }
}

/// Answers of 2xx to a write that was executed. If the gateway takes one for a lock, it sends the write again, and the
/// data is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_with_the_code_of_a_lock_is_written_once() {
    let padding = "x".repeat(3000);
    for record in [
        r#"[{"code":"7209","name":"Ada"}]"#,
        r#"{"code":7209,"name":"Ada","recordId":"588882000000212025"}"#,
        r#"{"code":"7209"}"#,
        r#"{"code":"7209","message":"Record added successfully"}"#,
        r#"{"error_code":"7209","id":"1"}"#,
        r#"{"id":"1","error":{"code":7209,"message":"none"}}"#,
        r#"{"id":"1","response":{"errors":{"code":7209,"message":"x"},"status":1}}"#,
        r#"{"data":{"code":7209,"message":"x"},"message":"x","status":"success"}"#,
        r#"{"response":{"result":[{"code":7209}],"message":"x","status":0}}"#,
        r#"{"response":{"result":[{"id":"1"}],"errors":{"code":7209,"message":"x"},"status":2}}"#,
        &format!(r#"{{"code":7209,"name":"{padding}"}}"#),
    ] {
        for status in [200, 201] {
            let body = record.to_owned();
            let upstream = Upstream::start(move |_| Reply::json(status, &body)).await;
            let gateway = Gateway::before_upstream(&upstream).route("people.lms.share-course", "lock", "100ms").start();
            let answer = gateway.send(&put(COURSE).form(SHARE)).await;
            answer.is_zohos(status);
            assert_eq!(answer.text(), record);
            upstream.only();
            gateway.send(&put(COURSE).form(SHARE).header("prefer", "wait=0")).await.is_zohos(status);
        }
    }
}

/// The same codes in an error answer are a lock, whatever the status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_form_of_a_lock_is_hit_once() {
    for lock in [
        r#"{"response":{"message":"x","errors":{"code":7209,"message":"API access blocked"},"status":1}}"#,
        r#"{"response":{"message":"x","errors":[{"code":"7209","message":"x"}],"status":1}}"#,
        r#"{"error":{"code":7209,"message":"x"},"uri":"/api/x"}"#,
        r#"{"error":[{"description":"x","error_code":"7209","message":"x"}]}"#,
        r#"{"code":7209,"message":"API access blocked since threshold limit exceeded."}"#,
        r#"{"code":"7209","message":"x","status":"error"}"#,
    ] {
        for status in [200, 202, 400, 500] {
            let upstream = Upstream::start(move |_| Reply::json(status, lock)).await;
            let gateway = Gateway::before_upstream(&upstream).start();
            for _ in 0..2 {
                let answer = gateway.send(&put(COURSE).form(SHARE).header("prefer", "wait=0")).await;
                answer.problem(429, "threshold-locked");
            }
            upstream.only();
        }
    }
}
