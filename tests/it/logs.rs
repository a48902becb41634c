//! The log: one line for each request, what it says, and the settings.

use std::fs;

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{
    Authority, COURSE, Call, Gateway, HASH_OF_ONE, Process, Reply, SHARE, Sandbox, Setup, Upstream, get, ms, put, until,
};

fn with_a_caller(setup: Setup) -> Setup {
    setup
        .set("callers.one.key_sha256", HASH_OF_ONE)
        .set("callers.one.accounts", json!(["main"]))
        .set("callers.one.allow", json!(["people.lms.*"]))
}

/// The lines of the requests.
fn request_lines(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.process().log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    lines.filter(|line| line["target"].as_str().is_some_and(|target| target.contains("middleware::edge"))).collect()
}

/// The only line of a request, as soon as it is there.
async fn line_of(gateway: &Gateway, id: &str) -> Value {
    let lines = || request_lines(gateway).into_iter().filter(|line| line["request_id"] == id).collect::<Vec<_>>();
    until(format!("the line of {id}"), async || !lines().is_empty()).await;
    let mut lines = lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_one_line_that_says_who_what_and_why() {
    let upstream = Upstream::start(|received| match received.line.contains("startIndex=7") {
        true => Reply::Never,
        false => Reply::json(200, "{}"),
    })
    .await;
    let setup = with_a_caller(Gateway::before_upstream(&upstream)).set("upstream.timeout", "300ms");
    let gateway = setup.set("callers.one.limit.requests", 5).start();
    let send = async |id: &str, call: Call| {
        gateway.send(&call.header("x-request-id", id).header("authorization", "Bearer one")).await;
        line_of(&gateway, id).await
    };

    let line = send("answered", get(COURSE)).await;
    for (field, value) in [
        ("message", json!("answered")),
        ("level", json!("INFO")),
        ("caller", json!("one")),
        ("method", json!("GET")),
        ("account", json!("main")),
        ("route", json!("people.lms.get-shared-users")),
        ("status", json!(200)),
        ("attempts", json!(1)),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert!(line["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{line}");
    assert!(line["waited_ms"].as_f64() <= line["took_ms"].as_f64() && line["waited_ms"].is_f64(), "{line}");
    assert_eq!((&line["problem"], &line["detail"]), (&Value::Null, &Value::Null), "{line}");

    let line = send("refused", put(COURSE).form("erecnosList=%5B%22not-a-number%22%5D")).await;
    let refused = (&line["message"], &line["problem"], &line["status"], &line["attempts"]);
    assert_eq!(refused, (&json!("refused"), &json!("invalid-payload"), &json!(400), &json!(0)), "{line}");
    assert_eq!((&line["caller"], &line["route"]), (&json!("one"), &json!("people.lms.share-course")), "{line}");
    assert!(line["detail"].as_str().is_some_and(|detail| detail.starts_with("1 fault found")), "{line}");
    assert!(!line.to_string().contains("not-a-number"), "never a payload: {line}");

    let line = send("failed", get(&format!("{COURSE}?startIndex=7"))).await;
    let failed = (&line["message"], &line["level"], &line["problem"], &line["status"], &line["attempts"]);
    let expected = (&json!("failed"), &json!("WARN"), &json!("upstream-timeout"), &json!(504), &json!(1));
    assert_eq!(failed, expected, "{line}");
    assert!(line["detail"].is_string() && line["waited_ms"].is_f64(), "{line}");

    let line = send("forbidden", get("/people/api/v1/nowhere")).await;
    assert_eq!((&line["caller"], &line["problem"]), (&json!("one"), &json!("caller-forbidden")), "{line}");

    send("last", get(COURSE)).await;
    let line = send("limited", get(COURSE)).await;
    assert_eq!((&line["caller"], &line["problem"]), (&json!("one"), &json!("caller-limit")), "{line}");

    for (id, key, words) in [("unknown", "two", "key"), ("nothing", "", "Authorization")] {
        let call = get(COURSE).header("x-request-id", id);
        gateway.send(&if key.is_empty() { call } else { call.header("authorization", &format!("Bearer {key}")) }).await;
        let line = line_of(&gateway, id).await;
        assert_eq!((&line["problem"], &line["caller"]), (&json!("caller-unauthenticated"), &Value::Null), "{line}");
        assert!(line["client"].is_string() && line["detail"].to_string().contains(words), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_has_its_line_too() {
    let upstream = Upstream::start(|_| Reply::Never).await;
    let gateway = Gateway::before_upstream(&upstream).route("people.lms.get-shared-users", "requests", 1).start();
    let mut first = TcpStream::connect(gateway.address()).await.expect("it listens");
    let head = |id: &str| format!("GET {COURSE} HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: {id}\r\n\r\n");
    first.write_all(head("sent").as_bytes()).await.expect("it reads");
    upstream.until_received(1).await;
    let mut second = TcpStream::connect(gateway.address()).await.expect("it listens");
    second.write_all(head("waiting").as_bytes()).await.expect("it reads");
    gateway.until_waiting(1).await;
    for (id, connection, attempts) in [("waiting", second, 0), ("sent", first, 1)] {
        drop(connection);
        let line = line_of(&gateway, id).await;
        let facts = (&line["message"], &line["caller"], &line["route"], &line["attempts"], &line["status"]);
        let route = json!("people.lms.get-shared-users");
        assert_eq!(facts, (&json!("abandoned"), &json!("anonymous"), &route, &json!(attempts), &Value::Null), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_cannot_fill_the_log() {
    let zoho = Sandbox::boundless();
    let gateway = with_a_caller(Gateway::before(&zoho)).start();
    let mut scanner = gateway.connect().await;
    for _ in 0..400 {
        scanner.send(&get(COURSE).header("authorization", "Bearer guess")).await.problem(401, "caller-unauthenticated");
    }
    tokio::time::sleep(ms(200)).await;
    let known = get(COURSE).header("authorization", "Bearer one").header("x-request-id", "known");
    gateway.send(&known).await.is_zohos(200);
    line_of(&gateway, "known").await;
    gateway.send(&get(COURSE).header("x-request-id", "next")).await.problem(401, "caller-unauthenticated");
    let next = line_of(&gateway, "next").await;
    let lines = request_lines(&gateway).len();
    assert!((100..350).contains(&lines), "{lines} lines");
    assert!(next["left_out"].is_number(), "the next line counts the rest: {next}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_tls_handshake_is_logged_with_address_and_reason() {
    let zoho = Sandbox::boundless();
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let setup = Gateway::before(&zoho).set("proxy.tls.cert", "tls.crt").set("proxy.tls.key", "tls.key");
    fs::write(setup.path("tls.crt"), issued.pem()).expect("the folder can be written to");
    fs::write(setup.path("tls.key"), issued.key_pem()).expect("the folder can be written to");
    let gateway = setup.start();
    assert!(Authority::new().client().attempt(gateway.address(), &get(COURSE)).await.is_none());
    gateway.process().logged(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let client = line["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1:"));
        let reason = line["error"].as_str().is_some_and(|error| error.starts_with("received fatal alert"));
        (line["message"] == "a TLS handshake failed" && client && reason && line["left_out"].is_null()).then_some(())
    });
    // A load balancer's probe.
    drop(TcpStream::connect(gateway.address()).await.expect("it listens"));
    authority.client().attempt(gateway.address(), &get(COURSE)).await.expect("an answer").is_zohos(200);
    let failures = gateway.process().log().iter().filter(|line| line.contains("handshake")).count();
    assert_eq!(failures, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn format_and_level_are_settings() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho);
    let gateway = setup.clone().start();
    let line = gateway.process().logged(|line| line.contains("zoho-gateway starts").then(|| line.to_owned()));
    let line: Value = serde_json::from_str(&line).expect("JSON, without a terminal");
    let facts = (&line["version"], &line["accounts"], &line["config"]);
    let config = setup.path("gateway.toml").display().to_string();
    assert_eq!(facts, (&json!(env!("CARGO_PKG_VERSION")), &json!("main"), &json!(config)), "{line}");

    // `start` reads JSON lines at the level INFO, so these run until their configuration is refused or they are killed.
    let starts = |setup: &Setup| {
        let config = setup.write();
        let env: Vec<_> = setup.environment().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Process::start(&["run", "--config", config.to_str().expect("UTF-8")], &env)
    };
    let text = starts(&setup.clone().set("log.format", "text"));
    let line = text.logged(|line| line.contains("zoho-gateway starts").then(|| line.to_owned()));
    assert!(!line.starts_with('{') && line.contains("INFO") && line.contains("accounts=\"main\""), "{line}");
    drop(text);
    let level = "ZOHO_GATEWAY__LOG__LEVEL";
    for (setup, shown) in [
        (setup.clone().set("log.level", "debug").env(level, "off").env("RUST_LOG", "info"), true),
        (setup.clone().set("log.level", "off").env(level, "warn,zoho_gateway::cli=info"), true),
        (setup.clone().set("log.level", "debug").env(level, "warn"), false),
    ] {
        // Its state is in use, so it ends.
        let mut process = starts(&setup);
        assert_eq!(process.wait(), Some(1));
        assert_eq!(process.printed().contains("zoho-gateway starts"), shown, "{}", process.printed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_level_can_be_changed_while_it_runs_and_the_audit_stays() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let level = async |call: Call| call.send(gateway.admin_address()).await;
    let set = |level: &str| put("/log-level").body(level.to_owned());
    assert_eq!(level(get("/log-level")).await.text(), "info\n");
    let answer = level(set("error\n")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "error\n"));
    gateway.process().logs("the log level changes");
    let share = |id: &str| put(COURSE).form(SHARE).header("x-request-id", id);
    gateway.send(&share("quiet")).await.is_zohos(200);
    for (wrong, words) in
        [("loud", "expected trace, debug, info"), ("info,zoho_gateway::middleware::audit=off", "audit")]
    {
        let answer = level(set(wrong)).await;
        assert!(answer.status == 400 && answer.text().contains(words), "{answer:?}");
    }
    assert_eq!(level(get("/log-level")).await.text(), "error\n", "a wrong level changes nothing");
    let refused = level(Call::new("POST", "/log-level")).await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, PUT")));
    assert_eq!(level(set("warn,zoho_gateway=debug")).await.text(), "warn,zoho_gateway=debug\n");
    gateway.send(&share("loud")).await.is_zohos(200);
    line_of(&gateway, "loud").await;
    let log = gateway.process().log();
    let of = |id: &str| log.iter().filter(|line| line.contains(&format!("\"request_id\":\"{id}\""))).count();
    assert_eq!((of("quiet"), of("loud")), (2, 3), "two lines of the audit: {log:#?}");
}
