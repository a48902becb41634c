//! The commands: their output and their exit codes.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    CLIENT_SECRET, COURSE, Ended, Gateway, Process, REFRESH_TOKEN, Sandbox, Setup, free_port, get, until,
};

impl Ended {
    /// Checks what every failed run promises, and returns what the operator reads.
    #[track_caller]
    fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        for unwanted in ["panicked", "backtrace", CLIENT_SECRET, REFRESH_TOKEN] {
            assert!(!format!("{}{}", self.stdout, self.stderr).contains(unwanted), "{self:?}");
        }
        assert!(!self.stderr.is_empty(), "{self:?}");
        self.stderr
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        for unwanted in ["panicked", CLIENT_SECRET, REFRESH_TOKEN, "WARN", "ERROR"] {
            assert!(!format!("{}{}", self.stdout, self.stderr).contains(unwanted), "{self:?}");
        }
        self.stdout
    }
}

/// A configuration without servers.
fn offline() -> Setup {
    let unreachable = "http://127.0.0.1:1";
    Setup::before_all(unreachable, unreachable, unreachable)
}

fn command(arguments: &[&str], setup: &Setup) -> Ended {
    let config = setup.write();
    let config = config.to_str().expect("UTF-8");
    Process::run(&[arguments, &["--config", config]].concat(), &[])
}

#[test]
fn check_prints_what_would_run() {
    let setup = offline();
    let printed = command(&["check"], &setup).succeeded();
    for expected in
        ["the configuration is valid", "proxy    127.0.0.1:0", "admin    127.0.0.1:0", "account  main at us"]
    {
        assert!(printed.contains(expected), "{printed}");
    }
}

#[test]
fn every_mistake_in_a_configuration_is_reported() {
    let setup = offline()
        .without("accounts.main.refresh_token")
        .set("proxy.max_body", "a lot")
        .set("proxy.drian", "30s")
        .set("queue.max_waiting", -1)
        .set("upstream.timeout", "60")
        .route("people.lms.share-curse", "requests", 30);
    let path = setup.write();
    for arguments in [["check"], ["run"]] {
        let message = command(&arguments, &setup).failed(2);
        for key in
            ["proxy.max_body", "proxy.drian", "queue.max_waiting", "upstream.timeout", "accounts.main.refresh_token"]
        {
            let position = format!("{}:", path.display());
            let line = message.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{key}: {message}"));
            assert!(line.contains(&position), "{line}");
        }
        assert!(message.contains("share-curse") && message.contains("people.lms.share-course"), "{message}");
        assert!(message.contains("6 problems"), "{message}");
    }
}

#[test]
fn two_accounts_with_one_login_do_not_start() {
    let setup = offline()
        .set("accounts.second.client_id", "1000.SANDBOX")
        .set("accounts.second.client_secret", CLIENT_SECRET)
        .set("accounts.second.refresh_token.file", "./refresh-token");
    std::fs::write(setup.path("refresh-token"), format!("{REFRESH_TOKEN}\n")).expect("written");
    for arguments in [["run"], ["check"]] {
        let message = command(&arguments, &setup).failed(2);
        assert!(message.contains("accounts.main") && message.contains("accounts.second.refresh_token"), "{message}");
        assert!(!message.contains(REFRESH_TOKEN), "{message}");
    }
    std::fs::write(setup.path("refresh-token"), "1000.sandbox.second-login").expect("written");
    command(&["check"], &setup).succeeded();
}

#[test]
fn a_mistake_is_reported_with_line_and_column() {
    let setup = offline();
    let path = setup.path("broken.toml");
    std::fs::write(&path, "[proxy]\nlisten = \"0.0.0.0:80\"\n[queue]\n  max_wait = \"soon\"\n").expect("written");
    let path = path.to_str().expect("UTF-8");
    let message = Process::run(&["check", "--config", path], &[]).failed(2);
    assert!(message.contains(&format!("{path}:2:10: proxy.listen: ")), "{message}");
    assert!(message.contains(&format!("{path}:4:14: queue.max_wait: ")), "{message}");
    assert!(message.contains("accounts"), "{message}");
}

#[test]
fn an_unreadable_file_is_reported_by_name() {
    for command in [["run", "--config", "/nowhere/gateway.toml"], ["check", "--config", "/nowhere/gateway.toml"]] {
        assert!(Process::run(&command, &[]).failed(2).contains("/nowhere/gateway.toml"));
    }
}

#[test]
fn wrong_usage_ends_with_code_2() {
    let usages: [&[&str]; 5] = [
        &[],
        &["run", "--sandbox", "--config", "x"],
        &["walk"],
        &["sandbox", "--lock-answer", "500"],
        &["sandbox", "--window", "-1s"],
    ];
    for usage in usages {
        let message = Process::run(usage, &[]).failed(2);
        assert!(message.contains("Usage") || message.contains("--help"), "{usage:?}: {message}");
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let setup = offline();
    let config = setup.write();
    let arguments = [Path::new("check"), Path::new("--config"), &config];
    let listen = [("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:18080,unix:/tmp/x.sock")];
    let printed = Process::run(&arguments, &listen).succeeded();
    assert!(printed.contains("proxy    127.0.0.1:18080, unix:/tmp/x.sock"), "{printed}");
    let message = Process::run(&arguments, &[("ZOHO_GATEWAY__PROXY__LISTN", "127.0.0.1:1")]).failed(2);
    assert!(message.contains("environment ZOHO_GATEWAY__PROXY__LISTN"), "{message}");
}

#[test]
fn credentials_may_be_in_a_file_or_the_environment() {
    let setup = offline()
        .without("accounts.main.client_secret")
        .without("accounts.main.refresh_token")
        .set("accounts.main.client_secret.env", "ZOHO_CLIENT_SECRET")
        .set("accounts.main.refresh_token.file", "./refresh-token");
    std::fs::write(setup.path("refresh-token"), format!("{REFRESH_TOKEN}\n")).expect("written");
    let config = setup.write();
    let arguments = [Path::new("check"), Path::new("--config"), &config];
    Process::run(&arguments, &[("ZOHO_CLIENT_SECRET", CLIENT_SECRET)]).succeeded();
    let message = Process::run(&arguments, &[]).failed(2);
    assert!(message.contains("accounts.main.client_secret"), "{message}");
}

#[test]
fn check_online_fetches_a_token_of_each_account() {
    let zoho = Sandbox::boundless();
    let printed = command(&["check", "--online"], &Gateway::before(&zoho)).succeeded();
    assert!(printed.contains("account main: ") && printed.contains("granted an access token"), "{printed}");
}

#[test]
fn check_online_reports_bad_credentials_and_servers() {
    let zoho = Sandbox::boundless();
    for (key, word) in
        [("client_id", "invalid_client"), ("client_secret", "invalid_client_secret"), ("refresh_token", "invalid_code")]
    {
        let setup = Gateway::before(&zoho).set(&format!("accounts.main.{key}"), "1000.something.else");
        let message = command(&["check", "--online"], &setup).failed(1);
        assert!(message.contains("account main") && message.contains(word), "{message}");
    }
    let message = command(&["check", "--online"], &offline()).failed(1);
    assert!(message.contains("http://127.0.0.1:1") && message.contains("could not be reached"), "{message}");
}

#[test]
fn an_address_in_use_is_reported() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    for key in ["proxy.listen", "admin.listen"] {
        let value = if key == "proxy.listen" { json!([address]) } else { json!(address) };
        let message = command(&["run"], &offline().set(key, value)).failed(1);
        assert!(message.contains(&format!("cannot listen on {address}")), "{message}");
    }
    let message = Process::run(&["sandbox", "--listen", &address], &[]).failed(1);
    assert!(message.contains(&format!("cannot listen on {address}")), "{message}");
}

#[test]
fn an_invalid_trust_root_is_reported() {
    for content in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let setup = offline().set("upstream.ca_file", "./ca.pem");
        std::fs::write(setup.path("ca.pem"), content).expect("written");
        for arguments in [["run"], ["check"]] {
            let ended = command(&arguments, &setup);
            let code = ended.code.unwrap_or_default();
            let message = ended.failed(code);
            assert!(code != 0 && message.contains("upstream.ca_file") && message.contains("ca.pem"), "{message}");
        }
    }
    let message = command(&["check"], &offline().set("upstream.ca_file", "./nowhere.pem")).failed(2);
    assert!(message.contains("upstream.ca_file"), "{message}");
}

#[test]
fn routes_prints_the_catalogue_in_force() {
    let table = Process::run(&["routes"], &[]).succeeded();
    let row = table.lines().find(|line| line.starts_with("people.lms.share-course ")).expect("a row");
    for cell in ["PUT", "people.zoho.com", "/api/v1/courses/{courseId}/share", "30 per 1m", "5m"] {
        assert!(row.contains(cell), "{row}");
    }
    let setup =
        offline().route("people.lms.share-course", "requests", 7).route("people.lms.share-course", "lock", "9s");
    let printed = command(&["routes", "--json"], &setup).succeeded();
    let routes: Vec<Value> = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(routes.len(), table.lines().count() - 1, "a line for each and one for the headings");
    let route = routes.iter().find(|route| route["id"] == "people.lms.share-course").expect("the route");
    assert_eq!(route["threshold"], json!({ "requests": 7, "window": "1m" }), "{route}");
    assert_eq!((&route["method"], &route["lock"]), (&json!("PUT"), &json!("9s")), "{route}");
    assert_eq!(route["reads"], json!(false), "{route}");
    assert_eq!((&route["validation"], &route["cache"]), (&json!("documented"), &json!("0s")), "{route}");
}

#[test]
fn routes_explains_which_route_a_call_has() {
    let share = "/people/api/v1/courses/1/share";
    for target in [
        share,
        "/people/people/api/v1/courses/1/share?startIndex=0",
        "https://people.zoho.eu/api/v1/courses/1/share",
        "https://people.zoho.com/people/api/v1/courses/1/share",
        "http://127.0.0.1:8080/people/api/v1/courses/1/share",
    ] {
        let message = Process::run(&["routes", "get", target], &[]).succeeded();
        let expected = [
            "route   people.lms.get-shared-users: GET /api/v1/courses/{courseId}/share",
            "        an entry of the catalogue fits",
            "limit   30 per 1m, lock 5m",
            "why     page: the numbers were read on the call's page",
            "source  https://www.zoho.com/people/api/LMS/sharelist_course_actions.html",
            "scopes  ZOHOPEOPLE.training.ALL or ZOHOPEOPLE.training.READ",
        ];
        assert_eq!(message.lines().skip(1).collect::<Vec<_>>(), expected, "{target}");
    }
    let message = Process::run(&["routes", "GET", "/people/api/v2/leavetracker/leaves/records"], &[]).succeeded();
    assert!(message.contains("limit   30 per 1m") && message.contains("get_record.html says 300"), "{message}");
    let message = Process::run(&["routes", "GET", "/calendar/api/v2/on/no/page"], &[]).succeeded();
    assert!(
        message.contains("calendar.other.any-call") && message.contains("no entry of the catalogue fits"),
        "{message}"
    );

    let setup = offline().route("people.lms.get-shared-users", "requests", 7).set("routing.unknown", "deny");
    let of_json = |message: &str| serde_json::from_str::<Value>(message).expect("JSON");
    let message = of_json(&command(&["routes", "--json", "GET", share], &setup).succeeded());
    assert_eq!((&message["known"], &message["route"]["trust"]), (&json!(true), &json!("configured")), "{message}");
    assert_eq!(message["route"]["threshold"]["requests"], 7, "{message}");
    let message = of_json(&command(&["routes", "--json", "GET", "/people/api/on/no/page"], &setup).succeeded());
    assert_eq!((&message["known"], &message["route"]), (&json!(false), &Value::Null), "{message}");

    let config = setup.write();
    let extra =
        "[[extra_routes]]\nid = \"people.forms.merge-records\"\npath = \"/api/forms/{form}/merge\"\nrequests = 3\n";
    let text = std::fs::read_to_string(&config).expect("written") + extra;
    std::fs::write(&config, text).expect("written");
    let config = config.to_str().expect("UTF-8");
    let message =
        Process::run(&["routes", "--config", config, "MERGE", "/people/people/api/forms/a/merge"], &[]).succeeded();
    assert!(
        message.contains("people.forms.merge-records") && message.contains("limit   3 per 1m, lock 5m"),
        "{message}"
    );
    assert!(message.contains("configured") && message.contains("source  the configuration"), "{message}");

    for (target, expected) in [
        ("/api/v1/courses", "/people/api/v1/courses/1/share"),
        ("https://example.com/x", "is no path of People or Calendar"),
        ("/people/api/../x", "dot segment"),
    ] {
        let message = Process::run(&["routes", "GET", target], &[]).failed(2);
        assert!(message.contains(expected), "{message}");
    }
    assert!(Process::run(&["routes", "GET"], &[]).failed(2).contains("<PATH>"));
}

#[test]
fn schema_prints_the_schema_of_the_configuration() {
    let schema: Value = serde_json::from_str(&Process::run(&["schema"], &[]).succeeded()).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let drain = &schema["properties"]["proxy"]["properties"]["drain"];
    assert_eq!((&drain["type"], &drain["default"]), (&json!("string"), &json!("30s")));
    assert_eq!(schema["properties"]["accounts"]["additionalProperties"]["additionalProperties"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn healthcheck_reports_ready_not_ready_and_unreachable() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).set("accounts.main.client_secret", "a-secret-that-is-wrong").start();
    let probe = ["healthcheck", "--admin", &gateway.admin_url()].map(str::to_owned);
    assert!(Process::run(&probe, &[]).succeeded().contains("\"ready\""));
    gateway.send(&get(COURSE)).await.problem(503, "account-unauthorised");
    assert!(Process::run(&probe, &[]).failed(1).contains("not ready"));
    let message = Process::run(&["healthcheck", "--admin", "http://127.0.0.1:1"], &[]).failed(1);
    assert!(message.contains("127.0.0.1:1"), "{message}");
    for wrong in ["", "foo", "ftp://127.0.0.1:1"] {
        let message = Process::run(&["healthcheck", "--admin", wrong], &[]).failed(2);
        assert!(message.contains("http://127.0.0.1:9090"), "{wrong}: {message}");
    }
    let bare = Process::run(&["healthcheck", "--admin", "127.0.0.1:1"], &[]).failed(1);
    assert!(bare.contains("http://127.0.0.1:1"), "{bare}");
}

/// Removes all moments and spans.
fn without_times(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_times),
        Value::Object(members) => {
            members.retain(|name, _| !["at", "seconds", "_ago", "_since"].iter().any(|end| name.ends_with(end)));
            members.values_mut().for_each(without_times);
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_prints_sentences_or_json_of_a_running_gateway() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let asked = |option: &str| {
        let admin = gateway.admin_url();
        let arguments = ["status", "--admin", &admin, option].map(str::to_owned);
        Process::run(&arguments[..if option.is_empty() { 3 } else { 4 }], &[])
    };
    let text = asked("").succeeded();
    let lines: Vec<_> = text.lines().skip(1).take(3).collect();
    assert_eq!(lines, ["State: ok.", "No call waits.", "No route is locked."], "{text}");
    let mut page: Value = serde_json::from_str(&asked("--json").succeeded()).expect("JSON");
    let mut same = gateway.admin("/status").await.json();
    // Spans and moments go on.
    for page in [&mut page, &mut same] {
        assert!(page["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{page}");
        without_times(page);
    }
    assert_eq!(page, same);
    for arguments in [vec![], vec!["--json"], vec!["--watch"]] {
        let message = Process::run(&[vec!["status", "--admin", "127.0.0.1:1"], arguments].concat(), &[]).failed(1);
        assert!(message.contains("http://127.0.0.1:1") && message.contains("no gateway answers"), "{message}");
    }
    let message = Process::run(&["status", "--admin", "foo"], &[]).failed(2);
    assert!(message.contains("http://127.0.0.1:9090"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_is_watched_while_the_gateway_restarts() {
    let zoho = Sandbox::boundless();
    let port = free_port();
    let setup = Gateway::before(&zoho).set("admin.listen", format!("127.0.0.1:{port}"));
    let gateway = setup.start();
    let mut watching = Process::start(&["status", "--watch", "--admin", &gateway.admin_url()], &[]);
    watching.said(|line| line.contains("Status at").then_some(()));
    let setup = gateway.stop();
    watching.logs("no gateway answers");
    let _gateway = setup.start();
    let printed = watching.printed().matches("Status at").count();
    until("it is watched again", async || watching.printed().matches("Status at").count() > printed).await;
    // Escape sequences are for terminals.
    assert!(!watching.printed().contains('\x1b'), "{}", watching.printed());
    watching.kill();
}
