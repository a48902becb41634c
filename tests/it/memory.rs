//! The memory of waiting calls: up to `queue.max_waiting_bytes`, and returned when the calls are gone.

use std::fs;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{COURSE, Call, Gateway, Reply, SHARE, Upstream, get, put, until};

const KIB: usize = 1024;

/// How many bytes may wait in memory here.
const MAY_WAIT: usize = 4 * 1024 * KIB;

/// The process's other memory: other threads' part of the allocator, answers in progress. The tasks of a debug build
/// are larger too.
const BESIDES: usize = 24 * 1024 * KIB;

/// The maximum for an idle process.
const IDLE: usize = 12 * 1024 * KIB;

/// Each call waits on its own connection; a hard limit of 1,024 open files allows about 350.
const CALLS: usize = 300;

/// How much private memory the process uses.
fn resident(gateway: &Gateway) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.process().id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel counts it");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * KIB
}

/// Makes `request` wait on many connections, at a gateway on which `first` hit a lock, and returns how many were
/// rejected for want of memory. The others stay within the limit.
async fn wait_on_many_connections(first: Call, request: &[u8]) -> (Gateway, Vec<TcpStream>, usize) {
    let upstream = Upstream::start(|_| Reply::json(429, "{}")).await;
    let setup = Gateway::before_upstream(&upstream).set("queue.max_waiting_bytes", format!("{MAY_WAIT}B"));
    let setup = setup.set("queue.max_wait", "1h").route("people.files.upload-file", "lock", "50m");
    let setup =
        setup.route("people.lms.get-shared-users", "lock", "50m").route("people.lms.share-course", "lock", "50m");
    let gateway = setup.start();
    gateway.send(&first.header("prefer", "wait=0")).await.problem(429, "threshold-locked");
    let idle = resident(&gateway);

    let mut waiting = Vec::new();
    for _ in 0..CALLS {
        let mut stream = TcpStream::connect(gateway.address()).await.expect("it listens");
        // The gateway may reject a request before all of it is sent.
        let _ = stream.write_all(request).await;
        waiting.push(stream);
    }
    let mut rejected = 0;
    until("all wait or are rejected", async || {
        let metrics = gateway.admin("/metrics").await.text();
        let number = |metric: &str| -> usize {
            let value = metrics.lines().find_map(|line| line.strip_prefix(metric));
            value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
        };
        rejected = number("zoho_gateway_refusals_total{problem=\"queue-full\"}");
        number("zoho_gateway_waiting") + rejected == CALLS
    })
    .await;
    let taken = resident(&gateway).saturating_sub(idle);
    assert!(taken <= MAY_WAIT + BESIDES, "{} KiB are taken", taken / KIB);
    (gateway, waiting, rejected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_reads_are_bounded_and_their_memory_returned() {
    let request = format!("GET {COURSE}?startIndex=1 HTTP/1.1\r\nHost: gateway\r\n\r\n");
    let (gateway, waiting, rejected) = wait_on_many_connections(get(COURSE), request.as_bytes()).await;
    // 24 KiB each, and some for the head: about 165 fit.
    let fit = CALLS - rejected;
    assert!((MAY_WAIT / (26 * KIB)..=MAY_WAIT / (24 * KIB)).contains(&fit), "{fit}");
    drop(waiting);
    gateway.until_waiting(0).await;
    until("the memory is given back", async || resident(&gateway) <= 2 * IDLE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_forms_are_bounded() {
    let form = format!("{SHARE}&x={}", "x".repeat(60_000));
    let head = format!(
        "PUT {COURSE} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n",
        form.len()
    );
    let (.., rejected) = wait_on_many_connections(put(COURSE).form(SHARE), (head + &form).as_bytes()).await;
    let fit = CALLS - rejected;
    assert!((1..=MAY_WAIT / (82 * KIB)).contains(&fit), "{fit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_are_bounded() {
    const UPLOAD: &str = "/people/api/files/uploadFileMultipart";
    let head = format!(
        "POST {UPLOAD} HTTP/1.1\r\nHost: gateway\r\nContent-Type: multipart/form-data; boundary=x\r\n\
         Content-Length: 200000\r\n\r\n"
    );
    let first = Call::new("POST", UPLOAD).header("content-type", "multipart/form-data; boundary=x");
    let (.., rejected) = wait_on_many_connections(first, (head + &"x".repeat(16 * KIB)).as_bytes()).await;
    let fit = CALLS - rejected;
    assert!((1..=MAY_WAIT / (40 * KIB)).contains(&fit), "{fit}");
}
