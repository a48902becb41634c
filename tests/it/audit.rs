//! The audit: one line for each call that may have changed something at Zoho, without the call's content.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_lc_rs::digest;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::support::{
    CALENDAR, COURSE, Call, Gateway, Process, Reply, SHARE, Setup, Upstream, delete, exchange, get, ms, put, shell,
    until,
};

const ROUTE: &str = "people.lms.share-course";
const INSERT: &str = "/people/people/api/forms/json/Assets/insertRecord";
const WHO: &str = "confidential@example.com";

/// A write with a valid payload.
fn share() -> Call {
    put(COURSE).form(SHARE)
}

fn sha256(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All lines of the audit so far.
fn lines(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.process().log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    lines.filter(|line| line["target"] == "zoho_gateway::middleware::audit").collect()
}

/// The lines with an outcome.
fn entries(gateway: &Gateway) -> Vec<Value> {
    lines(gateway).into_iter().filter(|line| line["message"] == "audit").collect()
}

/// The lines written before an attempt is sent.
fn sendings(gateway: &Gateway) -> Vec<Value> {
    lines(gateway).into_iter().filter(|line| line["message"] == "sending").collect()
}

/// The only outcome, after time for a second one.
async fn only(gateway: &Gateway) -> Value {
    until("there is a line of the audit", async || !entries(gateway).is_empty()).await;
    // The log line is written after the audit's lines.
    settle(gateway).await;
    let mut entries = entries(gateway);
    assert_eq!(entries.len(), 1, "{entries:#?}");
    entries.remove(0)
}

/// Resolves when everything logged so far can be read.
async fn settle(gateway: &Gateway) {
    let id = format!("settle-{}", entries(gateway).len());
    gateway.send(&get("/people/api/forms?x=1").header("x-request-id", &id)).await;
    gateway.process().logs(&id);
}

/// A gateway in front of a Zoho that always answers so.
async fn answering(status: u16, body: &'static str) -> (Upstream, Gateway) {
    let upstream = Upstream::start(move |_| Reply::json(status, body)).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    (upstream, gateway)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_makes_one_line_with_caller_call_and_time() {
    let (_upstream, gateway) = answering(200, r#"{"response":{"result":[],"status":0}}"#).await;
    let query = "inputData=%7B%22Name%22%3A%22confidential%22%7D";
    let form = "isDraft=true";
    let call = Call::new("POST", &format!("{INSERT}?{query}")).form(form).header("x-request-id", "the-id");
    gateway.send(&call).await.is_zohos(200);
    let line = only(&gateway).await;
    for (field, expected) in [
        ("level", json!("INFO")),
        ("message", json!("audit")),
        ("request_id", json!("the-id")),
        ("caller", json!("anonymous")),
        ("account", json!("main")),
        ("route", json!("people.forms.insert-record")),
        ("method", json!("POST")),
        ("path", json!("/people/api/forms/json/Assets/insertRecord")),
        ("query_sha256", json!(sha256(query))),
        ("body_sha256", json!(sha256(form))),
        ("verdict", json!("executed")),
        ("status", json!(200)),
        ("attempts", json!(1)),
    ] {
        assert_eq!(line[field], expected, "{field}: {line:#}");
    }
    assert!(line["took_ms"].as_f64().is_some_and(|took| took > 0.0), "{line:#}");
    assert!(!gateway.process().printed().contains("confidential"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_query_and_body_has_no_hashes() {
    let (_upstream, gateway) = answering(204, "").await;
    gateway.send(&delete("/calendar/api/v1/calendars/a/events/b?")).await;
    let line = only(&gateway).await;
    assert!(line.get("query_sha256").is_none() && line.get("body_sha256").is_none(), "{line:#}");
    assert_eq!((&line["verdict"], &line["status"]), (&json!("executed"), &json!(204)), "{line:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_body_is_hashed() {
    let (upstream, gateway) = answering(200, "{}").await;
    let body = "0123456789".repeat(20_000);
    let target = "/people/api/v3/files/upload";
    for call in [Call::new("POST", target).body(body.clone()), Call::new("POST", target).body(body.clone()).chunked()] {
        gateway.send(&call).await.is_zohos(200);
    }
    // A trailer field removes nothing from the audit.
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("{:x}\r\n{body}\r\n0\r\nX-Sum: 1\r\n\r\n", body.len());
    assert!(exchange(gateway.address(), head + &chunk).await.starts_with("HTTP/1.1 200 "));
    settle(&gateway).await;
    assert!(upstream.received().iter().take(3).all(|received| received.body == body.as_bytes()));
    let hashes: Vec<_> = entries(&gateway).iter().map(|line| line["body_sha256"].clone()).collect();
    assert_eq!(hashes, vec![json!(sha256(&body)); 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_unsent_calls_make_no_line() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let setup = Gateway::before_upstream(&upstream).route(ROUTE, "requests", 1);
    let gateway = setup.set("callers.one.key_sha256", sha256("one")).set("callers.one.accounts", json!(["main"]));
    let gateway = gateway.set("callers.one.allow", json!(["people.*"])).start();
    let by_one = |call: Call| call.header("authorization", "Bearer one");
    let records = "/people/people/api/forms/Assets/getRecords";
    for read in [get(COURSE), Call::new("HEAD", COURSE), get(records)] {
        gateway.send(&by_one(read)).await.is_zohos(200);
    }
    let write = || by_one(share()).header("prefer", "wait=0");
    gateway.send(&write()).await.is_zohos(200);
    gateway.send(&write()).await.problem(429, "threshold-saturated");
    gateway.send(&by_one(put(COURSE))).await.problem(400, "invalid-payload");
    gateway.send(&by_one(put(CALENDAR))).await.problem(403, "caller-forbidden");
    gateway.send(&write().header("gateway-dry-run", "?1")).await;
    let line = only(&gateway).await;
    assert_eq!((&line["caller"], &line["route"]), (&json!("one"), &json!(ROUTE)));
}

/// Nothing listens at Zoho's address: the gateway finds that out after it has written the line before the first byte.
/// Without a token there is no attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_reached_no_server_was_not_sent() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).set("accounts.main.endpoints.people", "http://127.0.0.1:1");
    let gateway = gateway.start();
    gateway.send(&share()).await.problem(502, "upstream-unreachable");
    let without = Setup::before_all("http://127.0.0.1:1", &upstream.url(), &upstream.url());
    let without = without.set("queue.max_wait", "1s").start();
    without.send(&share()).await.problem(502, "upstream-unreachable");
    settle(&without).await;
    assert_eq!(lines(&without), Vec::<Value>::new());
    let line = only(&gateway).await;
    assert_eq!((&line["verdict"], &line["attempts"]), (&json!("not_sent"), &json!(0)), "{line:#}");
    assert!(line.get("status").is_none(), "{line:#}");
    assert_eq!(sendings(&gateway).len(), 1);
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_an_error_is_a_failure_whatever_its_status() {
    for (status, body, verdict) in [
        (200, r#"{"response":{"message":"Error","errors":{"code":7024,"message":"x"},"status":1}}"#, "failed"),
        (200, r#"{"code":"200","message":"success"}"#, "executed"),
        (200, "<response/>", "executed"),
        (404, "{}", "failed"),
        (500, "", "failed"),
    ] {
        let (_upstream, gateway) = answering(status, body).await;
        gateway.send(&share()).await;
        let line = only(&gateway).await;
        assert_eq!((&line["verdict"], &line["status"]), (&json!(verdict), &json!(status)), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_answer_the_outcome_is_unknown() {
    for reply in [Reply::Never, Reply::Close, Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec())] {
        let cut = matches!(reply, Reply::Last(_));
        let upstream = Upstream::start(move |request| match request.line.starts_with("PUT") {
            true => reply.clone(),
            false => Reply::json(200, "{}"),
        });
        let gateway = Gateway::before_upstream(&upstream.await).set("upstream.timeout", "300ms").start();
        assert!([502, 504].contains(&gateway.send(&share()).await.status));
        let line = only(&gateway).await;
        assert_eq!(line["verdict"], "unknown", "{line:#}");
        // The head arrived, and the line has its status.
        assert_eq!(line.get("status"), cut.then_some(&json!(200)), "{line:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_still_makes_a_line() {
    let upstream = Upstream::start(|request| match request.line.starts_with("PUT") {
        true => Reply::Never,
        false => Reply::json(200, "{}"),
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let leaving = tokio::spawn(share().sending(gateway.address()));
    upstream.until_received(1).await;
    assert_eq!(entries(&gateway).len(), 0);
    leaving.abort();
    let line = only(&gateway).await;
    assert_eq!((&line["verdict"], &line["method"]), (&json!("unknown"), &json!("PUT")), "{line:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_attempts_make_one_line() {
    let calls = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(move |request| match request.line.starts_with("PUT") {
        true if calls.fetch_add(1, Ordering::SeqCst) == 0 => Reply::json(429, r#"{"code":7209}"#),
        _ => Reply::json(200, "{}"),
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).route(ROUTE, "lock", "50ms").start();
    gateway.send(&share()).await.is_zohos(200);
    let line = only(&gateway).await;
    let outcome = (&line["attempts"], &line["verdict"], &line["status"]);
    assert_eq!(outcome, (&json!(2), &json!("executed"), &json!(200)), "{line:#}");
    let sendings = sendings(&gateway);
    assert_eq!(sendings.iter().map(|line| &line["attempt"]).collect::<Vec<_>>(), [1, 2]);
    for sending in sendings {
        for field in ["audit_id", "request_id", "caller", "account", "route", "method", "path", "body_sha256"] {
            assert!(sending.get(field).is_some() && sending[field] == line[field], "{field}: {sending:#} {line:#}");
        }
    }
}

/// Zoho answered, but the gateway rejected the call before a second attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_hit_a_lock_and_does_not_wait_has_failed() {
    let upstream = Upstream::start(|request| match request.line.starts_with("PUT") {
        true => Reply::json(429, r#"{"code":7209}"#),
        false => Reply::json(200, "{}"),
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).start();
    gateway.send(&share().header("prefer", "wait=1")).await.problem(429, "threshold-locked");
    let line = only(&gateway).await;
    assert_eq!((&line["verdict"], &line["status"]), (&json!("failed"), &json!(429)), "{line:#}");
}

/// The caller hangs up while the gateway still connects: no byte of the call was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_caller_left_before_the_connection_is_not_sent() {
    let accounts = Upstream::start(|_| Reply::json(200, "{}")).await;
    // It accepts, but never answers the handshake.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let people = format!("https://{}", listener.local_addr().expect("it is bound"));
    let setup = Gateway::before_upstream(&accounts).set("accounts.main.endpoints.people", people);
    let gateway = setup.set("upstream.connect_timeout", "25s").start();
    let write = tokio::spawn(share().sending(gateway.address()));
    let (mut stream, _) = listener.accept().await.expect("the gateway connects");
    write.abort();
    let mut greeting = Vec::new();
    let end = stream.read_to_end(&mut greeting);
    assert!(tokio::time::timeout(ms(20_000), end).await.is_ok(), "the connection goes with the call");
    gateway.send(&get("/nowhere").header("x-request-id", "settle")).await.problem(404, "unknown-route");
    gateway.process().logs("settle");
    let entries = entries(&gateway);
    let verdicts: Vec<_> = entries.iter().map(|line| (&line["verdict"], &line["attempts"])).collect();
    assert_eq!(verdicts, [(&json!("not_sent"), &json!(0))], "{entries:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_level_hides_the_audit_or_shows_private_data() {
    let share = format!(
        "{CALENDAR}?shareData=%7B%22mailid%22%3A%22{WHO}%22%2C%22privilege%22%3A%22view%22%2C%22type%22%3A%22user%22%7D"
    );
    for (level, shown) in [("error", true), ("trace", true), ("warn,zoho_gateway::middleware::audit=off", false)] {
        let upstream = Upstream::start(|_| Reply::json(200, r#"{"share":[]}"#)).await;
        let gateway = Gateway::before_upstream(&upstream).env("RUST_LOG", &format!("{level},zoho_gateway::app=info"));
        let mut gateway = gateway.start();
        gateway.send(&put(&share)).await.is_zohos(200);
        // A body, an answer, and a target that cannot be sent.
        let form = format!("inputData={{\"mail\":\"{WHO}\"}}");
        gateway.send(&Call::new("POST", INSERT).form(form)).await.is_zohos(200);
        gateway.send(&get(&format!("/nowhere?{WHO}"))).await.problem(404, "unknown-route");
        gateway.terminate();
        gateway.wait();
        let printed = gateway.process().printed();
        assert!(!printed.contains("confidential") && !printed.contains("shareData"), "{level}: {printed}");
        assert_eq!(entries(&gateway).len(), if shown { 2 } else { 0 }, "{level}: {printed}");
        assert!(upstream.received()[0].line.contains(WHO), "the call itself is as it was");
    }
}

/// The lines of a file, as soon as it has `count`.
async fn lines_of(path: &Path, count: usize) -> Vec<Value> {
    let text = || fs::read_to_string(path).unwrap_or_default();
    until(format!("{} has {count} lines", path.display()), async || text().lines().count() >= count).await;
    text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_file_may_be_rotated() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).set("audit.file", "audit.log").start();
    let (file, rotated) = (gateway.setup().path("audit.log"), gateway.setup().path("audit.log.1"));
    gateway.send(&share()).await.is_zohos(200);
    let first = lines_of(&file, 2).await;
    let facts = |line: &Value| (line["message"].clone(), line["route"].clone());
    assert_eq!(
        first.iter().map(facts).collect::<Vec<_>>(),
        ["sending", "audit"].map(|word| (json!(word), json!(ROUTE)))
    );
    fs::rename(&file, &rotated).expect("renamed");
    for _ in 0..2 {
        gateway.send(&share()).await.is_zohos(200);
    }
    assert_eq!((lines_of(&file, 4).await.len(), lines_of(&rotated, 2).await.len()), (4, 2));
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    settle(&gateway).await;
    assert_eq!(lines(&gateway), Vec::<Value>::new(), "not on standard error too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_delays_no_call_and_is_logged_once() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).set("audit.file", "/dev/full").start();
    for _ in 0..3 {
        gateway.send(&share()).await.is_zohos(200);
    }
    // A line before each call and one after it.
    for metric in ["zoho_gateway_log_lines_dropped_total 6", "zoho_gateway_audit_unconfirmed_total 6"] {
        until(metric, async || gateway.has_metric(metric).await).await;
    }
    settle(&gateway).await;
    let warnings = gateway.process().log().into_iter().filter(|line| line.contains("the audit cannot be written"));
    assert_eq!(warnings.count(), 1);
    let ready = gateway.admin("/readyz").await;
    assert_eq!(ready.status, 200, "it is shown, and callers are served");
    assert!(ready.json()["checks"]["audit"].as_str().is_some_and(|words| words.contains("No space")), "{ready:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_standard_error_does_not_accept_are_counted() {
    let env = [("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:0"), ("ZOHO_GATEWAY__ADMIN__LISTEN", "127.0.0.1:0")];
    let process = Process::start_after("exec 2>/dev/full", &["run", "--sandbox"], &env);
    let admin =
        process.said(|line| line.split("metrics are on http://").nth(1)?.split(". Try").next().map(str::to_owned));
    let lost = |page: String| {
        let count = page.lines().find_map(|line| line.strip_prefix("zoho_gateway_log_lines_dropped_total "));
        count.expect("it is counted").parse::<u64>().expect("a number")
    };
    until("lines count as lost", async || lost(get("/metrics").send(&admin).await.text()) > 0).await;
}

#[test]
fn a_file_that_cannot_be_opened_is_reported_at_the_start() {
    let unreachable = "http://127.0.0.1:1";
    let setup = Setup::before_all(unreachable, unreachable, unreachable);
    let pipe = setup.path("pipe");
    shell(&format!("mkfifo {}", pipe.display()));
    for (path, code, words) in [
        ("/nowhere/audit.log", 2, "expected a path in a folder that is there"),
        ("/", 2, "found that of a folder"),
        // Opening it would wait for a reader.
        (pipe.to_str().expect("UTF-8"), 1, "pipe: it is not a regular file"),
    ] {
        let config = setup.clone().set("audit.file", path).write();
        let ended = Process::run(&[Path::new("run"), Path::new("--config"), &config], &[]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}
