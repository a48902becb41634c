//! Callers that hang up while they wait. Unread bytes do not hide the end of their connection.

use std::{
    fs,
    net::Shutdown,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use serde_json::json;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::Notify,
};

use crate::support::{Authority, COURSE, Gateway, Setup, Upstream, get, one_slot_taken};

/// The requests of callers that hang up: in each, the end of the connection comes after unread bytes.
fn requests() -> Vec<(&'static str, String)> {
    let head = |fields: &str| format!("GET {COURSE}?startIndex=1 HTTP/1.1\r\nHost: gateway\r\n{fields}\r\n");
    // Of a type that streams.
    let typed = |fields: &str| head(&format!("Content-Type: application/octet-stream\r\n{fields}"));
    let body = |sent| format!("{}{}", typed("Content-Length: 100000\r\n"), "x".repeat(sent));
    let chunks = |count| format!("{}{}", typed("Transfer-Encoding: chunked\r\n"), chunk().repeat(count));
    vec![
        ("nothing behind it", head("")),
        ("a second request", head("").repeat(2)),
        ("eight more requests", head("").repeat(9)),
        ("half of a second request", format!("{}GET {COURSE} HTT", head(""))),
        ("an empty line", format!("{}\r\n", head(""))),
        ("bytes of no request", format!("{}{}", head(""), "\0".repeat(20_000))),
        ("a small body and more", format!("{}abcdef", head("Content-Length: 3\r\n"))),
        ("a large body, of which nothing came", body(0)),
        ("a large body, of which a little came", body(10)),
        ("a large body, of which much came", body(60_000)),
        ("a large body", body(100_000)),
        ("a large body and a second request", format!("{}{}", body(100_000), head(""))),
        ("a chunked body, of which 80 KB came", chunks(8)),
        ("a chunked body of 80 KB", format!("{}0\r\n\r\n", chunks(8))),
    ]
}

fn chunk() -> String {
    format!("2710\r\n{}\r\n", "x".repeat(10_000))
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// The process closes it, or is killed: a FIN.
    Closed,
    /// A RST.
    Reset,
    /// Only the sending half ends, which counts as hanging up.
    Half,
}

/// Sends the request, waits until the call is in the queue, and ends the connection; then the call must leave the
/// queue.
async fn hangs_up(gateway: &Gateway, request: &str, end: End, mut stream: impl AsyncWrite + Unpin, socket: OwnedFd) {
    stream.write_all(request.as_bytes()).await.expect("the kernel takes it");
    stream.flush().await.expect("the kernel takes it");
    gateway.until_waiting(1).await;
    match end {
        End::Closed => {}
        End::Reset => SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("a socket"),
        End::Half => SockRef::from(&socket).shutdown(Shutdown::Write).expect("a connection"),
    }
    let kept = (end == End::Half).then_some((stream, socket));
    gateway.until_waiting(0).await;
    drop(kept);
}

fn handle(stream: &impl AsFd) -> OwnedFd {
    stream.as_fd().try_clone_to_owned().expect("a free number")
}

/// Lets the next call through: Zoho receives only that call and the first one.
async fn only_the_remaining_caller_is_served(upstream: &Upstream, gateway: &Gateway, gate: &Notify) {
    let staying = tokio::spawn(get(&format!("{COURSE}?startIndex=2")).sending(gateway.address()));
    gateway.until_waiting(1).await;
    gate.notify_one();
    staying.await.expect("no panic").is_zohos(200);
    let lines: Vec<_> = upstream.received().into_iter().map(|received| received.line).collect();
    assert!(lines.len() == 2 && lines[1].contains("startIndex=2"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_caller_that_hangs_up_leaves_the_queue() {
    let (upstream, gateway, gate) = one_slot_taken(|setup| setup, |call| call).await;
    for (what, request) in requests() {
        for end in [End::Closed, End::Reset, End::Half] {
            eprintln!("{what}, {end:?}");
            let stream = TcpStream::connect(gateway.address()).await.expect("it listens");
            let socket = handle(&stream);
            hangs_up(&gateway, &request, end, stream, socket).await;
        }
    }
    only_the_remaining_caller_is_served(&upstream, &gateway, &gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_caller_that_hangs_up_leaves_the_queue() {
    let (upstream, gateway, gate) = one_slot_taken(on_a_unix_socket, |call| call).await;
    let path = gateway.address().strip_prefix("unix:").expect("a Unix socket").to_owned();
    for (what, request) in requests() {
        for end in [End::Closed, End::Half] {
            eprintln!("{what}, {end:?}");
            let stream = UnixStream::connect(&path).await.expect("it listens");
            let socket = handle(&stream);
            hangs_up(&gateway, &request, end, stream, socket).await;
        }
    }
    only_the_remaining_caller_is_served(&upstream, &gateway, &gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_caller_that_hangs_up_leaves_the_queue() {
    let authority = Authority::new();
    let with_tls = |setup: Setup| {
        let issued = authority.issue(&["localhost"]);
        fs::write(setup.path("tls.crt"), issued.pem()).expect("the folder can be written to");
        fs::write(setup.path("tls.key"), issued.key_pem()).expect("the folder can be written to");
        on_a_unix_socket(setup).set("proxy.tls.cert", "tls.crt").set("proxy.tls.key", "tls.key")
    };
    let (upstream, gateway, gate) = one_slot_taken(with_tls, |call| call).await;
    let address = gateway.process().logged(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let address = line["address"].as_str().filter(|address| !address.starts_with("unix:"))?;
        (line["message"] == "the proxy listens").then(|| address.to_owned())
    });
    for (what, request) in requests() {
        for end in [End::Closed, End::Reset, End::Half] {
            eprintln!("{what}, {end:?}");
            let stream = authority.client().connect(&address).await.expect("a handshake");
            let socket = handle(stream.get_ref().0);
            hangs_up(&gateway, &request, end, stream, socket).await;
        }
    }
    only_the_remaining_caller_is_served(&upstream, &gateway, &gate).await;
}

/// With so many unread bytes, the end of the connection does not even reach this machine: it shows when the gateway
/// reads on, before the call gets a slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_whose_clients_left_use_no_slot() {
    let (upstream, gateway, gate) = one_slot_taken(|setup| setup.set("proxy.max_body", "16MiB"), |call| call).await;
    let mut waiting = 0;
    for megabytes in [1, 3, 10] {
        for fields in [format!("Content-Length: {}", megabytes << 20), "Transfer-Encoding: chunked".to_owned()] {
            let head = "Host: gateway\r\nContent-Type: application/octet-stream";
            let head = format!("GET {COURSE}?startIndex=1 HTTP/1.1\r\n{head}\r\n{fields}\r\n\r\n");
            let body = if fields.contains("chunked") {
                format!("{}0\r\n\r\n", chunk().repeat(100 * megabytes))
            } else {
                "x".repeat(megabytes << 20)
            };
            let mut stream = TcpStream::connect(gateway.address()).await.expect("it listens");
            stream.write_all(head.as_bytes()).await.expect("the kernel takes it");
            // The kernel takes only a part of the largest one.
            let _ = tokio::time::timeout(Duration::from_millis(200), stream.write_all(body.as_bytes())).await;
            waiting += 1;
            gateway.until_waiting(waiting).await;
        }
    }
    let body = vec![b'x'; 8 << 20];
    let staying = tokio::spawn(get(&format!("{COURSE}?startIndex=2")).body(body.clone()).sending(gateway.address()));
    gateway.until_waiting(waiting + 1).await;
    gate.notify_one();
    staying.await.expect("no panic").is_zohos(200);
    let received = upstream.received();
    let lines: Vec<_> = received.iter().map(|received| &received.line).collect();
    assert!(lines.len() == 2 && lines[1].contains("startIndex=2"), "{lines:?}");
    assert!(received[1].body == body, "{} bytes arrived, or others", received[1].body.len());
}

fn on_a_unix_socket(setup: Setup) -> Setup {
    let path = format!("unix:{}", setup.path("proxy.sock").display());
    setup.set("proxy.listen", json!([path, "127.0.0.1:0"]))
}

/// They wait for their turn like every caller, with the bytes they sent too early still unread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_caller_that_sent_extra_bytes_is_served() {
    let (upstream, gateway, gate) = one_slot_taken(|setup| setup, |call| call).await;
    let mut waiting = Vec::new();
    for (number, (what, request)) in requests().into_iter().enumerate() {
        // A request with a missing body would wait for more, and a malformed one would be rejected.
        if what.contains("came") {
            continue;
        }
        let mut stream = TcpStream::connect(gateway.address()).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("the kernel takes it");
        gateway.until_waiting(waiting.len() + 1).await;
        waiting.push((number, what, stream));
    }
    gate.notify_one();
    let calls = 1 + waiting.len();
    for (_, what, stream) in &mut waiting {
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 200", "{what}");
    }
    assert!(upstream.received().len() >= calls);
}
