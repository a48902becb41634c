//! An incomplete answer from Zoho: its caller gets 502 or a visibly incomplete 200, and always a status line.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use crate::support::{COURSE, Gateway, Reply, Upstream, all, exchange, get, ms};

const ROUTE: &str = "people.lms.get-shared-users";
const GOOD: &str = r#"{"code":"200"}"#;

/// Incomplete answers; the longer ones are not error answers, and the longest is never cached.
fn cut() -> Vec<(&'static str, Vec<u8>)> {
    let content = |length: usize| [br#"{"code":"200","x":""#.as_slice(), &vec![b'x'; length]].concat();
    let with_length =
        |length: usize| [format!("Content-Length: {}\r\n\r\n", 2 * length + 100).as_bytes(), &content(length)].concat();
    let chunked = |length: usize| {
        let content = content(length);
        let size = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", content.len());
        [size.as_bytes(), &content, b"\r\n"].concat()
    };
    let mut cut = Vec::new();
    for length in [0, 5_000, 60_000, 2_000_000] {
        cut.push(("Content-Length", with_length(length)));
        cut.push(("chunked", chunked(length)));
    }
    cut.push(("inside a chunk", b"Transfer-Encoding: chunked\r\n\r\n1000\r\n{\"code\":\"200\"".to_vec()));
    cut.push(("an invalid chunk", [chunked(5_000), b"what\r\n".to_vec()].concat()));
    cut.push(("compressed", [b"Content-Encoding: gzip\r\n".to_vec(), with_length(5_000)].concat()));
    cut.push(("compressed and chunked", [b"Content-Encoding: gzip\r\n".to_vec(), chunked(60_000)].concat()));
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n".as_slice();
    cut.into_iter().map(|(name, rest)| (name, [head, &rest].concat())).collect()
}

async fn raw(address: &str, fields: &str) -> String {
    exchange(address, format!("GET {COURSE} HTTP/1.1\r\nHost: gateway\r\n{fields}Connection: close\r\n\r\n")).await
}

#[track_caller]
fn is_reported(name: &str, answer: &str) {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{name}: no head: {answer:.300}"));
    let head = head.to_ascii_lowercase();
    match status {
        "502" => assert!(body.contains("upstream-invalid-response"), "{name}: {answer:.500}"),
        "200" => {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let whole = length.map_or_else(|| body.ends_with("0\r\n\r\n"), |length| body.len() >= length);
            assert!(!whole, "{name}: its caller cannot see that it is cut: {answer:.500}");
        }
        _ => panic!("{name}: {answer:.300}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_cached_route_get_an_error() {
    for (name, bytes) in cut() {
        let upstream = Upstream::start(move |_| Reply::Last(bytes.clone())).await;
        let gateway = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "5m").start();
        for fields in [
            "",
            "If-None-Match: \"x\"\r\n",
            "Cache-Control: no-cache\r\n",
            "Cache-Control: no-store\r\n",
            "Accept-Encoding: gzip\r\n",
            "Range: bytes=0-5\r\n",
        ] {
            is_reported(&format!("{name}, {fields:?}"), &raw(gateway.address(), fields).await);
        }
        assert_eq!(upstream.received().len(), 6, "{name}: nothing is kept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_another_route_get_an_error() {
    for (name, bytes) in cut() {
        let upstream = Upstream::start(move |_| Reply::Last(bytes.clone())).await;
        let gateway = Gateway::before_upstream(&upstream).start();
        for _ in 0..5 {
            is_reported(name, &raw(gateway.address(), "").await);
        }
    }
}

/// The caller that started the call gets the error; the others try for themselves, one at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_shared_call_get_the_next_answer() {
    for (name, bytes) in cut().into_iter().filter(|(_, bytes)| bytes.len() < 1_000_000) {
        let gate = Arc::new(Notify::new());
        let (closed, calls) = (Arc::clone(&gate), AtomicUsize::new(0));
        let upstream = Upstream::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::GatedLast(Arc::clone(&closed), bytes.clone()),
            _ => Reply::json(200, GOOD),
        })
        .await;
        let gateway = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "5m").start();
        let reads: Vec<_> = (0..5)
            .map(|_| {
                let address = gateway.address().to_owned();
                tokio::spawn(async move { raw(&address, "").await })
            })
            .collect();
        upstream.until_received(1).await;
        // Time enough for the others to arrive.
        tokio::time::sleep(ms(100)).await;
        gate.notify_one();
        let answers = all(reads.into_iter().map(|read| async move { read.await.expect("no panic") })).await;
        let good = answers.iter().filter(|answer| answer.ends_with(GOOD)).count();
        assert_eq!(good, 4, "{name}: {answers:.300?}");
        answers.iter().filter(|answer| !answer.ends_with(GOOD)).for_each(|answer| is_reported(name, answer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_answer_serves_where_stale_is_allowed() {
    for (name, bytes) in cut().into_iter().filter(|(_, bytes)| bytes.len() < 1_000_000) {
        let calls = AtomicUsize::new(0);
        let upstream = Upstream::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::json(200, GOOD),
            _ => Reply::Last(bytes.clone()),
        })
        .await;
        let setup = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "1ms");
        let gateway = setup.route(ROUTE, "stale_if_error", "10m").start();
        gateway.send(&get(COURSE)).await.is_zohos(200);
        tokio::time::sleep(ms(5)).await;
        let stale = gateway.send(&get(COURSE)).await;
        assert_eq!((stale.status, stale.text().as_str()), (200, GOOD), "{name}");
        let status = stale.header("cache-status").unwrap_or_default();
        assert!(status.contains("; detail=stale-if-error"), "{name}: {status}");
    }
}

/// A stalled answer is incomplete too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_stalls_is_a_timeout() {
    let half = [b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n".as_slice(), &[b'x'; 10_000]].concat();
    let upstream = Upstream::start(move |_| Reply::Bytes(half.clone())).await;
    let setup = Gateway::before_upstream(&upstream).set("upstream.timeout", "300ms").route(ROUTE, "cache", "5m");
    let gateway = setup.start();
    gateway.send(&get(COURSE)).await.problem_of(504, "upstream-timeout", ROUTE);
}
