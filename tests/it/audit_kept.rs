//! What the audit keeps when a process, a disk or a reader fails.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::support::{COURSE, Call, Gateway, Process, Reply, SHARE, Setup, Upstream, all, get, ms, put, until};

const INSERT: &str = "/people/people/api/forms/json/Assets/insertRecord";
const UPLOAD: &str = "/people/api/v3/files/add";

fn share() -> Call {
    put(COURSE).form(SHARE)
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of a text, without one that a kill cut off.
fn lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

// === kill -9 under load ===

const CALLERS: usize = 8;

/// What the callers know about their writes.
#[derive(Default)]
struct Known {
    over: AtomicBool,
    count: AtomicUsize,
    /// The request ids of the writes answered with 200.
    executed: Mutex<BTreeSet<String>>,
}

impl Known {
    /// Sends one write after the other to the gateway at this address.
    async fn insist(self: Arc<Self>, address: String, write: fn(usize) -> Call) {
        while !self.over.load(Ordering::Relaxed) {
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            let id = format!("write-{number}");
            match write(number).header("x-request-id", &id).attempt(&address).await {
                Some(answer) if answer.status == 200 => {
                    self.executed.lock().expect("no caller panics").insert(id);
                }
                Some(answer) => panic!("{answer:?}"),
                None => tokio::time::sleep(ms(5)).await,
            }
        }
    }
}

/// Kills gateways under load, and compares their final `audit` with what callers and Zoho know.
async fn kills_lose_nothing(
    kills: u64,
    write: fn(usize) -> Call,
    prepare: impl FnOnce(Setup) -> Setup,
    mut audit: impl FnMut(&Gateway) -> Vec<Value>,
) {
    let upstream = Upstream::start(|_| Reply::json(200, r#"{"response":{"result":[],"status":0}}"#)).await;
    let mut setup = Gateway::before_upstream(&upstream);
    let address = format!("unix:{}", setup.path("proxy.sock").display());
    setup = setup.set("proxy.listen", json!([address])).set("token.requests", 1000);
    for route in ["people.forms.insert-record", "people.v3-files.add-file"] {
        setup = setup.route(route, "requests", 1_000_000).route(route, "window", "1s").route(route, "validate", "off");
    }
    setup = prepare(setup);

    let known = Arc::<Known>::default();
    let callers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(Arc::clone(&known).insist(address.clone(), write))).collect();
    let mut lines = Vec::new();
    for start in 0..kills {
        let mut gateway = setup.start();
        let before = known.executed.lock().expect("no caller panics").len();
        // A kill between calls tests nothing.
        let answered = async || known.executed.lock().expect("no caller panics").len() >= before + 10;
        until("writes are answered", answered).await;
        tokio::time::sleep(ms(start * 37 % 200)).await;
        gateway.kill_now();
        lines = [lines, audit(&gateway)].concat();
    }
    known.over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no answer but 200");
    }

    let executed = known.executed.lock().expect("no caller panics").clone();
    let logged = |message: &str, field: &str| -> BTreeSet<String> {
        let lines = lines.iter().filter(|line| line["message"] == message);
        lines.filter_map(|line| line[field].as_str().map(str::to_owned)).collect()
    };
    let lost: Vec<_> = executed.difference(&logged("audit", "request_id")).cloned().collect();
    assert!(lost.is_empty(), "{} of {} outcomes are lost: {lost:?}", lost.len(), executed.len());
    let announced = logged("sending", "request_id");
    let lost: Vec<_> = executed.difference(&announced).collect();
    assert!(lost.is_empty(), "{} of {} were not announced: {lost:?}", lost.len(), executed.len());
    // Also the writes that no caller got an answer to.
    let hashes = logged("sending", "body_sha256");
    let received = upstream.received();
    let held = received.iter().filter(|request| request.body.len() < 64 * 1024);
    let lost = held.filter(|request| !hashes.contains(&sha256(&request.body))).count();
    assert_eq!(lost, 0, "of {} writes that arrived", received.len());
}

fn insert(number: usize) -> Call {
    Call::new("POST", INSERT).form(format!("inputData=%7B%22Name%22%3A%22n{number}%22%7D"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_five_kills_lose_no_line_of_a_file() {
    let read = |gateway: &Gateway| lines(&fs::read_to_string(gateway.setup().path("audit.log")).unwrap_or_default());
    kills_lose_nothing(25, insert, |setup| setup.set("audit.file", "audit.log"), read).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_no_synced_line_and_no_upload() {
    let read = |gateway: &Gateway| lines(&fs::read_to_string(gateway.setup().path("audit.log")).unwrap_or_default());
    let upload = |number: usize| Call::new("POST", UPLOAD).body(format!("{number} ").repeat(20_000));
    let prepare = |setup: Setup| setup.set("audit.file", "audit.log").set("audit.fsync", true);
    kills_lose_nothing(5, upload, prepare, read).await;
}

/// Without a file, a reader of standard error has the line before the caller has its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_no_line_of_standard_error() {
    let read = |gateway: &Gateway| lines(&gateway.process().log().join("\n"));
    kills_lose_nothing(10, insert, |setup| setup, read).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_in_progress_when_the_process_dies_is_known() {
    for (setting, value) in [("audit.required", true), ("audit.fsync", true)] {
        let upstream = Upstream::start(|_| Reply::Never).await;
        let gateway = Gateway::before_upstream(&upstream).set("audit.file", "audit.log").set(setting, value).start();
        let write = share().header("x-request-id", "the-id");
        let leaving = tokio::spawn(write.sending(gateway.address()));
        upstream.until_received(1).await;
        let setup = gateway.kill();
        leaving.abort();
        let left = lines(&fs::read_to_string(setup.path("audit.log")).expect("the audit"));
        assert_eq!(left.len(), 1, "{left:#?}");
        let facts = ["message", "request_id", "attempt", "method", "body_sha256"].map(|field| left[0][field].clone());
        let expected = [json!("sending"), json!("the-id"), json!(1), json!("PUT"), json!(sha256(SHARE.as_bytes()))];
        assert_eq!(facts, expected);
    }
}

/// Two writes with one request id, as a client sends them that repeats a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_with_one_request_id_are_distinguished() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).set("audit.file", "audit.log").start();
    for _ in 0..2 {
        gateway.send(&share().header("x-request-id", "the-id")).await.is_zohos(200);
    }
    // Without waiting: the lines are there when the answer is.
    let lines = lines(&fs::read_to_string(gateway.setup().path("audit.log")).expect("the audit"));
    let ids: Vec<_> = lines.iter().map(|line| line["audit_id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), 4, "{lines:#?}");
    assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[0] != ids[2], "{ids:?}");
}

// === a full disk ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_required_audit_that_fails_stops_writes() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let full = Gateway::before_upstream(&upstream).set("audit.file", "/dev/full").set("audit.required", true).start();
    assert_eq!(full.admin("/readyz").await.json()["checks"]["audit"], "ok");
    for call in [share(), insert(1), Call::new("POST", UPLOAD).body("0123456789".repeat(20_000))] {
        let answer = full.send(&call).await;
        let body = answer.problem(503, "audit-unavailable");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("not sent")), "{body}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    assert_eq!(upstream.received().len(), 0);
    let ready = full.admin("/readyz").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    // No slot is in use, and reads continue.
    full.send(&get(COURSE)).await.is_zohos(200);
    full.until_free("people.lms.share-course", 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_with_free_space_accepts_lines_again() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).set("audit.file", "audit.log").set("audit.required", true);
    let gateway = gateway.start();
    let file = gateway.setup().path("audit.log");
    fs::remove_file(&file).expect("removed");
    fs::create_dir(&file).expect("a folder in its place");
    gateway.send(&share()).await.problem(503, "audit-unavailable");
    assert_eq!(gateway.admin("/readyz").await.status, 503);
    fs::remove_dir(&file).expect("removed");
    gateway.send(&share()).await.is_zohos(200);
    assert_eq!(gateway.admin("/readyz").await.status, 200);
    // The line before the rejected call is lost; the line of its outcome may have been written.
    let kept = lines(&fs::read_to_string(&file).expect("the audit"));
    let messages: Vec<_> = kept.iter().rev().take(2).map(|line| line["message"].as_str().unwrap_or_default()).collect();
    assert_eq!(messages, ["audit", "sending"]);
}

// === a reader that stalls ===

/// Standard error is a pipe without a reader: once it is full, a few writes wait for a while, and later ones do not
/// wait. Reads never wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_delays_calls_only_for_a_while() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    let first = format!("mkfifo {0}; exec 2<>{0}", pipe.display());
    let env = [("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:0"), ("ZOHO_GATEWAY__ADMIN__LISTEN", "127.0.0.1:0")];
    let env = [&env[..], &[("ZOHO_GATEWAY__ROUTES__PEOPLE_LMS_SHARE_COURSE__THROTTLE", "off")]].concat();
    let process = Process::start_after(&first, &["run", "--sandbox"], &env);
    let between =
        |line: &str, before: &str, after: &str| Some(line.split(before).nth(1)?.split(after).next()?.to_owned());
    let proxy = process.said(|line| between(line, "The gateway listens on ", ","));
    let admin = process.said(|line| between(line, "metrics are on http://", ". Try"));
    let unconfirmed = async || {
        let page = get("/metrics").send(&admin).await.text();
        let count = page.lines().find_map(|line| line.strip_prefix("zoho_gateway_audit_unconfirmed_total "));
        count.expect("it is counted").parse::<u64>().expect("a number")
    };
    // A line has some hundreds of bytes, and a pipe holds 64 KiB.
    for _ in 0..40 {
        all((0..10).map(|_| share().sending(&proxy))).await;
        get(COURSE).send(&proxy).await;
        if unconfirmed().await > 0 {
            break;
        }
    }
    let before = unconfirmed().await;
    assert!(before > 0, "the pipe is full");
    for _ in 0..20 {
        share().send(&proxy).await;
    }
    assert!(unconfirmed().await >= before + 40, "no write waits any more, and each line is counted");
    drop(process);
}

#[test]
fn fsync_without_a_file_is_a_configuration_error() {
    let unreachable = "http://127.0.0.1:1";
    let setup = Setup::before_all(unreachable, unreachable, unreachable).set("audit.fsync", true);
    let ended = Process::run(&[Path::new("check"), Path::new("--config"), &setup.write()], &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("audit.fsync: is for a file: set audit.file too"), "{ended:?}");
}
