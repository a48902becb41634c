//! The tables in `payloads/` through the running gateway: what Zoho's pages forbid, and what they allow.

use serde::Deserialize;
use serde_json::Value;

use crate::support::{Call, Gateway, Reply, Sandbox, Setup, Upstream, exchange};

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    route: String,
    query: Option<String>,
    form: Option<String>,
    form_hex: Option<String>,
    #[serde(default)]
    errors: Vec<(String, String)>,
}

impl Case {
    fn call(&self) -> Call {
        let (method, path) = match self.route.as_str() {
            "people.lms.share-course" => ("PUT", "/people/api/v1/courses/1/share"),
            "people.lms.get-shared-users" => ("GET", "/people/api/v1/courses/1/share"),
            "people.lms.remove-shared-user" => ("DELETE", "/people/api/v1/courses/1/share"),
            "calendar.calendars.share-calendar" => ("PUT", "/calendar/api/v1/calendars/1/share"),
            other => panic!("no such route: {other}"),
        };
        let call = Call::new(method, &format!("{path}{}", self.sent_query()));
        let hex = self
            .form_hex
            .as_ref()
            .map(|hex| hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect());
        match self.form.as_ref().map(|form| form.clone().into_bytes()).or(hex) {
            Some(form) => call.form(form),
            None => call,
        }
    }

    /// The query with its question mark. Bytes that a request line cannot carry are percent-encoded, which does not
    /// change the query's meaning.
    fn sent_query(&self) -> String {
        let Some(query) = &self.query else { return String::new() };
        let carried = |byte: &u8| byte.is_ascii_graphic() && !b"\"<>#".contains(byte);
        let encoded = |byte: u8| if carried(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        format!("?{}", query.bytes().map(encoded).collect::<String>())
    }
}

fn table(text: &str) -> Vec<Case> {
    toml::from_str::<Table>(text).expect("a table of cases").case
}

/// No limit is in the way: every case is a call.
fn boundless(mut setup: Setup) -> Setup {
    for route in ["share-course", "get-shared-users", "remove-shared-user"].map(|name| format!("people.lms.{name}")) {
        setup = setup.route(&route, "requests", 100_000).route(&route, "window", "1s");
    }
    let route = "calendar.calendars.share-calendar";
    setup.route(route, "requests", 100_000).route(route, "window", "1s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_that_the_pages_forbid_are_never_sent() {
    let zoho = Sandbox::boundless();
    let gateway = boundless(Gateway::before(&zoho)).start();
    let cases = table(include_str!("payloads/bad.toml"));
    assert!(cases.len() > 100, "the table is there");
    let mut wrong = Vec::new();
    for case in &cases {
        let answer = gateway.send(&case.call()).await;
        if answer.status != 400 {
            wrong.push(format!("{}: {answer:?}", case.name));
            continue;
        }
        let body = answer.problem_of(400, "invalid-payload", &case.route);
        let listed: Vec<(String, String)> = body["errors"].as_array().expect("errors").iter().map(fault).collect();
        if listed != case.errors {
            wrong.push(format!("{}: {listed:?} instead of {:?}", case.name, case.errors));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(zoho.requests().await, []);
    assert_eq!(zoho.token_calls().await, 0);
}

fn fault(fault: &serde_json::Value) -> (String, String) {
    assert!(fault["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{fault}");
    let text = |key: &str| fault[key].as_str().expect("a text").to_owned();
    (text("parameter"), text("pointer"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_that_the_pages_allow_are_forwarded_unchanged() {
    let zoho = Sandbox::boundless();
    let gateway = boundless(Gateway::before(&zoho)).start();
    let cases = table(include_str!("payloads/good.toml"));
    for case in &cases {
        let answer = gateway.send(&case.call()).await;
        // Zoho may still reject it; that is its own decision.
        assert_eq!(answer.header("proxy-status"), None, "{}: {answer:?}", case.name);
    }
    let seen = zoho.requests().await;
    assert_eq!(seen.len(), cases.len());
    for (case, seen) in cases.iter().zip(seen) {
        let query = seen.target.find('?').map_or("", |at| &seen.target[at..]);
        assert_eq!(query, case.sent_query(), "{}", case.name);
        assert_eq!(seen.body, case.form.as_deref().unwrap_or_default(), "{}", case.name);
    }
}

/// Zoho decides about what is only reported; the log, the metric and a dry run name it, and a route may be different.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_reported_passes() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let setup = boundless(Gateway::before_upstream(&upstream)).set("routing.validate", "report");
    let gateway = setup.route("people.lms.remove-shared-user", "validate", "documented").start();
    let mut passed = 0;
    for case in &table(include_str!("payloads/bad.toml")) {
        let is_reported = case.route != "people.lms.remove-shared-user";
        let dry = gateway.send(&case.call().header("gateway-dry-run", "?1")).await;
        let body = dry.problem_of(400, "invalid-payload", &case.route);
        let listed: Vec<(String, String)> = body["errors"].as_array().expect("errors").iter().map(fault).collect();
        assert_eq!(listed, case.errors, "{}", case.name);
        let answer = gateway.send(&case.call()).await;
        assert_eq!(answer.status, if is_reported { 200 } else { 400 }, "{}: {answer:?}", case.name);
        passed += usize::from(is_reported);
    }
    assert_eq!(upstream.received().len(), passed);
    let page = gateway.admin("/metrics").await.text();
    let reported: f64 = page.lines().filter(|line| line.starts_with("zoho_gateway_reported_total{")).map(value).sum();
    assert_eq!(reported, passed as f64, "{page}");
    let share = Call::new("PUT", "/people/api/v1/courses/1/share").form("erecnosList=[x]");
    gateway.send(&share.header("x-request-id", "looked-for")).await.is_zohos(200);
    gateway.process().logged(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["request_id"] == "looked-for" && line["would_refuse"] == "erecnosList").then_some(())
    });
}

fn value(line: &str) -> f64 {
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

/// A client that does not encode its URL sends the page's sample as it is: with braces and quotes, without spaces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raw_quote_in_a_query_equals_the_encoded_one() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let target = r#"/calendar/api/v1/calendars/1/share?shareData={"type":"user","mailid":"user@domain.com"}"#;
    let request = format!("PUT {target} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let answer = exchange(gateway.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let expected = target.replace('"', "%22").replace("/calendar/", "/");
    assert_eq!(zoho.requests().await.iter().map(|request| request.target.clone()).collect::<Vec<_>>(), [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_route_rejects_unknown_parameters() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho)
        .route("people.lms.share-course", "validate", "strict")
        .route("people.lms.get-shared-users", "validate", "strict")
        .start();
    let path = "/people/api/v1/courses/1/share";
    let put = |query: &str, form: &'static str| Call::new("PUT", &format!("{path}{query}")).form(form);
    let answer = gateway.send(&put("?debug=1", "erecnosList=[1]&note=x")).await;
    let body = answer.problem_of(400, "invalid-payload", "people.lms.share-course");
    let listed: Vec<(String, String)> = body["errors"].as_array().expect("errors").iter().map(fault).collect();
    assert_eq!(listed, ["debug", "note"].map(|name| (name.to_owned(), String::new())));
    // Also where the page has no form parameter: then a form may have none.
    let get = |query: &str| Call::new("GET", &format!("{path}{query}"));
    gateway.send(&get("").form("startIndex=1")).await.problem(400, "invalid-payload");
    assert_eq!(zoho.requests().await, []);

    gateway.send(&put("", "erecnosList=[1]")).await.is_zohos(200);
    gateway.send(&get("?startIndex=1")).await.is_zohos(200);
    // Another route of the same path stays as lenient as before.
    let remove = Call::new("DELETE", &format!("{path}?sharedUserErecno=1&debug=1"));
    assert_eq!(gateway.send(&remove).await.header("proxy-status"), None);
}
