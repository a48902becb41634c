//! Uploads within the gateway's own limits: as large as Zoho accepts them, and never held in memory.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::support::{COURSE, Call, Gateway, Reply, Upstream, all, ms, put};

const UPLOAD: &str = "/people/api/files/uploadFileMultipart";
const MEGABYTE: usize = 1_000_000;

/// A call from Zoho's page, with a file of this many bytes.
fn upload(size: usize) -> Call {
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.pdf\"\r\n\r\n";
    let body = [head.as_bytes(), &vec![b'x'; size], b"\r\n--b--\r\n"].concat();
    Call::new("POST", UPLOAD).header("content-type", "multipart/form-data; boundary=b").body(body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_file_that_zoho_accepts_passes_by_default() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    for size in [3 * MEGABYTE, 10 * MEGABYTE, 10_240 * 1024] {
        for call in [upload(size), upload(size).chunked()] {
            gateway.send(&call).await.is_zohos(200);
            let received = upstream.received().pop().expect("it was sent");
            assert!(received.body.len() > size && received.body.ends_with(b"--b--\r\n"), "{size}");
        }
    }
    let attachment = Call::new("POST", "/calendar/api/v1/calendars/1/events/2/attachment")
        .header("content-type", "application/octet-stream")
        .body(vec![b'x'; 10_240 * 1024]);
    gateway.send(&attachment).await.is_zohos(200);
    let sent = upstream.received().len();
    for call in [upload(16 * 1024 * 1024), upload(16 * 1024 * 1024).chunked()] {
        let rejected = gateway.send(&call).await.problem(413, "body-too-large");
        assert!(rejected["detail"].as_str().is_some_and(|detail| detail.contains("proxy.max_body")), "{rejected}");
    }
    assert!(upstream.received().len() <= sent, "neither was sent whole");
}

/// The gateway reads the content of forms only, so no rule makes it hold another body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_has_its_own_limit() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let long = |length: usize| format!("erecnosList=%5B588882000000212025%5D&x={}", "x".repeat(length));
    gateway.send(&put(COURSE).form(long(1_000_000))).await.is_zohos(200);
    let sent = upstream.received().len();
    for call in [
        put(COURSE).form(long(1 << 20)),
        put(COURSE).form(long(1 << 20)).chunked(),
        // A body without a type, which may be a form.
        put(COURSE).body(long(1 << 20)),
        // A form on any call.
        Call::new("POST", "/people/api/anything").form("x".repeat((1 << 20) + 1)),
    ] {
        let rejected = gateway.send(&call).await.problem(413, "body-too-large");
        assert!(rejected["detail"].as_str().is_some_and(|detail| detail.contains("proxy.max_form")), "{rejected}");
    }
    assert_eq!(upstream.received().len(), sent);
    let json = put(&format!("{COURSE}?erecnosList=%5B588882000000212025%5D"));
    let json = json.header("content-type", "application/json").body("x".repeat(3 * MEGABYTE));
    gateway.send(&json).await.is_zohos(200);
    let larger = Gateway::before_upstream(&upstream).set("proxy.max_form", "4MiB").start();
    larger.send(&put(COURSE).form(long(3 * MEGABYTE))).await.is_zohos(200);
}

/// The peak memory of a process, in bytes.
fn peak(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Zoho reads no body until all requests have come, and then slowly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_at_once_are_not_held_in_memory() {
    const UPLOADS: usize = 20;
    let zoho = Upstream::start(|_| Reply::json(200, "{}")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let people = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (gate, come) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    tokio::spawn({
        let (gate, come) = (Arc::clone(&gate), Arc::clone(&come));
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(slow(stream, Arc::clone(&gate), Arc::clone(&come)));
            }
        }
    });
    let setup = Gateway::before_upstream(&zoho).set("accounts.main.endpoints.people", people);
    let gateway = setup.start();
    gateway.send(&Call::new("GET", "/people/api/warm-up")).await.is_zohos(200);
    let before = peak(gateway.process().id());
    let uploads: Vec<_> = (0..UPLOADS).map(|_| upload(10 * MEGABYTE).sending(gateway.address())).collect();
    let uploads = tokio::spawn(all(uploads));
    crate::support::until("all uploads have come", async || come.load(Ordering::SeqCst) == UPLOADS).await;
    // Time enough for the gateway to send all it can.
    tokio::time::sleep(ms(300)).await;
    gate.add_permits(UPLOADS);
    for answer in uploads.await.expect("no panic") {
        answer.is_zohos(200);
    }
    let grown = peak(gateway.process().id()) - before;
    eprintln!("{UPLOADS} uploads of 10 MB took {grown} bytes more than before");
    assert!(grown < 40 * MEGABYTE, "{grown} bytes, of {} that were sent", UPLOADS * 10 * MEGABYTE);
}

/// Answers each request on a connection; reads the body of an upload once the gate is open.
async fn slow(mut stream: TcpStream, gate: Arc<Semaphore>, come: Arc<AtomicUsize>) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if let Some(mut left) = length {
            come.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.ok()?.forget();
            let mut piece = vec![0; 16 * 1024];
            while left > 0 {
                let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
                left -= read;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.ok()?;
    }
}
