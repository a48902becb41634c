//! Whole configurations, good and bad.

use std::{ffi::OsString, fs, path::Path, time::Duration};

use proptest::prelude::*;

use crate::upstream::ExtraRoots;

use super::{Config, ConfigErrors, ListenAddress, MissingState, ScopeCheck, UnknownRoute, load, parse};
use crate::{
    catalogue::{Pace, Product, Route, RouteId, Threshold, Trust, Validation},
    endpoint::DataCenter,
    ledger::Limits,
};

/// The least that is a configuration.
const ACCOUNT: &str = r#"
[accounts.main]
client_id = "1000.ABC"
client_secret = "c11e27"
refresh_token = "1000.8ef2"
"#;

/// What must not turn up in any message.
const CANARY: &str = "s3cr3tc4n4ry";

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn with_account(text: &str) -> String {
    format!("{text}{ACCOUNT}")
}

fn good(text: &str, pairs: &[(&str, &str)]) -> Config {
    parse("gateway.toml", text, variables(pairs)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn bad(text: &str, pairs: &[(&str, &str)]) -> ConfigErrors {
    parse("gateway.toml", text, variables(pairs)).unwrap_err()
}

/// The problems' lines without the count.
fn lines(errors: &ConfigErrors) -> Vec<String> {
    errors.problems().iter().map(ToString::to_string).collect()
}

fn route<'c>(config: &'c Config, id: &str) -> &'c Route {
    config.catalogue.iter().find(|route| route.id.as_str() == id).unwrap()
}

// === Good ones ===

#[test]
fn an_account_is_all_it_takes() {
    let config = good(ACCOUNT, &[]);
    assert_eq!(config.proxy.listen, ["127.0.0.1:8080".parse::<ListenAddress>().unwrap()]);
    assert_eq!(config.proxy.max_body, 1 << 20);
    assert_eq!(config.proxy.drain, Duration::from_secs(30));
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.queue.max_wait, Duration::from_secs(30));
    let limits = Limits { calls: 10_000, bytes: 64 << 20, calls_per_caller: 10_000 };
    assert_eq!(config.queue.limits, limits);
    assert_eq!(config.state.dir.as_deref(), Some(Path::new("./zoho-gateway-state")));
    assert_eq!(config.state.missing, MissingState::Unused);
    assert_eq!((config.token.requests.get(), config.token.window.as_secs(), config.token.reserve), (10, 600, 2));
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.upstream.timeout, Duration::from_secs(60));
    assert_eq!(config.routing.unknown, UnknownRoute::Limit);
    let [account] = config.accounts.as_slice() else { panic!("one account") };
    assert_eq!((account.name.as_str(), account.client_id.as_str()), ("main", "1000.ABC"));
    assert_eq!(account.client_secret.current().expose(), "c11e27");
    assert_eq!(account.refresh_token.current().expose(), "1000.8ef2");
    assert_eq!(account.data_center, DataCenter::Us);
    assert_eq!(account.endpoints, DataCenter::Us.endpoints());
    assert_eq!(account.daily_calls, None);
}

#[test]
fn every_key_is_taken() {
    let config = good(
        &with_account(
            r#"
            proxy = { listen = ["[::1]:80", "unix:/run/p.sock", "localhost:0"], max_body = "64KiB", drain = "0s" }
            admin.listen = "0.0.0.0:9000"
            queue.max_wait = "250ms"
            queue.max_waiting = 0
            token = { requests = 2, window = "1m" }
            queue.max_waiting_bytes = "1MiB"
            queue.max_waiting_per_caller = 3
            state = { dir = "/var/lib/gateway", missing = "lost" }
            upstream = { connect_timeout = "1s", timeout = "2m" }
            routing = { unknown = "deny", scopes = "off" }
            cache.max_bytes = "1MiB"
            [callers.payroll]
            key_sha256 = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"
            weight = 3
            accounts = ["main", "other"]
            allow = ["people.lms.*", "calendar.*"]
            limit = { requests = 600, window = "1m" }
            [callers.reports]
            key_sha256 = ["2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", "FCDE2B2EDBA56BF408601FB721FE9B5C338D10EE429EA04FAE5511B68FBF8FB9"]
            [routes."people.lms.share-course"]
            requests = 10
            window = "100ms"
            lock = "0s"
            pace = "smooth"
            validate = "off"
            [routes."people.lms.get-shared-users"]
            cache = "1m"
            stale_if_error = "10m"
            throttle = "off"
            [routes."calendar.other.any-call"]
            requests = 5
            [routes."people.forms.get-forms"]
            cache = "1s"
            [routes."people.cases.add-case"]
            methods = "POST"
            path = "/people/api/hrcases/addCase"
            aliases = ["/api/hrcases/addcase", "/api/hrcases/newcase"]
            scopes = ["ZOHOPEOPLE.cases.ALL", "ZOHOPEOPLE.cases.CREATE"]
            [routes."people.cases.get-case"]
            methods = "any"
            scopes = "none"
            [[extra_routes]]
            id = "people.forms.merge-records"
            path = "/people/api/forms/{formLinkName}/mergeRecords"
            requests = 7
            [[extra_routes]]
            id = "calendar.events.count-events"
            methods = ["GET", "COUNT"]
            path = "/api/v1/calendars/{uid}/events/count"
            aliases = "/api/v1/count"
            scopes = "ZohoCalendar.event.READ"
            throttle = "off"
            validate = "off"
            source = "https://www.zoho.com/calendar/help/api/count.html"
            note = "seen in a newsletter"
            [accounts.other]
            data_center = "eu"
            client_id = "1000.DEF"
            client_secret = "x"
            refresh_token = "y"
            daily_calls = 25000
            endpoints = { people = "http://127.0.0.1:1" }
            "#,
        ),
        &[],
    );
    let listen: Vec<String> = config.proxy.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["[::1]:80", "unix:/run/p.sock", "localhost:0"]);
    assert_eq!((config.proxy.max_body, config.proxy.drain), (65_536, Duration::ZERO));
    let limits = Limits { calls: 0, bytes: 1 << 20, calls_per_caller: 3 };
    assert_eq!((config.queue.max_wait, config.queue.limits), (Duration::from_millis(250), limits));
    assert_eq!(config.state.dir.as_deref(), Some(Path::new("/var/lib/gateway")));
    assert_eq!(config.state.missing, MissingState::Lost);
    assert_eq!((config.token.requests.get(), config.token.reserve), (2, 1));
    let callers = ["key", "foo", "bar"].map(|key| config.callers.caller(key.as_bytes()));
    let shares = callers.map(|found| found.map(|found| (found.caller.name(), found.caller.weight().get())));
    let payroll = config.callers.caller(b"key").unwrap();
    assert_eq!(payroll.permissions.accounts.len(), 2);
    assert!(payroll.permissions.allows(&RouteId::new("people.lms.share-course")));
    assert_eq!(payroll.limit.map(|limit| (limit.requests.get(), limit.window.as_secs())), Some((600, 60)));
    assert_eq!(shares, [Some(("payroll", 3)), Some(("reports", 1)), Some(("reports", 1))]);
    assert_eq!(config.accounts[0].daily_calls.map(std::num::NonZeroU32::get), Some(25_000));
    assert_eq!(config.upstream.timeout, Duration::from_secs(120));
    assert_eq!((config.routing.unknown, config.routing.scopes), (UnknownRoute::Deny, ScopeCheck::Off));

    let share = route(&config, "people.lms.share-course");
    let threshold = share.threshold.unwrap();
    assert_eq!((threshold.requests.get(), threshold.window), (10, Duration::from_millis(100)));
    assert_eq!((threshold.lock, threshold.pace), (Duration::ZERO, Pace::Smooth));
    assert_eq!(share.validation, Validation::Off);
    let shared = route(&config, "people.lms.get-shared-users");
    assert_eq!((shared.cache, shared.threshold), (Duration::from_secs(60), None));
    assert_eq!((shared.stale_if_error, config.cache.max_bytes), (Duration::from_secs(600), 1 << 20));
    assert_eq!(route(&config, "calendar.other.any-call").threshold.unwrap().requests.get(), 5);

    let case = route(&config, "people.cases.add-case");
    assert_eq!((case.methods.as_slice(), case.scopes.len()), (&[http::Method::POST][..], 2));
    let paths: Vec<&str> = case.templates().collect();
    assert_eq!(paths, ["/api/hrcases/addCase", "/api/hrcases/addcase", "/api/hrcases/newcase"]);
    let case = route(&config, "people.cases.get-case");
    assert_eq!((case.methods.len(), case.scopes.len(), case.trust), (0, 0, Trust::Transcribed));

    let merge = route(&config, "people.forms.merge-records");
    assert_eq!((merge.path.as_deref(), merge.methods.len()), (Some("/api/forms/{formLinkName}/mergeRecords"), 0));
    let Threshold { requests, window, lock, pace } = merge.threshold.unwrap();
    assert_eq!((requests.get(), window.as_secs(), lock.as_secs(), pace), (7, 60, 300, Pace::Burst));
    assert_eq!(
        (merge.trust, merge.source.as_str(), merge.note.as_ref()),
        (Trust::Configured, "the configuration", None)
    );
    let count = route(&config, "calendar.events.count-events");
    assert_eq!((count.product, count.methods.len(), count.threshold), (Product::Calendar, 2, None));
    assert_eq!((count.validation, count.note.as_deref()), (Validation::Off, Some("seen in a newsletter")));
    assert!(count.source.ends_with("count.html") && count.templates().count() == 2);

    let names: Vec<&str> = config.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["other", "main"], "in the order of the file");
    let endpoints = &config.accounts[0].endpoints;
    assert_eq!(endpoints.product(Product::People).to_string(), "http://127.0.0.1:1");
    assert_eq!(endpoints.product(Product::Calendar).to_string(), "https://calendar.zoho.eu");
}

#[test]
fn the_example_loads_and_states_the_defaults() {
    let example = include_str!("../../config/gateway.example.toml");
    let secrets =
        [("ZOHO_CLIENT_ID", "1000.ABC"), ("ZOHO_CLIENT_SECRET", "c11e27"), ("ZOHO_REFRESH_TOKEN", "1000.8ef2")];
    let defaults = format!("{:#?}", good(ACCOUNT, &[]));
    assert_eq!(format!("{:#?}", good(example, &secrets)), defaults);

    // The same with every key that it only mentions, but for those that have no default.
    let (example, extra) = example.split_once("#[[extra_routes]]").unwrap();
    let uncommented: String = example
        .lines()
        .filter(|line| {
            ![
                "#throttle",
                "#ca_file",
                "#daily_calls",
                "#[callers",
                "#key_sha256",
                "#accounts = [",
                "#allow",
                "#weight",
                "#limit",
            ]
            .iter()
            .any(|key| line.starts_with(key))
        })
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.is_empty() && !key.starts_with(' ') => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(uncommented.contains("\nwindow = \"1m\"\n"));
    assert_eq!(format!("{:#?}", good(&uncommented, &secrets)), defaults);
    let extra = with_account(&format!("[[extra_routes]]{}", extra.replace("\n#", "\n")));
    assert_eq!(route(&good(&extra, &[]), "people.forms.merge-records").methods, [http::Method::POST]);
}

#[test]
fn calls_that_contradict_each_other_are_told_with_both_names() {
    let extra = |id: &str, path: &str| format!("[[extra_routes]]\nid = \"{id}\"\npath = \"{path}\"\nrequests = 1\n");
    let share = "/people/api/v1/courses/{id}/share";
    let twins =
        [extra("people.x.a-b", share), extra("people.x.c-d", "/api/x"), extra("people.x.e-f", "/api/x")].concat();
    let moved = "[routes.\"people.cases.add-case\"]\npath = \"/api/hrcases/viewcase\"\n";
    // A literal beside a parameter is no contradiction: it goes before.
    let literal = extra("people.x.g-h", "/api/v1/courses/new/share");
    let errors = bad(&with_account(&format!("{twins}{moved}{literal}")), &[]);
    let told = |id: &str, other: &str| format!("routes: {id} answers to the same method and path as {other}");
    assert_eq!(
        lines(&errors),
        [
            format!("gateway.toml:1:1: {}", told("people.x.a-b", "people.lms.share-course")),
            format!("gateway.toml:9:1: {}", told("people.x.e-f", "people.x.c-d")),
            format!("gateway.toml:13:9: {}", told("people.cases.get-case", "people.cases.add-case")),
        ]
    );
}

#[test]
fn paths_start_at_the_files_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    let authority = rcgen::generate_simple_self_signed(["authority".to_owned()]).unwrap();
    fs::write(folder.path().join("ca.pem"), authority.cert.pem()).unwrap();
    fs::write(folder.path().join("token"), "1000.8ef2\r\n").unwrap();
    let text = r#"
        upstream.ca_file = "ca.pem"
        [accounts.main]
        client_id = { env = "ID" }
        client_secret = { env = "SECRET" }
        refresh_token = { file = "token" }
        "#;
    fs::write(&path, text).unwrap();
    let config = load(&path, variables(&[("ID", "1000.ABC"), ("SECRET", "c11e27")])).unwrap();
    assert_ne!(format!("{:?}", config.upstream.extra_roots), format!("{:?}", ExtraRoots::default()));
    assert_eq!(config.accounts[0].refresh_token.current().expose(), "1000.8ef2");
    assert_eq!(config.accounts[0].client_secret.current().expose(), "c11e27");
    assert_eq!(config.accounts[0].client_id, "1000.ABC");
}

// === The environment ===

#[test]
fn the_environment_overrides_the_file() {
    let text = with_account(
        "[proxy]\nlisten = \"127.0.0.1:1\"\n[routes.\"people.lms.share-course\"]\nrequests = 5\n\
         [callers.Pay-Roll]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\n",
    );
    let config = good(
        &text,
        &[
            ("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:8080, unix:/run/zoho-gateway/proxy.sock"),
            ("ZOHO_GATEWAY__QUEUE__MAX_WAITING", "7"),
            ("ZOHO_GATEWAY__ROUTES__PEOPLE_LMS_SHARE_COURSE__REQUESTS", "10"),
            ("ZOHO_GATEWAY__ROUTES__CALENDAR_CALENDARS_SHARE_CALENDAR__LOCK", "1m"),
            ("ZOHO_GATEWAY__ACCOUNTS__MAIN__CLIENT_SECRET", "other"),
            ("ZOHO_GATEWAY__CALLERS__PAY_ROLL__WEIGHT", "5"),
            ("ZOHO_GATEWAY__ACCOUNTS__MAIN__ENDPOINTS__PEOPLE", "http://localhost:1"),
            ("ZOHO_GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("PATH", "/bin"),
        ],
    );
    let listen: Vec<String> = config.proxy.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:8080", "unix:/run/zoho-gateway/proxy.sock"]);
    assert_eq!(config.queue.limits.calls, 7);
    assert_eq!(route(&config, "people.lms.share-course").threshold.unwrap().requests.get(), 10);
    let lock = route(&config, "calendar.calendars.share-calendar").threshold.unwrap().lock;
    assert_eq!(lock, Duration::from_secs(60));
    assert_eq!(config.callers.caller(b"key").map(|found| found.caller.weight().get()), Some(5));
    assert_eq!(config.accounts[0].client_secret.current().expose(), "other");
    assert_eq!(config.accounts[0].endpoints.people.to_string(), "http://localhost:1");
}

#[test]
fn the_environment_alone_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "1000.8ef2\n").unwrap();
    let config = good(
        "",
        &[
            ("ZOHO_GATEWAY__ACCOUNTS__PAYROLL__CLIENT_ID", "1000.ABC"),
            ("ZOHO_GATEWAY__ACCOUNTS__PAYROLL__CLIENT_SECRET__ENV", "SECRET"),
            ("ZOHO_GATEWAY__ACCOUNTS__PAYROLL__REFRESH_TOKEN__FILE", token.to_str().unwrap()),
            ("SECRET", "c11e27"),
        ],
    );
    let [account] = config.accounts.as_slice() else { panic!("one account") };
    assert_eq!(account.name.as_str(), "payroll");
    assert_eq!(account.client_secret.current().expose(), "c11e27");
    assert_eq!(account.refresh_token.current().expose(), "1000.8ef2");
}

#[test]
fn a_secret_from_the_environment_replaces_every_form_in_the_file() {
    for form in ["\"x\"", "{ env = \"UNSET\" }", "{ file = \"/nowhere\" }"] {
        let text = ACCOUNT.replace("\"c11e27\"", form).replace("accounts.main", "accounts.\"Ma-in\"");
        for name in ["CLIENT_SECRET", "CLIENT_SECRET__ENV"] {
            let name = format!("ZOHO_GATEWAY__ACCOUNTS__MA_IN__{name}");
            let config = good(&text, &[(&name, "SET"), ("SET", "SET")]);
            assert_eq!(config.accounts[0].client_secret.current().expose(), "SET", "{form} {name}");
        }
    }
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let two = with_account(&ACCOUNT.replace("main", "a-b")) + &ACCOUNT.replace("main", "a_b");
    for (text, pairs, expected) in [
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__QUEUE__MAX_WAITING", "many")][..],
            "environment ZOHO_GATEWAY__QUEUE__MAX_WAITING: queue.max_waiting: expected an integer from 0 to 1000000",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__PROXY__LISTN", "x")],
            "environment ZOHO_GATEWAY__PROXY__LISTN: proxy.listn: unknown key; did you mean listen? (known here: drain, listen, max_body)",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__ROUTES__PEOPLE_LMS_SHARE_CURSE__REQUESTS", "1")],
            "environment ZOHO_GATEWAY__ROUTES__PEOPLE_LMS_SHARE_CURSE__REQUESTS: routes.people_lms_share_curse: unknown route; did you mean people.lms.share-course? (`zoho-gateway routes` lists them all)",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__EXTRA_ROUTES__0__PATH", "/api/x")],
            "environment ZOHO_GATEWAY__EXTRA_ROUTES__0__PATH: extra_routes: expected a list of tables, [[extra_routes]], in the file, found a table",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__PROXY", "x")],
            "environment ZOHO_GATEWAY__PROXY: proxy: expected a table, found a string",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__PROXY____LISTEN", "x")],
            "environment ZOHO_GATEWAY__PROXY____LISTEN: expected a name such as ZOHO_GATEWAY__PROXY__LISTEN",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__PROXY__DRAIN", "1s"), ("ZOHO_GATEWAY__proxy__drain", "1s")],
            "environment ZOHO_GATEWAY__proxy__drain: proxy.drain: is already set by ZOHO_GATEWAY__PROXY__DRAIN",
        ),
        (
            ACCOUNT,
            &[
                ("ZOHO_GATEWAY__ACCOUNTS__MAIN__CLIENT_SECRET", "x"),
                ("ZOHO_GATEWAY__ACCOUNTS__MAIN__CLIENT_SECRET__FILE", "x"),
            ],
            "environment ZOHO_GATEWAY__ACCOUNTS__MAIN__CLIENT_SECRET__FILE: accounts.main.client_secret: is already set by ZOHO_GATEWAY__ACCOUNTS__MAIN__CLIENT_SECRET",
        ),
        (
            &two,
            &[("ZOHO_GATEWAY__ACCOUNTS__A_B__CLIENT_ID", "x")],
            "environment ZOHO_GATEWAY__ACCOUNTS__A_B__CLIENT_ID: accounts.a_b: may mean a-b or a_b; set this one in the file",
        ),
        (
            ACCOUNT,
            &[("ZOHO_GATEWAY__ACCOUNTS__NEW__CLIENT_ID", "x"), ("ZOHO_GATEWAY__ACCOUNTS__NEW__CLIENT_SECRET", "x")],
            "environment ZOHO_GATEWAY__ACCOUNTS__NEW__CLIENT_ID: accounts.new.refresh_token: is missing; expected a string, { env = \"NAME\" } or { file = \"PATH\" }",
        ),
    ] {
        assert_eq!(lines(&bad(text, pairs)), [expected]);
    }
}

#[cfg(unix)]
#[test]
fn bytes_that_are_no_text_are_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let odd = |prefix: &str| OsString::from_vec([prefix.as_bytes(), b"\xff"].concat());
    let pairs = vec![
        (OsString::from("ZOHO_GATEWAY__PROXY__DRAIN"), odd("")),
        (odd("ZOHO_GATEWAY__"), OsString::new()),
        (odd("OTHER"), odd("")),
        (OsString::from("SECRET"), odd("")),
    ];
    let text = ACCOUNT.replace("\"c11e27\"", "{ env = \"SECRET\" }");
    assert_eq!(
        lines(&parse("gateway.toml", &text, pairs).unwrap_err()),
        [
            "gateway.toml:4:25: accounts.main.client_secret.env: names an environment variable that is not UTF-8 text",
            "environment ZOHO_GATEWAY__PROXY__DRAIN: proxy.drain: expected UTF-8 text",
            "environment ZOHO_GATEWAY__\u{fffd}: expected a name such as ZOHO_GATEWAY__PROXY__LISTEN",
        ]
    );
}

// === Bad ones ===

#[test]
fn every_mistake_is_told_with_its_place() {
    for (text, expected) in [
        // Keys that do not exist, some of them not yet.
        ("state.redis = \"x\"", "1:7: state.redis: unknown key (known here: dir, missing)"),
        (
            "callers.a.key_sha256 = \"abc\"",
            "1:24: callers.a.key_sha256: expected a SHA-256 in 64 hexadecimal digits: printf %s KEY | sha256sum",
        ),
        (
            "[callers.a]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\nweight = 0",
            "3:10: callers.a.weight: expected an integer from 1 to 1000",
        ),
        (
            "[callers.a]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\nweight = 1001",
            "3:10: callers.a.weight: expected an integer from 1 to 1000",
        ),
        (
            "[callers.a]",
            "1:10: callers.a.key_sha256: is missing; expected the SHA-256 of an API key in hexadecimal digits",
        ),
        ("token.requests = 0", "1:18: token.requests: expected an integer from 1 to 1000"),
        ("token.window = \"61m\"", "1:16: token.window: expected a duration from 1ms to 1h"),
        (
            "[token]\nrequests = 3\nreserve = 3",
            "3:1: token.reserve: expected less than the 3 requests that it is a part of",
        ),
        ("state.dir = \"\"", "1:13: state.dir: expected the path of a folder"),
        ("state.missing = \"full\"", "1:17: state.missing: expected one of \"unused\", \"lost\""),
        (
            "queue.max_waiting_bytes = \"1B\"",
            "1:27: queue.max_waiting_bytes: expected a size from 1024B to 17179869184B",
        ),
        (
            "queue.max_waiting_per_caller = 1000001",
            "1:32: queue.max_waiting_per_caller: expected an integer from 0 to 1000000",
        ),
        (
            "[prox]",
            "1:2: prox: unknown key; did you mean proxy? (known here: accounts, admin, cache, callers, extra_routes, proxy, queue, routes, routing, state, token, upstream)",
        ),
        ("[proxy]\ntls = {}", "2:1: proxy.tls: unknown key (known here: drain, listen, max_body)"),
        (
            "[routing]\n\"un\\nknown\" = 1",
            "2:1: routing.\"un\\nknown\": unknown key; did you mean unknown? (known here: scopes, unknown)",
        ),
        // Kinds.
        ("proxy = 1", "1:9: proxy: expected a table, found an integer"),
        ("[[proxy]]", "1:1: proxy: expected a table, found a list"),
        (
            "queue.max_wait = 30",
            "1:18: queue.max_wait: expected a duration such as \"250ms\", \"30s\", \"5m\" or \"1h\", found an integer",
        ),
        (
            "queue.max_wait = 12:00:00",
            "1:18: queue.max_wait: expected a duration such as \"250ms\", \"30s\", \"5m\" or \"1h\", found a date or time",
        ),
        ("queue.max_waiting = \"7\"", "1:21: queue.max_waiting: expected an integer from 0 to 1000000, found a string"),
        (
            "queue.max_waiting = 7.0",
            "1:21: queue.max_waiting: expected an integer from 0 to 1000000, found a number with a fraction",
        ),
        ("routing.unknown = true", "1:19: routing.unknown: expected one of \"limit\", \"deny\", found a boolean"),
        // Ranges.
        ("queue.max_wait = \"2h\"", "1:18: queue.max_wait: expected a duration from 0s to 1h"),
        ("queue.max_waiting = -1", "1:21: queue.max_waiting: expected an integer from 0 to 1000000"),
        ("upstream.timeout = \"0s\"", "1:20: upstream.timeout: expected a duration from 1ms to 1h"),
        ("proxy.max_body = \"0B\"", "1:18: proxy.max_body: expected a size from 1B to 1073741824B"),
        ("proxy.max_body = \"1MB\"", "1:18: proxy.max_body: expected a size such as \"512B\", \"64KiB\" or \"1MiB\""),
        ("routing.unknown = \"allow\"", "1:19: routing.unknown: expected one of \"limit\", \"deny\""),
        // Addresses.
        (
            "proxy.listen = []",
            "1:16: proxy.listen: expected at least one entry: an address such as \"127.0.0.1:8080\" or \"unix:/run/zoho-gateway/proxy.sock\"",
        ),
        (
            "proxy.listen = [\"localhost:1\",\n 7]",
            "2:2: proxy.listen: expected an address such as \"127.0.0.1:8080\" or \"unix:/run/zoho-gateway/proxy.sock\", found an integer",
        ),
        (
            "proxy.listen = \"0.0.0.0:8080\"",
            "1:16: proxy.listen: expected a loopback address (127.0.0.0/8, ::1, localhost) or a Unix socket: callers are anonymous, and anonymous callers are allowed only there",
        ),
        ("proxy.listen = [\"[::1]:1\", \"[::1]:1\"]", "1:28: proxy.listen: stands there twice"),
        ("proxy.listen = \"127.0.0.1:9090\"", "admin.listen: expected an address of its own: the proxy listens there"),
        (
            "admin.listen = \"127.0.0.1:8080\"",
            "1:16: admin.listen: expected an address of its own: the proxy listens there",
        ),
        ("admin.listen = \"unix:/x\"", "1:16: admin.listen: expected a TCP address such as \"127.0.0.1:9090\""),
        // Files.
        (
            "upstream.ca_file = \"/nowhere/ca.pem\"",
            "1:20: upstream.ca_file: the file /nowhere/ca.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            "upstream.ca_file = \"/dev/null\"",
            "1:20: upstream.ca_file: the file /dev/null: expected PEM certificates, found none",
        ),
        ("upstream.ca_file = \"/\"", "1:20: upstream.ca_file: the file / cannot be read: is a directory"),
        // Routes.
        (
            "routes.\"people.lms.share-curse\".lock = \"1s\"",
            "1:8: routes.\"people.lms.share-curse\": unknown route; did you mean people.lms.share-course? (`zoho-gateway routes` lists them all)",
        ),
        ("[routes.x]", "1:9: routes.x: unknown route (`zoho-gateway routes` lists them all)"),
        (
            "[routes.people.lms.share-course]",
            "1:9: routes.people: unknown route; an id holds dots and needs quotes: [routes.\"people.lms.share-course\"]",
        ),
        (
            "[routes]\n\"people.lms.share-course\" = 3",
            "2:29: routes.\"people.lms.share-course\": expected a table, found an integer",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nrequests = 0",
            "2:12: routes.\"people.lms.share-course\".requests: expected an integer from 1 to 1000000",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nwindow = \"25h\"",
            "2:10: routes.\"people.lms.share-course\".window: expected a duration from 1ms to 24h",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nlock = \"169h\"",
            "2:8: routes.\"people.lms.share-course\".lock: expected a duration from 0s to 168h",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nthrottle = \"on\"",
            "2:12: routes.\"people.lms.share-course\".throttle: expected \"off\"",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nlock = \"1s\"\nthrottle = \"off\"\npace = \"burst\"",
            "3:1: routes.\"people.lms.share-course\".throttle: \"off\" contradicts lock, pace: expected one or the other",
        ),
        (
            "[routes.\"people.lms.share-course\"]\ncache = \"1s\"",
            "2:1: routes.\"people.lms.share-course\".cache: only the answers of a GET route can be served again; expected \"0s\"",
        ),
        (
            "[routes.\"people.lms.get-shared-users\"]\nstale_if_error = \"1s\"",
            "2:1: routes.\"people.lms.get-shared-users\".stale_if_error: nothing is kept without cache; expected \"0s\", or cache beside it",
        ),
        (
            "[routes.\"people.lms.get-shared-users\"]\ncache = \"1s\"\nstale_if_error = \"25h\"",
            "3:18: routes.\"people.lms.get-shared-users\".stale_if_error: expected a duration from 0s to 24h",
        ),
        ("[cache]\nmax_bytes = \"1KiB\"", "2:13: cache.max_bytes: expected a size from 1048576B to 17179869184B"),
        (
            "[routes.\"people.other.any-call\"]\ncache = \"1s\"",
            "2:1: routes.\"people.other.any-call\".cache: only the answers of a GET route can be served again; expected \"0s\"",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nvalidate = \"loose\"",
            "2:12: routes.\"people.lms.share-course\".validate: expected one of \"documented\", \"strict\", \"off\"",
        ),
        (
            "[routes.\"people.other.any-call\"]\nvalidate = \"strict\"",
            "2:1: routes.\"people.other.any-call\".validate: the catalogue does not list this call's parameters, so strict \
             would refuse every one; expected \"documented\" or \"off\"",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nmethods = [\"put\"]",
            "2:12: routes.\"people.lms.share-course\".methods: expected a method in capitals such as \"GET\", or \"any\"",
        ),
        (
            "[routes.\"people.lms.share-course\"]\npath = \"/api/<id>\"",
            "2:8: routes.\"people.lms.share-course\".path: expected a path such as /api/v1/courses/{courseId}/share",
        ),
        (
            "[routes.\"people.lms.share-course\"]\nscopes = [\"training\"]",
            "2:11: routes.\"people.lms.share-course\".scopes: expected a scope such as \"ZOHOPEOPLE.training.ALL\", or \"none\"",
        ),
        (
            "[routes.\"people.other.any-call\"]\npath = \"/api\"",
            "2:1: routes.\"people.other.any-call\".path: the stand-in for all other calls has neither methods nor paths",
        ),
        // Extra routes.
        (
            "extra_routes = 3",
            "1:16: extra_routes: expected a list of tables, [[extra_routes]], in the file, found an integer",
        ),
        ("extra_routes = [3]", "1:17: extra_routes: expected a table, found an integer"),
        (
            "[[extra_routes]]\npath = \"/api/x\"\nrequests = 1",
            "1:1: extra_routes.id: expected an id such as \"people.forms.merge-records\"",
        ),
        (
            "[[extra_routes]]\nid = \"people.x.a-b\"\nrequests = 1",
            "1:1: extra_routes.path: expected a path such as \"/api/v1/courses/{courseId}/share\"",
        ),
        (
            "[[extra_routes]]\nid = \"people.x.a-b\"\npath = \"/api/x\"",
            "1:1: extra_routes.requests: expected the calls that its page allows in a window, or throttle = \"off\"",
        ),
        (
            "[[extra_routes]]\nid = \"crm.x.a-b\"\npath = \"/api/x\"\nrequests = 1",
            "2:6: extra_routes.id: expected an id that begins with people. or calendar.",
        ),
        (
            "[[extra_routes]]\nid = \"people.x\"\npath = \"/api/x\"\nrequests = 1",
            "2:6: extra_routes.id: expected an id of the shape product.section.verb-noun",
        ),
        (
            "[[extra_routes]]\nid = \"people.lms.share-course\"\npath = \"/api/x\"\nrequests = 1",
            "1:1: extra_routes: there is a call people.lms.share-course already",
        ),
        (
            "[[extra_routes]]\nid = \"people.x.a-b\"\npath = \"/api/x\"\nrequests = 1\nrequest = 2",
            "5:1: extra_routes.request: unknown key; did you mean requests? (known here: aliases, cache, id, lock, methods, note, pace, path, requests, scopes, source, stale_if_error, throttle, validate, window)",
        ),
    ] {
        let errors = bad(&with_account(&format!("{text}\n")), &[]);
        let separator = if expected.starts_with(|c: char| c.is_ascii_digit()) { ":" } else { ": " };
        assert_eq!(lines(&errors), [format!("gateway.toml{separator}{expected}")], "{text}");
    }
}

#[test]
fn every_mistake_in_an_account_is_told_with_its_place() {
    let form = "a string, { env = \"NAME\" } or { file = \"PATH\" }";
    for (from, to, expected) in [
        (ACCOUNT, "", ": accounts: expected at least one account: [accounts.NAME] with client_id, client_secret and refresh_token".to_owned()),
        (ACCOUNT, "[accounts]", ": accounts: expected at least one account: [accounts.NAME] with client_id, client_secret and refresh_token".to_owned()),
        ("[accounts.main]", "[accounts.\"ma in\"]", ":2:11: accounts.\"ma in\": expected an account's name of 1 to 64 letters, digits, _ and -".to_owned()),
        ("client_id = \"1000.ABC\"", "", format!(":2:11: accounts.main.client_id: is missing; expected {form}")),
        ("\"1000.ABC\"", "7", format!(":3:13: accounts.main.client_id: expected {form}, found an integer")),
        ("\"1000.ABC\"", "\"\"", ":3:13: accounts.main.client_id: is empty".to_owned()),
        ("\"c11e27\"", "\"c11e27\\n\"", ":4:17: accounts.main.client_secret: holds white space or other characters that no credential has; a stray newline is the usual mistake".to_owned()),
        ("\"c11e27\"", "{ env = \"UNSET\" }", ":4:25: accounts.main.client_secret.env: names an environment variable that is not set".to_owned()),
        ("\"c11e27\"", "{ env = 7 }", ":4:25: accounts.main.client_secret.env: expected the name of an environment variable, found an integer".to_owned()),
        ("\"c11e27\"", "{ env = \"EMPTY\" }", ":4:25: accounts.main.client_secret.env: is empty".to_owned()),
        ("\"c11e27\"", "{ file = \"/nowhere/secret\" }", ":4:26: accounts.main.client_secret.file: the file /nowhere/secret cannot be read: No such file or directory (os error 2)".to_owned()),
        ("\"c11e27\"", "{ file = \"secret\" }", ":4:26: accounts.main.client_secret.file: the file of that name in the folder . cannot be read: No such file or directory (os error 2)".to_owned()),
        ("\"c11e27\"", "{ file = \"/dev/zero\" }", ":4:26: accounts.main.client_secret.file: the file /dev/zero is too long for a credential".to_owned()),
        ("\"c11e27\"", "{ file = \"/dev/null\" }", ":4:26: accounts.main.client_secret.file: the file /dev/null is empty".to_owned()),
        ("\"c11e27\"", "{}", format!(":4:1: accounts.main.client_secret: expected {form}")),
        ("\"c11e27\"", "{ env = \"ONE\", file = \"/dev/null\" }", format!(":4:1: accounts.main.client_secret: expected {form}")),
        ("client_id", "data_center = \"com\"\nclient_id", ":3:15: accounts.main.data_center: expected one of \"us\", \"eu\", \"in\", \"au\", \"jp\", \"ca\", \"sa\", \"cn\", \"uk\", \"ae\", \"sg\"".to_owned()),
        ("client_id", "endpoints.people = \"people.zoho.com\"\nclient_id", ":3:20: accounts.main.endpoints.people: expected a URL such as https://people.zoho.com".to_owned()),
        ("client_id", "endpoints.crm = \"x\"\nclient_id", ":3:11: accounts.main.endpoints.crm: unknown key (known here: accounts, calendar, people)".to_owned()),
        ("client_id", "daily_cals = 1\nclient_id", ":3:1: accounts.main.daily_cals: unknown key; did you mean daily_calls? (known here: client_id, client_secret, daily_calls, data_center, endpoints, refresh_token)".to_owned()),
        ("client_id", "daily_calls = 0\nclient_id", ":3:15: accounts.main.daily_calls: expected an integer from 1 to 1000000".to_owned()),
        ("client_id", "daily_calls = 1000001\nclient_id", ":3:15: accounts.main.daily_calls: expected an integer from 1 to 1000000".to_owned()),
    ] {
        let errors = bad(&ACCOUNT.replacen(from, to, 1), &[("EMPTY", ""), ("ONE", "one")]);
        let first = lines(&errors).remove(0);
        assert_eq!(first, format!("gateway.toml{expected}"), "{to}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let text = "[queue]\nmax_wait = 3\nmax_wating = 1\n[accounts.main]\nclient_id = \"\"\nclient_secret = \"c11e27\"\n[proxy]\ndrain = \"x\"\n";
    let errors = bad(text, &[("ZOHO_GATEWAY__ADMIN__LISTEN", "x")]);
    let places: Vec<String> =
        errors.problems().iter().map(|problem| format!("{} {}", problem.origin, problem.key)).collect();
    assert_eq!(
        places,
        [
            "gateway.toml:2:12 queue.max_wait",
            "gateway.toml:3:1 queue.max_wating",
            "gateway.toml:4:11 accounts.main.refresh_token",
            "gateway.toml:5:13 accounts.main.client_id",
            "gateway.toml:8:9 proxy.drain",
            "environment ZOHO_GATEWAY__ADMIN__LISTEN admin.listen",
        ]
    );
    assert!(errors.to_string().ends_with("\n6 problems in the configuration"));
    assert!(bad("", &[]).to_string().ends_with("\n1 problem in the configuration"));
}

#[test]
fn text_that_is_no_toml_is_told_with_what_can_be_trusted() {
    let text = "[queue]\nmax_wait = 3\nmax_waiting = = 2\n[proxy\nlisten = 7\n";
    let errors = bad(text, &[]);
    let places: Vec<String> = errors.problems().iter().map(|problem| problem.origin.to_string()).collect();
    // No word on the missing account, nor on what follows the first line that could not be read.
    assert_eq!(places, ["gateway.toml:2:12", "gateway.toml:3:15", "gateway.toml:4:7"]);
    let duplicate = bad("[queue]\nmax_wait = \"3s\"\nmax_wait = \"4s\"\n", &[]);
    assert_eq!(lines(&duplicate), ["gateway.toml:3:1: duplicate key"]);
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    let errors = load(&path, []).unwrap_err();
    let expected = format!("{}: cannot be read: No such file or directory (os error 2)", path.display());
    assert_eq!(lines(&errors), [expected]);
    fs::write(&path, b"\xff").unwrap();
    assert_eq!(load(&path, []).unwrap_err().problems().len(), 1);
}

// === Secrets ===

#[test]
fn no_error_repeats_a_secret() {
    let places = [
        "client_secret = 1000.CANARY",
        "client_secret = CANARY",
        "client_secret = \"CANARY",
        "client_secret = \"CANARY \"",
        "client_secret = \"CANARY\\q\"",
        "client_secret = [\"CANARY\"]",
        "client_secret = { env = \"CANARY\" }",
        "client_secret = { file = \"CANARY\" }",
        "client_secret = { value = \"CANARY\" }",
        "client_secret = \"CANARY\"\nclient_secret = \"CANARY\"",
        "client_sceret = \"CANARY\"",
        "data_center = \"CANARY\"",
        "endpoints = \"CANARY\"",
        "endpoints.people = \"https://me:CANARY@people.zoho.com\"",
        "endpoints.people = \"https://CANARY/path\"",
        "client_id = \"CANARY CANARY\"",
        "[accounts]\nmain = \"CANARY\"",
        "[proxy]\nlisten = \"CANARY\"\nmax_body = \"CANARY\"\ndrain = \"CANARY\"",
        "[queue]\nmax_waiting = \"CANARY\"",
        "[upstream]\nca_file = \"CANARY\"",
        "[routing]\nunknown = \"CANARY\"",
        "[routes.\"people.lms.share-course\"]\npace = \"CANARY\"\nthrottle = \"CANARY\"\nvalidate = \"CANARY\"",
    ];
    for place in places {
        let text = format!("[accounts.main]\n{}\n", place.replace("CANARY", CANARY));
        let errors = bad(&text, &[]);
        assert!(!format!("{errors} {errors:?}").contains(CANARY), "{place}: {errors}");
    }
    for name in ["CLIENT_SECRET__ENV", "CLIENT_SECRET__FILE", "CLIENT_SCERET", "DATA_CENTER", "ENDPOINTS__PEOPLE"] {
        let name = format!("ZOHO_GATEWAY__ACCOUNTS__MAIN__{name}");
        let errors = bad(ACCOUNT, &[(&name, CANARY)]);
        assert!(!format!("{errors} {errors:?}").contains(CANARY), "{name}: {errors}");
    }
}

#[test]
fn a_configuration_can_be_printed() {
    let config = good(&ACCOUNT.replace("c11e27", CANARY).replace("1000.8ef2", CANARY), &[]);
    assert!(!format!("{config:?}").contains(CANARY));
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "(\\[[a-z.\"]{0,9}\\]{0,2}\n|[a-z_\"'.]{0,9} ?=? ?[\\PC\n]{0,9}\n){0,9}") {
        let _ = parse("gateway.toml", &text, []);
    }

    #[test]
    fn any_variable_is_read_without_panic(name in "[A-Z_]{0,12}(__[A-Z]{0,9}){0,3}", value in "\\PC{0,20}") {
        let name = format!("ZOHO_GATEWAY__{name}");
        let _ = parse("gateway.toml", ACCOUNT, variables(&[(&name, &value)]));
    }
}
