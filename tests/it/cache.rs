//! Repeated reads on a route with `cache`: the gateway answers them itself and says so (RFC 9111, RFC 9211).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

use crate::support::{
    Answer, CALENDAR, COURSE, Call, Gateway, Reply, SHARE, SHARE_DATA, Sandbox, Upstream, all, delete, get, ms, put,
};

const ROUTE: &str = "people.lms.get-shared-users";

#[track_caller]
fn cache_status(answer: &Answer, expected: &str) {
    let status = answer.header("cache-status").unwrap_or_default();
    assert!(status.starts_with("zoho-gateway; ") && status.contains(expected), "{status:?} without {expected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_read_costs_no_call() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").start();
    let first = gateway.send(&get(COURSE)).await;
    cache_status(first.is_zohos(200), "fwd=uri-miss");
    let second = gateway.send(&get(COURSE)).await;
    cache_status(&second, "hit");
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert!(second.header("age").is_some_and(|age| age.parse::<u64>().is_ok()), "{second:?}");
    assert_eq!(zoho.requests().await.len(), 1);

    let etag = second.header("etag").expect("an entity tag");
    let unchanged = gateway.send(&get(COURSE).header("if-none-match", etag)).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    // Another query has another answer, and `no-cache` asks for a fresh one.
    cache_status(&gateway.send(&get(&format!("{COURSE}?startIndex=1"))).await, "fwd=uri-miss");
    cache_status(&gateway.send(&get(COURSE).header("cache-control", "no-cache")).await, "fwd=request");
    assert_eq!(zoho.requests().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_invalidates_the_cached_answers_of_its_path() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").start();
    assert!(!gateway.send(&get(COURSE)).await.text().contains("588882000000212025"));
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
    assert!(gateway.send(&get(COURSE)).await.text().contains("588882000000212025"));
}

/// A new record of a form makes the stored records of this form stale, and not those of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_invalidates_linked_reads_under_other_paths() {
    const RECORDS: &str = "people.forms.get-records";
    let upstream = Upstream::start(|_| Reply::json(200, r#"{"response":{"result":[],"status":0}}"#)).await;
    let gateway = Gateway::before_upstream(&upstream).route(RECORDS, "cache", "5m").start();
    let read = |form: &str| get(&format!("/people/api/forms/{form}/getRecords?sIndex=1"));
    for form in ["asset", "laptop"] {
        cache_status(gateway.send(&read(form)).await.is_zohos(200), "fwd=uri-miss");
    }
    let insert = Call::new("POST", "/api/forms/json/asset/insertRecord").header("host", "people.zoho.com");
    gateway.send(&insert.form("inputData={a:1}")).await.is_zohos(200);
    cache_status(&gateway.send(&read("asset")).await, "fwd=stale");
    cache_status(&gateway.send(&read("laptop")).await, "hit");
    // Nobody knows what an unknown call changes.
    gateway.send(&Call::new("POST", "/people/api/on/no/page")).await.is_zohos(200);
    cache_status(&gateway.send(&read("laptop")).await, "fwd=stale");
}

/// A write that is never sent changes nothing: its caller hangs up in the queue, or the gateway rejects it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsent_write_invalidates_nothing() {
    const WRITE: &str = "people.lms.share-course";
    let upstream = Upstream::start(|request| match request.body.is_empty() || request.line.contains("289009") {
        true => Reply::json(200, r#"{"code":"200"}"#),
        false => Reply::Close,
    })
    .await;
    let setup = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "5m").route(WRITE, "requests", 2);
    let gateway = setup.route(WRITE, "window", "5m").set("queue.max_wait", "10m").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let unsent = async |what: &str| {
        cache_status(&gateway.send(&get(COURSE)).await, "hit");
        assert_eq!(upstream.received().len(), 2, "{what}");
    };
    let write = put(COURSE).form(SHARE);
    // One of the two slots, on another path.
    gateway.send(&put(&COURSE.replace("289003", "289009")).form(SHARE)).await.is_zohos(200);
    unsent("another path").await;
    gateway.send(&put(COURSE).form("erecnosList=x")).await.problem(400, "invalid-payload");
    unsent("rejected for its payload").await;
    gateway.send(&write.clone().header("gateway-dry-run", "?1")).await;
    unsent("a dry run").await;

    // This one is sent, and its outcome is unknown.
    gateway.send(&write).await.problem(502, "upstream-invalid-response");
    let other = get(&format!("{COURSE}?startIndex=1"));
    for _ in 0..2 {
        cache_status(&gateway.send(&other).await, "fwd=uri-miss");
    }
}

/// The same for a caller that hangs up while it waits, and for one that cannot wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_left_the_queue_invalidates_nothing() {
    const WRITE: &str = "people.lms.share-course";
    let upstream = Upstream::start(|_| Reply::json(200, r#"{"code":"200"}"#)).await;
    let setup = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "5m").route(WRITE, "requests", 1);
    let gateway = setup.route(WRITE, "window", "5m").set("queue.max_wait", "10m").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    gateway.send(&put(&COURSE.replace("289003", "289009")).form(SHARE)).await.is_zohos(200);
    let write = put(COURSE).form(SHARE);
    gateway.send(&write.clone().header("prefer", "wait=0")).await.problem_of(429, "threshold-saturated", WRITE);
    cache_status(&gateway.send(&get(COURSE)).await, "hit");
    let waiting = tokio::spawn(write.sending(gateway.address()));
    gateway.until_waiting(1).await;
    waiting.abort();
    assert!(waiting.await.is_err());
    gateway.until_waiting(0).await;
    cache_status(&gateway.send(&get(COURSE)).await, "hit");
    assert_eq!(upstream.received().len(), 2);
}

/// Zoho rejected the write unexecuted, with a lock during which the cache serves stale answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_hit_a_lock_invalidates_nothing() {
    let zoho = Sandbox::start(&["--requests", "100000", "--lock-answer", "200"]);
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    zoho.lock("PUT /api/v1/courses/{id}/share", 300.0).await;
    let write = put(COURSE).form(SHARE);
    gateway.send(&write.clone().header("prefer", "wait=0")).await.problem(429, "threshold-locked");
    cache_status(&gateway.send(&get(COURSE)).await, "hit");
    // Hangs up while it waits for the end of the lock.
    let waiting = tokio::spawn(write.header("prefer", "wait=600").sending(gateway.address()));
    gateway.until_waiting(1).await;
    waiting.abort();
    gateway.until_waiting(0).await;
    cache_status(&gateway.send(&get(COURSE)).await, "hit");
}

/// Zoho accepts none of the account's tokens: it rejected the write unexecuted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_with_a_dead_token_invalidates_nothing() {
    let upstream = Upstream::start(|request| match request.line.starts_with("GET") {
        true => Reply::json(200, r#"{"code":"200"}"#),
        false => Reply::json(401, r#"{"response":{"errors":{"code":7213,"message":"x"},"status":1}}"#),
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "5m").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(401);
    cache_status(&gateway.send(&get(COURSE)).await, "hit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_identical_reads_at_once_share_one_call() {
    let zoho = Sandbox::start(&["--requests", "100000", "--delay", "100ms"]);
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").start();
    for answer in all((0..50).map(|_| get(COURSE).sending(gateway.address()))).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(zoho.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_if_cached_never_calls() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").start();
    let only = get(COURSE).header("cache-control", "only-if-cached");
    gateway.send(&only).await.problem_of(504, "not-cached", ROUTE);
    assert_eq!(zoho.requests().await, []);
    gateway.send(&get(COURSE)).await.is_zohos(200);
    cache_status(&gateway.send(&only).await, "hit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_cached_unless_the_route_says_so() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    for _ in 0..2 {
        assert_eq!(gateway.send(&get(COURSE)).await.is_zohos(200).header("cache-status"), None);
    }
    assert_eq!(zoho.requests().await.len(), 2);
}

/// The load for which the cache was built.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_identical_reads_cost_one_call() {
    const CONNECTIONS: usize = 250;
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").start();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(gateway.connect().await);
    }
    let began = zoho_gateway::os::clock::now();
    let reads = connections.into_iter().map(|mut connection| async move {
        let mut answers = Vec::new();
        for _ in 0..10_000 / CONNECTIONS {
            answers.push(connection.send(&get(COURSE)).await);
        }
        answers
    });
    let answers: Vec<_> = all(reads).await.into_iter().flatten().collect();
    eprintln!("{} reads took {:?}", answers.len(), zoho_gateway::os::clock::now() - began);
    assert!(answers.len() == 10_000 && answers.iter().all(|answer| answer.status == 200));
    assert_eq!(zoho.requests().await.len(), 1);
    let page = gateway.admin("/metrics").await.text();
    let counted = |outcome: &str| {
        let name = format!("zoho_gateway_cache_total{{outcome=\"{outcome}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).unwrap_or_default()
    };
    assert_eq!((counted("miss"), counted("hit") + counted("collapsed")), (1, 9_999), "{page}");
    assert!(page.lines().any(|line| line.starts_with("zoho_gateway_cache_bytes ") && !line.ends_with(" 0")), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_read_sees_a_share_and_its_removal() {
    const EMPLOYEE: &str = "588882000000212025";
    let zoho = Sandbox::boundless();
    let calendar = "calendar.calendars.get-share-details";
    let gateway = Gateway::before(&zoho).route(ROUTE, "cache", "5m").route(calendar, "cache", "5m").start();
    assert!(!gateway.send(&get(COURSE)).await.text().contains(EMPLOYEE));
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
    assert!(gateway.send(&get(COURSE)).await.text().contains(EMPLOYEE));
    gateway.send(&delete(COURSE).form(format!("sharedUserErecno={EMPLOYEE}"))).await.is_zohos(200);
    let read = gateway.send(&get(COURSE)).await;
    assert!(!read.text().contains(EMPLOYEE), "{read:?}");
    cache_status(&gateway.send(&get(COURSE)).await, "hit");
    // Under the other root of People it is the same course.
    let other_root = COURSE.replacen("/people/", "/people/people/", 1);
    gateway.send(&put(&other_root).form(SHARE)).await.is_zohos(200);
    cache_status(&gateway.send(&get(COURSE)).await, "fwd=stale");

    assert!(!gateway.send(&get(CALENDAR)).await.text().contains("user@domain.com"));
    gateway.send(&put(&format!("{CALENDAR}{SHARE_DATA}"))).await.is_zohos(200);
    let read = gateway.send(&get(CALENDAR)).await;
    assert!(read.text().contains("user@domain.com"), "{read:?}");
    cache_status(&gateway.send(&get(CALENDAR)).await, "hit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_during_a_lock_says_so() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho).route(ROUTE, "cache", "1s").route(ROUTE, "stale_if_error", "10m");
    let gateway = setup.start();
    let first = gateway.send(&get(COURSE)).await;
    zoho.lock("GET /api/v1/courses/{id}/share", 300.0).await;
    tokio::time::sleep(ms(1100)).await;
    // The first caller hits the lock, the ledger rejects the second; both get the stale answer.
    for _ in 0..2 {
        let stale = gateway.send(&get(COURSE)).await;
        cache_status(stale.is_zohos(200), "hit; ttl=-");
        cache_status(&stale, "; detail=stale-if-error");
        assert!(stale.header("age").is_some_and(|age| age.parse::<u64>().is_ok_and(|age| age >= 1)), "{stale:?}");
        assert_eq!((stale.header("retry-after"), &stale.body), (None, &first.body));
    }
    let head = gateway.send(&Call::new("HEAD", COURSE)).await;
    cache_status(&head, "stale-if-error");
    for header in [("cache-control", "no-cache"), ("cache-control", "max-stale=0"), ("pragma", "no-cache")] {
        gateway.send(&get(COURSE).header(header.0, header.1)).await.problem_of(429, "threshold-locked", ROUTE);
    }
    // Of another course nothing was cached, and a write never gets a stale answer.
    let other = COURSE.replace("289003", "289004");
    gateway.send(&get(&other)).await.problem_of(429, "threshold-locked", ROUTE);
    assert_eq!(zoho.tally("GET /api/v1/courses/{id}/share").await.arrivals_during_lock, 1);
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
    gateway.send(&get(COURSE)).await.problem_of(429, "threshold-locked", ROUTE);
    let log = gateway.process().log().join("\n");
    assert!(log.contains(r#""cache":"stale""#) && log.contains(r#""problem":"threshold-locked""#), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_during_an_outage_says_so() {
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let upstream = Upstream::start(move |_| match is_down.load(Ordering::SeqCst) {
        true => Reply::json(503, "{}"),
        false => Reply::json(200, r#"{"code":"200"}"#),
    })
    .await;
    let setup = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "100ms");
    let gateway = setup.route(ROUTE, "stale_if_error", "10m").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    tokio::time::sleep(ms(150)).await;
    down.store(true, Ordering::SeqCst);
    let stale = gateway.send(&get(COURSE)).await;
    cache_status(stale.is_zohos(200), "fwd=stale; fwd-status=503; ttl=-");
    cache_status(&stale, "; detail=stale-if-error");
    assert!(stale.header("ratelimit").is_some_and(|limit| limit.contains("r=28")), "it spent a slot: {stale:?}");
    gateway.send(&get(COURSE).header("cache-control", "no-cache")).await.is_zohos(503);
    gateway.send(&get(&format!("{COURSE}?startIndex=1"))).await.is_zohos(503);
    down.store(false, Ordering::SeqCst);
    cache_status(&gateway.send(&get(COURSE)).await, "fwd=stale; stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_zoho_gets_a_stale_answer() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho).route(ROUTE, "cache", "100ms").route(ROUTE, "stale_if_error", "10m");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let people = format!("http://{}", listener.local_addr().expect("it is bound"));
    let gateway = setup.set("accounts.main.endpoints.people", people).start();
    let read = tokio::spawn(get(COURSE).sending(gateway.address()));
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n{\"code\":\"200\"}";
    let mut request = [0; 4096];
    assert!(stream.read(&mut request).await.is_ok_and(|read| read > 0));
    stream.write_all(answer).await.expect("it reads");
    read.await.expect("no panic").is_zohos(200);
    drop((stream, listener));
    tokio::time::sleep(ms(150)).await;
    let stale = gateway.send(&get(COURSE)).await;
    cache_status(stale.is_zohos(200), "; detail=stale-if-error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_call_continues_without_the_caller_who_started_it() {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| Reply::json(200, r#"{"code":"200"}"#).behind(&closed)).await;
    let gateway = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "5m").start();
    let first = tokio::spawn(get(COURSE).sending(gateway.address()));
    upstream.until_received(1).await;
    first.abort();
    assert!(first.await.is_err());
    let second = tokio::spawn(get(COURSE).header("prefer", "wait=0").sending(gateway.address()));
    // Time enough for the gateway to notice both.
    tokio::time::sleep(ms(100)).await;
    gate.notify_one();
    let second = second.await.expect("no panic");
    assert_eq!(second.is_zohos(200).text(), r#"{"code":"200"}"#);
    cache_status(&second, "fwd=uri-miss; collapsed");
    cache_status(&gateway.send(&get(COURSE)).await, "hit");
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_call_without_callers_leaves_the_queue() {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| Reply::json(200, r#"{"code":"200"}"#).behind(&closed)).await;
    let setup = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "5m").route(ROUTE, "requests", 1);
    let gateway = setup.route(ROUTE, "window", "100ms").set("queue.max_wait", "5m").start();
    let holder = tokio::spawn(get(&format!("{COURSE}?startIndex=0")).sending(gateway.address()));
    upstream.until_received(1).await;
    let readers = [(); 3].map(|()| tokio::spawn(get(COURSE).sending(gateway.address())));
    gateway.until_waiting(1).await;
    // One of them cannot wait as long as the one that started the call.
    let answer = gateway.send(&get(COURSE).header("prefer", "wait=0")).await;
    answer.problem_of(429, "threshold-saturated", ROUTE);
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    gateway.until_waiting(0).await;
    gate.notify_one();
    holder.await.expect("no panic").is_zohos(200);
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_not_shared() {
    let gate = Arc::new(Notify::new());
    let (closed, failed) = (Arc::clone(&gate), Arc::new(AtomicBool::new(false)));
    let upstream = Upstream::start(move |_| match failed.swap(true, Ordering::SeqCst) {
        false => Reply::json(500, r#"{"response":{"status":1}}"#).behind(&closed),
        true => Reply::json(200, r#"{"code":"200"}"#),
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "5m").start();
    let reads: Vec<_> = (0..20).map(|_| tokio::spawn(get(COURSE).sending(gateway.address()))).collect();
    upstream.until_received(1).await;
    tokio::time::sleep(ms(200)).await;
    gate.notify_one();
    let mut statuses = Vec::new();
    for read in reads {
        statuses.push(read.await.expect("no panic").status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 1, "{statuses:?}");
    assert_eq!(upstream.received().len(), 2, "one of the others tried for all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_inside_a_200_and_truncated_answers_are_not_cached() {
    let cut: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n{\"code\":\"200\"";
    let closed: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"code\":\"200\",\"sharedUsers\":[";
    let inside = r#"{"response":{"message":"Error occurred","errors":{"code":7024,"message":"x"},"status":1}}"#;
    for (bytes, last) in [(inside.as_bytes(), false), (cut, true), (closed, true)] {
        let upstream = Upstream::start(move |_| match last {
            true => Reply::Last(bytes.to_vec()),
            false => Reply::with(200, "Content-Type: application/json\r\n", bytes),
        })
        .await;
        let gateway = Gateway::before_upstream(&upstream).route(ROUTE, "cache", "5m").start();
        for calls in 1..=2 {
            get(COURSE).attempt(gateway.address()).await;
            assert_eq!(upstream.received().len(), calls, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
