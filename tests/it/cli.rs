//! The commands: what they print, where, and what they end with.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{CLIENT_SECRET, COURSE, Ended, Gateway, Process, REFRESH_TOKEN, Sandbox, Setup, get};

impl Ended {
    /// Holds the end of a failed run to what every one of them promises, and returns what the operator reads.
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
    fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        for unwanted in ["panicked", CLIENT_SECRET, REFRESH_TOKEN, "WARN", "ERROR"] {
            assert!(!format!("{}{}", self.stdout, self.stderr).contains(unwanted), "{self:?}");
        }
        self.stdout
    }
}

/// A configuration that nobody has to answer.
fn offline() -> Setup {
    let nobody = "http://127.0.0.1:1";
    Setup::before_all(nobody, nobody, nobody)
}

fn command(arguments: &[&str], setup: &Setup) -> Ended {
    let config = setup.write();
    let config = config.to_str().expect("UTF-8");
    Process::run(&[arguments, &["--config", config]].concat(), &[])
}

#[test]
fn check_tells_what_would_run() {
    let setup = offline();
    let printed = command(&["check"], &setup).succeeded();
    for expected in
        ["the configuration is valid", "proxy    127.0.0.1:0", "admin    127.0.0.1:0", "account  main at us"]
    {
        assert!(printed.contains(expected), "{printed}");
    }
}

#[test]
fn every_mistake_in_a_configuration_is_told_at_once() {
    let setup = offline()
        .without("accounts.main.refresh_token")
        .set("proxy.max_body", "a lot")
        .set("proxy.drian", "30s")
        .set("queue.max_waiting", -1)
        .set("upstream.timeout", "60")
        .route("people.lms.share-curse", "requests", 30);
    let path = setup.write();
    for arguments in [["check"], ["run"]] {
        let told = command(&arguments, &setup).failed(2);
        for key in
            ["proxy.max_body", "proxy.drian", "queue.max_waiting", "upstream.timeout", "accounts.main.refresh_token"]
        {
            let place = format!("{}:", path.display());
            let line = told.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{key}: {told}"));
            assert!(line.contains(&place), "{line}");
        }
        assert!(told.contains("share-curse") && told.contains("people.lms.share-course"), "{told}");
        assert!(told.contains("6 problems"), "{told}");
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
        let told = command(&arguments, &setup).failed(2);
        assert!(told.contains("accounts.main") && told.contains("accounts.second.refresh_token"), "{told}");
        assert!(!told.contains(REFRESH_TOKEN), "{told}");
    }
    std::fs::write(setup.path("refresh-token"), "1000.sandbox.second-login").expect("written");
    command(&["check"], &setup).succeeded();
}

#[test]
fn a_mistake_is_told_with_line_and_column() {
    let setup = offline();
    let path = setup.path("broken.toml");
    std::fs::write(&path, "[proxy]\nlisten = \"0.0.0.0:80\"\n[queue]\n  max_wait = \"soon\"\n").expect("written");
    let path = path.to_str().expect("UTF-8");
    let told = Process::run(&["check", "--config", path], &[]).failed(2);
    assert!(told.contains(&format!("{path}:2:10: proxy.listen: ")), "{told}");
    assert!(told.contains(&format!("{path}:4:14: queue.max_wait: ")), "{told}");
    assert!(told.contains("accounts"), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_by_name() {
    for command in [["run", "--config", "/nowhere/gateway.toml"], ["check", "--config", "/nowhere/gateway.toml"]] {
        assert!(Process::run(&command, &[]).failed(2).contains("/nowhere/gateway.toml"));
    }
}

#[test]
fn wrong_usage_ends_with_two() {
    let usages: [&[&str]; 6] = [
        &[],
        &["run"],
        &["run", "--sandbox", "--config", "x"],
        &["walk"],
        &["sandbox", "--lock-answer", "500"],
        &["sandbox", "--window", "-1s"],
    ];
    for usage in usages {
        let told = Process::run(usage, &[]).failed(2);
        assert!(told.contains("Usage") || told.contains("--help"), "{usage:?}: {told}");
    }
}

#[test]
fn the_environment_lies_over_the_file() {
    let setup = offline();
    let config = setup.write();
    let arguments = [Path::new("check"), Path::new("--config"), &config];
    let listen = [("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:18080,unix:/tmp/x.sock")];
    let printed = Process::run(&arguments, &listen).succeeded();
    assert!(printed.contains("proxy    127.0.0.1:18080, unix:/tmp/x.sock"), "{printed}");
    let told = Process::run(&arguments, &[("ZOHO_GATEWAY__PROXY__LISTN", "127.0.0.1:1")]).failed(2);
    assert!(told.contains("environment ZOHO_GATEWAY__PROXY__LISTN"), "{told}");
}

#[test]
fn credentials_come_from_a_file_or_the_environment() {
    let setup = offline()
        .without("accounts.main.client_secret")
        .without("accounts.main.refresh_token")
        .set("accounts.main.client_secret.env", "ZOHO_CLIENT_SECRET")
        .set("accounts.main.refresh_token.file", "./refresh-token");
    std::fs::write(setup.path("refresh-token"), format!("{REFRESH_TOKEN}\n")).expect("written");
    let config = setup.write();
    let arguments = [Path::new("check"), Path::new("--config"), &config];
    Process::run(&arguments, &[("ZOHO_CLIENT_SECRET", CLIENT_SECRET)]).succeeded();
    let told = Process::run(&arguments, &[]).failed(2);
    assert!(told.contains("accounts.main.client_secret"), "{told}");
}

#[test]
fn check_online_fetches_a_token_of_each_account() {
    let zoho = Sandbox::boundless();
    let printed = command(&["check", "--online"], &Gateway::before(&zoho)).succeeded();
    assert!(printed.contains("account main: ") && printed.contains("granted an access token"), "{printed}");
}

#[test]
fn check_online_tells_wrong_credentials_and_unreachable_servers() {
    let zoho = Sandbox::boundless();
    for (key, word) in
        [("client_id", "invalid_client"), ("client_secret", "invalid_client_secret"), ("refresh_token", "invalid_code")]
    {
        let setup = Gateway::before(&zoho).set(&format!("accounts.main.{key}"), "1000.something.else");
        let told = command(&["check", "--online"], &setup).failed(1);
        assert!(told.contains("account main") && told.contains(word), "{told}");
    }
    let told = command(&["check", "--online"], &offline()).failed(1);
    assert!(told.contains("http://127.0.0.1:1") && told.contains("could not be reached"), "{told}");
}

#[test]
fn an_address_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    for key in ["proxy.listen", "admin.listen"] {
        let value = if key == "proxy.listen" { json!([address]) } else { json!(address) };
        let told = command(&["run"], &offline().set(key, value)).failed(1);
        assert!(told.contains(&format!("cannot listen on {address}")), "{told}");
    }
    let told = Process::run(&["sandbox", "--listen", &address], &[]).failed(1);
    assert!(told.contains(&format!("cannot listen on {address}")), "{told}");
}

#[test]
fn a_trust_root_that_is_none_is_told() {
    for content in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let setup = offline().set("upstream.ca_file", "./ca.pem");
        std::fs::write(setup.path("ca.pem"), content).expect("written");
        for arguments in [["run"], ["check"]] {
            let ended = command(&arguments, &setup);
            let code = ended.code.unwrap_or_default();
            let told = ended.failed(code);
            assert!(code != 0 && told.contains("upstream.ca_file") && told.contains("ca.pem"), "{told}");
        }
    }
    let told = command(&["check"], &offline().set("upstream.ca_file", "./nowhere.pem")).failed(2);
    assert!(told.contains("upstream.ca_file"), "{told}");
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
fn routes_tells_which_route_a_call_belongs_to_and_why() {
    let share = "/people/api/v1/courses/1/share";
    for target in [
        share,
        "/people/people/api/v1/courses/1/share?startIndex=0",
        "https://people.zoho.eu/api/v1/courses/1/share",
        "https://people.zoho.com/people/api/v1/courses/1/share",
        "http://127.0.0.1:8080/people/api/v1/courses/1/share",
    ] {
        let told = Process::run(&["routes", "get", target], &[]).succeeded();
        let expected = [
            "route   people.lms.get-shared-users: GET /api/v1/courses/{courseId}/share",
            "        an entry of the catalogue fits",
            "limit   30 per 1m, lock 5m",
            "why     page: the numbers were read on the call's page",
            "source  https://www.zoho.com/people/api/LMS/sharelist_course_actions.html",
            "scopes  ZOHOPEOPLE.training.ALL or ZOHOPEOPLE.training.READ",
        ];
        assert_eq!(told.lines().skip(1).collect::<Vec<_>>(), expected, "{target}");
    }
    let told = Process::run(&["routes", "GET", "/people/api/v2/leavetracker/leaves/records"], &[]).succeeded();
    assert!(told.contains("limit   30 per 1m") && told.contains("get_record.html says 300"), "{told}");
    let told = Process::run(&["routes", "GET", "/calendar/api/v2/on/no/page"], &[]).succeeded();
    assert!(told.contains("calendar.other.any-call") && told.contains("no entry of the catalogue fits"), "{told}");

    let setup = offline().route("people.lms.get-shared-users", "requests", 7).set("routing.unknown", "deny");
    let of_json = |told: &str| serde_json::from_str::<Value>(told).expect("JSON");
    let told = of_json(&command(&["routes", "--json", "GET", share], &setup).succeeded());
    assert_eq!((&told["known"], &told["route"]["trust"]), (&json!(true), &json!("configured")), "{told}");
    assert_eq!(told["route"]["threshold"]["requests"], 7, "{told}");
    let told = of_json(&command(&["routes", "--json", "GET", "/people/api/on/no/page"], &setup).succeeded());
    assert_eq!((&told["known"], &told["route"]), (&json!(false), &Value::Null), "{told}");

    let config = setup.write();
    let extra =
        "[[extra_routes]]\nid = \"people.forms.merge-records\"\npath = \"/api/forms/{form}/merge\"\nrequests = 3\n";
    let text = std::fs::read_to_string(&config).expect("written") + extra;
    std::fs::write(&config, text).expect("written");
    let config = config.to_str().expect("UTF-8");
    let told =
        Process::run(&["routes", "--config", config, "MERGE", "/people/people/api/forms/a/merge"], &[]).succeeded();
    assert!(told.contains("people.forms.merge-records") && told.contains("limit   3 per 1m, lock 5m"), "{told}");
    assert!(told.contains("configured") && told.contains("source  the configuration"), "{told}");

    for (target, expected) in [
        ("/api/v1/courses", "/people/api/v1/courses/1/share"),
        ("https://example.com/x", "is no path of People or Calendar"),
        ("/people/api/../x", "dot segment"),
    ] {
        let told = Process::run(&["routes", "GET", target], &[]).failed(2);
        assert!(told.contains(expected), "{told}");
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
async fn healthcheck_tells_ready_not_ready_and_nobody_there() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).set("accounts.main.client_secret", "a-secret-that-is-wrong").start();
    let probe = ["healthcheck", "--admin", &gateway.admin_url()].map(str::to_owned);
    assert!(Process::run(&probe, &[]).succeeded().contains("\"ready\""));
    gateway.send(&get(COURSE)).await.problem(503, "account-unauthorised");
    assert!(Process::run(&probe, &[]).failed(1).contains("not ready"));
    let told = Process::run(&["healthcheck", "--admin", "http://127.0.0.1:1"], &[]).failed(1);
    assert!(told.contains("127.0.0.1:1"), "{told}");
    for wrong in ["", "foo", "ftp://127.0.0.1:1"] {
        let told = Process::run(&["healthcheck", "--admin", wrong], &[]).failed(2);
        assert!(told.contains("http://127.0.0.1:9090"), "{wrong}: {told}");
    }
    let bare = Process::run(&["healthcheck", "--admin", "127.0.0.1:1"], &[]).failed(1);
    assert!(bare.contains("http://127.0.0.1:1"), "{bare}");
}
