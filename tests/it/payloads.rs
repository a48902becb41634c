//! The tables in `payloads/` through the running gateway: what Zoho's pages forbid, and what they allow.

use serde::Deserialize;
use serde_json::Value;

use crate::support::{Answer, Call, Gateway, Reply, Sandbox, Setup, Upstream, exchange};

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

/// The faults that a call is rejected for.
#[track_caller]
fn faults(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 400, "{answer:?}");
    answer.json()["errors"].as_array().expect("errors").iter().map(fault).collect()
}

fn named(parameter: &str, pointer: &str) -> Vec<(String, String)> {
    vec![(parameter.to_owned(), pointer.to_owned())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_and_multipart_bodies_are_checked_too() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();

    let kra = |body: String| {
        let call = Call::new("PUT", "/people/api/v3/performance/kra").header("content-type", "application/json");
        call.body(body)
    };
    let kras = |count: usize| format!(r#"{{"kras":[{}]}}"#, vec![r#"{"zoho_id":"1"}"#; count].join(","));
    assert_eq!(faults(&gateway.send(&kra(kras(21))).await), named("kras", ""));
    assert_eq!(faults(&gateway.send(&kra(r#"{"kras":[1]}"#.to_owned())).await), named("kras", "/0"));
    assert_eq!(faults(&gateway.send(&kra("{".to_owned())).await), named("kras", ""));
    assert_eq!(faults(&gateway.send(&kra("{}".to_owned())).await), named("kras", ""));
    let body = gateway.send(&kra("{}".to_owned())).await.json();
    assert!(body["page"].as_str().is_some_and(|page| page.starts_with("https://www.zoho.com/people/api/")), "{body}");
    gateway.send(&kra(kras(20))).await.is_zohos(200);
    // What the gateway cannot read is Zoho's to judge.
    gateway.send(&kra("compressed".to_owned()).header("content-encoding", "gzip")).await.is_zohos(200);

    let upload = |size: usize| {
        let head = "--X\r\nContent-Disposition: form-data; name=\"zcl_attachFile\"; filename=\"a\"\r\n\r\n";
        let body = format!("{head}{}\r\n--X--\r\n", "x".repeat(size));
        let call = Call::new("POST", "/calendar/api/v1/attachment");
        call.header("content-type", "multipart/form-data; boundary=X").body(body)
    };
    assert_eq!(faults(&gateway.send(&upload(11 << 20)).await), named("zcl_attachFile", ""));
    gateway.send(&upload(10 << 20)).await.is_zohos(200);
    gateway.send(&upload(10)).await.is_zohos(200);

    let field = |name: &str, value: &str| {
        let body = format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--X--\r\n");
        let call = Call::new("POST", "/people/api/timetracker/addcomment?timeLogId=1");
        call.header("content-type", "multipart/form-data; boundary=X").body(body)
    };
    gateway.send(&field("comment", "done")).await.is_zohos(200);
    assert_eq!(faults(&gateway.send(&field("note", "done")).await), named("comment", ""));
    assert_eq!(upstream.received().len(), 5);
}

/// Starting a timer needs other parameters than pausing one, on the same path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_path_that_is_several_calls_takes_the_parameters_of_each() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let timer = |query: &str| Call::new("POST", &format!("/people/api/timetracker/timer?{query}"));
    gateway.send(&timer("timeLogId=1&timer=stop")).await.is_zohos(200);
    gateway.send(&timer("user=1&jobId=2&workDate=01-12-2026&billingStatus=billable&timer=start")).await.is_zohos(200);
    let missing = faults(&gateway.send(&timer("timer=start&user=1&jobId=2")).await);
    assert_eq!(missing, ["workDate", "billingStatus"].map(|name| (name.to_owned(), String::new())));
    let event = |query: &str| Call::new("PUT", &format!("/calendar/api/v1/calendars/1/events/2?{query}"));
    gateway.send(&event("destinationcaluid=3")).await.is_zohos(200);
    gateway.send(&event("eventdata={%22title%22:%22x%22}")).await.is_zohos(200);
    assert_eq!(faults(&gateway.send(&event("")).await), named("eventdata", ""));
}
