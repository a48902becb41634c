//! Methods, targets, bodies and trailers are forwarded byte for byte.

use std::sync::Arc;

use crate::support::{COURSE, Call, Gateway, Reply, Upstream, delete, exchange, get, shell};

/// Bytes without short repetitions, so that a lost or swapped part shows.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn method_and_target_are_forwarded_unchanged() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).route("people.other.any-call", "throttle", "off").start();
    let targets = [
        "/api/v1/anything",
        "/api/v1/caf%C3%A9/%41%7e/x,y/@:!$&'()*+=",
        "/api/v1/x?a=%41&a=b&&=&%zz&plus=a+b&slash=/?:@",
        "/api/v1/x?",
        "/api/v1/x/",
        "/",
    ];
    for method in ["GET", "POST", "PATCH", "OPTIONS", "MOVE", "X-UNHEARD-OF"] {
        for target in targets {
            gateway.send(&Call::new(method, &format!("/people{target}"))).await.is_zohos(200);
            let received = upstream.received().pop().expect("it was sent");
            assert_eq!(received.line, format!("{method} {target} HTTP/1.1"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_keeps_its_body() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    gateway.send(&delete(COURSE).form("sharedUserErecno=588882000000212025")).await.is_zohos(200);
    let received = upstream.only();
    assert!(received.line.starts_with("DELETE "), "{}", received.line);
    assert_eq!(received.body, b"sharedUserErecno=588882000000212025");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_has_an_answer_without_a_body() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1234\r\n\r\n";
    let upstream = Upstream::start(|_| Reply::Bytes(head.to_vec())).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let mut connection = gateway.connect().await;
    for _ in 0..2 {
        let answer = connection.send(&Call::new("HEAD", COURSE)).await;
        answer.is_zohos(200);
        assert_eq!((answer.header("content-length"), answer.body.len()), (Some("1234"), 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_streams_with_or_without_a_length() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).set("proxy.max_body", "4MiB").start();
    let body = noise(2 * 1024 * 1024);
    let call = Call::new("POST", "/people/api/files/uploadFile").body(body.clone());
    for call in [call.clone(), call.chunked()] {
        gateway.send(&call).await.is_zohos(200);
        let received = upstream.received().pop().expect("it was sent");
        assert!(received.body == body, "{} bytes arrived, or others", received.body.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_streams_through() {
    let body = Arc::new(noise(5 * 1024 * 1024));
    let sent = Arc::clone(&body);
    let script = move |_: &_| Reply::with(200, "Content-Type: application/json\r\n", &sent);
    let upstream = Upstream::start(script).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let answer = gateway.send(&get(COURSE)).await;
    answer.is_zohos(200);
    assert!(answer.body == body[..], "{} bytes arrived, or others", answer.body.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_answer_does_not_hold_its_caller_for_ever() {
    let half = [b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n".as_slice(), &[b'x'; 10_000]].concat();
    let upstream = Upstream::start(move |_| Reply::Bytes(half.clone())).await;
    let gateway = Gateway::before_upstream(&upstream).set("upstream.timeout", "300ms").start();
    let answer = exchange(gateway.address(), format!("GET {COURSE} HTTP/1.1\r\nHost: gateway\r\n\r\n")).await;
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    assert!(answer.to_lowercase().contains("content-length: 20000") && body.len() < 20_000, "closed before its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_are_forwarded_if_the_caller_accepts_them() {
    let chunked = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
                    Trailer: X-Checksum\r\n\r\n2\r\n{}\r\n0\r\nX-Checksum: abc\r\n\r\n";
    let upstream = Upstream::start(|_| Reply::Bytes(chunked.to_vec())).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let request = |te: &str| format!("GET {COURSE} HTTP/1.1\r\nHost: gateway\r\n{te}Connection: close\r\n\r\n");
    let with = exchange(gateway.address(), request("TE: trailers\r\n")).await.to_lowercase();
    assert!(with.contains("trailer: x-checksum") && with.ends_with("0\r\nx-checksum: abc\r\n\r\n"), "{with}");
    let without = exchange(gateway.address(), request("")).await;
    assert!(without.starts_with("HTTP/1.1 200 ") && without.ends_with("0\r\n\r\n"), "{without}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_many_calls() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let mut connection = gateway.connect().await;
    for _ in 0..10 {
        connection.send(&get(COURSE)).await.is_zohos(200);
    }
    assert_eq!(upstream.received().len(), 10);
    assert_eq!(upstream.connections(), 1, "the gateway keeps its own connection too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_keeps_its_chunked_body() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    for length in [5, 100_000] {
        // The tests' own client leaves the body out too, unless the test sets one.
        let call = Call::new("GET", "/people/api/search").body(noise(length)).chunked();
        let call = call.header("transfer-encoding", "chunked");
        gateway.send(&call).await.is_zohos(200);
        assert_eq!(upstream.received().pop().expect("it was sent").body, noise(length));
    }
}

/// A header that may not be forwarded may not be forwarded as a trailer either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_trailers_are_removed() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: RateLimit, X-Sum\r\n\r\n2\r\n{}\r\n0\r\n\
                   RateLimit: forged\r\nX-Sum: abc\r\n\r\n";
    let upstream = Upstream::start(|_| Reply::Bytes(answer.to_vec())).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let request = "POST /people/api/x HTTP/1.1\r\nHost: gateway\r\nTE: trailers\r\nConnection: close\r\n\
                   Transfer-Encoding: chunked\r\nTrailer: Cookie, X-Sum\r\n\r\n2\r\nab\r\n0\r\n\
                   Cookie: CSRF_TOKEN=1\r\nX-Sum: def\r\n\r\n";
    let received = exchange(gateway.address(), request).await;
    assert!(received.contains("abc") && !received.contains("forged"), "{received}");
    assert_eq!(upstream.only().trailers, ["x-sum: def"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_switches_protocols_is_an_error() {
    let upstream = Upstream::start(|_| {
        Reply::Bytes(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_vec())
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).start();
    gateway.send(&get(COURSE)).await.problem(502, "upstream-invalid-response");
}

/// A server may reject a POST without a length (411). Whatever the caller's framing is, Zoho gets a length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_body_has_a_length() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).route("people.other.any-call", "throttle", "off").start();
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (method, fields, body, length) in [
        ("POST", chunked, "0\r\n\r\n", &["0"][..]),
        ("PUT", chunked, "0\r\n\r\n", &["0"]),
        ("PATCH", chunked, "000;a=b\r\n\r\n", &["0"]),
        ("DELETE", chunked, "0\r\n\r\n", &["0"]),
        ("GET", chunked, "0\r\n\r\n", &["0"]),
        ("POST", "", "", &["0"]),
        ("PUT", "Content-Length: 0\r\n", "", &["0"]),
        ("POST", "Content-Length: 000\r\n", "", &["0"]),
        ("POST", chunked, "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", &["3"]),
        ("DELETE", "", "", &[]),
        ("GET", "", "", &[]),
        ("DELETE", "Content-Length: 0\r\n", "", &["0"]),
    ] {
        let request =
            format!("{method} /people/api/x HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n{fields}\r\n{body}");
        let answer = exchange(gateway.address(), request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let received = upstream.received().pop().expect("it was sent");
        assert_eq!(received.header("content-length"), length, "{method} {fields}{body}");
        assert_eq!(received.header("transfer-encoding"), [""; 0], "{method} {fields}{body}");
    }
    // Trailers need chunks, which have an end too.
    let request = format!(
        "POST /people/api/x HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nTrailer: X-Sum\r\n{chunked}\r\n0\r\nX-Sum: 1\r\n\r\n"
    );
    assert!(exchange(gateway.address(), request).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(upstream.received().pop().expect("it was sent").header("transfer-encoding"), ["chunked"]);
    let url = format!("{}/people/api/x", gateway.url());
    assert_eq!(shell(&format!("curl -sS -T - {url} </dev/null")), "{}");
    assert_eq!(upstream.received().pop().expect("it was sent").header("content-length"), ["0"]);
}
