//! Failures on Zoho's side: reported precisely, and the call is sent once.

use crate::support::{Answer, COURSE, Call, Gateway, Reply, SHARE, Sandbox, Upstream, get, ms, put};

const SHARED_USERS: &str = "people.lms.get-shared-users";

#[track_caller]
fn proxy_error(answer: &Answer, error: &str) {
    let status = answer.header("proxy-status").unwrap_or_default();
    assert!(status.starts_with(&format!("zoho-gateway; error={error};")), "{status}");
}

/// An address without a listener.
async fn unreachable() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_upstream_costs_no_slot() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho).set("accounts.main.endpoints.people", unreachable().await);
    let gateway = setup.route(SHARED_USERS, "requests", 1).start();
    for _ in 0..3 {
        let answer = gateway.send(&get(COURSE).header("prefer", "wait=0")).await;
        answer.problem_of(502, "upstream-unreachable", SHARED_USERS);
        proxy_error(&answer, "connection_refused");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_accounts_server_is_reported_and_retried() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).set("accounts.main.endpoints.accounts", unreachable().await).start();
    // At once for a caller that does not wait, and after a few attempts for one that does.
    for wait in ["wait=0", "wait=0", "wait=1"] {
        let answer = gateway.send(&get(COURSE).header("prefer", wait)).await;
        answer.problem_of(502, "upstream-unreachable", SHARED_USERS);
    }
    assert_eq!(zoho.requests().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_answer_of_the_accounts_server_is_reported() {
    let accounts = Upstream::bare(|_| Reply::json(200, "<html>")).await;
    let gateway = Gateway::before_upstream(&accounts).start();
    gateway.send(&get(COURSE)).await.problem_of(502, "upstream-invalid-response", SHARED_USERS);
    assert_eq!(accounts.received(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_http_answer_is_reported() {
    let broken: [(&str, &[u8], &str); 6] = [
        ("nothing", b"", "http_response_incomplete"),
        ("garbage", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "http_protocol_error"),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-", "http_response_incomplete"),
        (
            "an unread coding",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "http_protocol_error",
        ),
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n{}", "http_protocol_error"),
        ("half a body", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "http_response_incomplete"),
    ];
    for (name, bytes, error) in broken {
        let upstream = Upstream::start(move |_| Reply::Last(bytes.to_vec())).await;
        let gateway = Gateway::before_upstream(&upstream).start();
        for call in [get(COURSE), put(COURSE).form(SHARE)] {
            let answer = gateway.send(&call).await;
            answer.problem(502, "upstream-invalid-response");
            let status = answer.header("proxy-status").unwrap_or_default();
            assert!(status.contains(&format!("error={error};")), "{name}: {status}");
        }
        assert_eq!(upstream.received().len(), 2, "{name}: each was sent once");
    }
}

/// Two statements of the length become one: a chunked body overrides it, and equal lengths merge (RFC 9112 section
/// 6.3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_two_lengths_reaches_its_caller_whole() {
    let long = "x".repeat(100_000);
    let chunked = |length: usize, body: &str| {
        let size = body.len();
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n")
    };
    for (rest, body) in [
        (chunked(100, "{}"), "{}"),
        (chunked(1, "{}"), "{}"),
        (chunked(5, &long), long.as_str()),
        ("Content-Length: 2, 2\r\n\r\n{}".to_owned(), "{}"),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{rest}").into_bytes();
        let upstream = Upstream::start(move |_| Reply::Bytes(bytes.clone())).await;
        let gateway = Gateway::before_upstream(&upstream).start();
        let mut connection = gateway.connect().await;
        for _ in 0..2 {
            let answer = connection.send(&get(COURSE)).await;
            assert_eq!(
                (answer.status, answer.text().as_str() == body),
                (200, true),
                "{rest:.80}: {:.80}",
                answer.text()
            );
            assert!(answer.header("content-length").is_none_or(|length| length == body.len().to_string()));
        }
    }
    let twice = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n";
    let upstream = Upstream::start(|_| Reply::Bytes(twice.to_vec())).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let head = gateway.send(&Call::new("HEAD", COURSE)).await;
    assert_eq!((head.status, head.header("proxy-status").is_some()), (502, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_http_1_0_gets_whole_requests_and_1_1() {
    let old = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}";
    let upstream = Upstream::start(|_| Reply::Bytes(old.to_vec())).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let body = format!("erecnosList=%5B{}1%5D", "1,".repeat(40_000));
    for _ in 0..3 {
        gateway
            .send(&Call::new("PUT", "/people/api/x").header("content-type", "text/plain").body(body.clone()).chunked())
            .await;
    }
    for received in upstream.received() {
        assert_eq!((received.line.as_str(), received.body.len()), ("PUT /api/x HTTP/1.1", body.len()));
    }
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_does_not_answer_times_out() {
    let upstream = Upstream::start(|_| Reply::Never).await;
    let gateway = Gateway::before_upstream(&upstream).set("upstream.timeout", "300ms").start();
    let answer = gateway.send(&get(COURSE)).await;
    answer.problem_of(504, "upstream-timeout", SHARED_USERS);
    proxy_error(&answer, "http_response_timeout");
    upstream.only();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_accounts_server_times_out() {
    let accounts = Upstream::bare(|_| Reply::Never).await;
    let gateway = Gateway::before_upstream(&accounts).set("upstream.timeout", "300ms").start();
    gateway.send(&get(COURSE)).await.problem_of(504, "upstream-timeout", SHARED_USERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_upstream_does_not_time_out() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}").after(ms(300))).await;
    let gateway = Gateway::before_upstream(&upstream).set("upstream.timeout", "5s").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
}

/// An HTTP client may send a call again when a kept-alive connection closes under it.
async fn is_sent_once_though_the_connection_closes(call: Call) {
    let upstream = Upstream::start(|request| match request.line.contains("startIndex=7") {
        true => Reply::json(200, "{}"),
        false => Reply::Close,
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).start();
    gateway.send(&get(&format!("{COURSE}?startIndex=7"))).await.is_zohos(200);
    // Over the connection that has just served a call.
    gateway.send(&call).await.problem(502, "upstream-invalid-response");
    assert_eq!(upstream.received().len(), 2);
    // Over a new connection.
    gateway.send(&call).await.problem(502, "upstream-invalid-response");
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_may_have_been_executed_is_sent_once() {
    is_sent_once_though_the_connection_closes(put(COURSE).form(SHARE)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_sent_once_too() {
    is_sent_once_though_the_connection_closes(get(COURSE)).await;
}
