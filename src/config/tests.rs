//! Whole configurations: valid ones here, mistakes in the other files.

mod callers;
mod environment;
mod mistakes;
mod pages;
mod redis;
mod reserves;
mod schema;
mod shares;
mod tls;

use std::{ffi::OsString, fs, path::Path, time::Duration};

use proptest::prelude::*;

use crate::upstream::ExtraRoots;

use super::{Config, ConfigErrors, ListenAddress, ScopeCheck, UnknownRoute, WhenEmpty, load, parse};
use crate::{
    ledger::Limits,
    listener::{ClientAuth, SocketAccess},
    middleware::caller::KeySource,
    zoho::{
        catalogue::{Pace, Provenance, Required, Route, RouteId, Threshold, Validation},
        data_center::DataCenter,
        product::Product,
        share::Share,
    },
};

/// The least that is a configuration.
const ACCOUNT: &str = r#"
[accounts.main]
client_id = "1000.ABC"
client_secret = "c11e27"
refresh_token = "1000.8ef2"
"#;

/// Every key that need not be absent because of another.
const EVERY_KEY: &str = r#"
proxy = { listen = ["[::1]:80", "unix:/run/p.sock", "localhost:0"], max_body = "64KiB", max_form = "32KiB", drain = "0s", unix = { mode = "0660", owner = "1000", group = "root" } }
admin.listen = "0.0.0.0:9000"
queue.max_wait = "250ms"
queue.max_waiting = 0
token = { requests = 2, window = "1m" }
queue.max_waiting_bytes = "1MiB"
queue.max_waiting_per_caller = 3
state = { dir = "/var/lib/gateway", when_empty = "assume_lost" }
upstream = { connect_timeout = "1s", timeout = "2m", proxy = "https://proxy:1", proxy_user = "u", proxy_password = "p4ss", no_proxy = [".a", "b:1"] }
routing = { unknown = "deny", scopes = "off" }
cache.max_bytes = "1MiB"
audit = { file = "/var/log/audit.log", fsync = true, required = true }
[callers.payroll]
key_sha256 = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"
weight = 3
accounts = ["main", "other"]
allow = ["people.lms.*", "calendar.*"]
limit = { requests = 600, window = "1m" }
read_only = true
[callers.reports]
key_sha256 = ["2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", "FCDE2B2EDBA56BF408601FB721FE9B5C338D10EE429EA04FAE5511B68FBF8FB9"]
jwt = { issuer = "cluster", subject = ["system:serviceaccount:hr:reports", "reports"] }
[issuers.cluster]
issuer = "https://kubernetes.default.svc"
audience = ["zoho-gateway", "https://zoho-gateway"]
jwks_url = "https://kubernetes.default.svc/openid/v1/jwks"
refresh = "5m"
algorithms = "ES256"
[issuers.local]
issuer = "local"
audience = "zoho-gateway"
jwks_url = "http://[::1]:8000/keys"
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
reads = false
[[extra_routes]]
id = "people.forms.merge-records"
path = "/people/api/forms/{formLinkName}/mergeRecords"
limits = [{ requests = 100, window = "1h" }, { requests = 7, window = "1m", lock = "2m" }]
parameters = [
    { name = "ids", aliases = ["idList"], required-unless = ["all"], kind = "list", max = 3 },
    { name = "all", kind = "boolean" },
]
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
reads = true
[accounts.other]
data_center = "eu"
client_id = "1000.DEF"
client_secret = "x"
refresh_token = "y"
daily_calls = 25000
share = "1/2"
endpoints = { people = "http://127.0.0.1:1" }
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
    assert_eq!(config.proxy.unix, SocketAccess { mode: 0o600, owner: None, group: None });
    assert_eq!((config.proxy.max_body, config.proxy.max_form), (16 << 20, 1 << 20));
    assert_eq!(config.proxy.drain, Duration::from_secs(30));
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.queue.max_wait, Duration::from_secs(75));
    assert_eq!(config.queue.max_preferred_wait, Duration::from_secs(3600));
    let limits = Limits { calls: 10_000, bytes: 256 << 20, calls_per_caller: 10_000 };
    assert_eq!(config.queue.limits, limits);
    assert_eq!(config.state.dir.as_deref(), Some(Path::new("./zoho-gateway-state")));
    assert_eq!(config.state.when_empty, WhenEmpty::Fresh);
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
    assert_eq!((account.daily_calls, account.share), (None, Share::WHOLE));
}

#[test]
fn every_key_is_taken() {
    let config = good(&with_account(EVERY_KEY), &[]);
    let listen: Vec<String> = config.proxy.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["[::1]:80", "unix:/run/p.sock", "localhost:0"]);
    assert_eq!((config.proxy.max_body, config.proxy.max_form), (65_536, 32_768));
    assert_eq!(config.proxy.drain, Duration::ZERO);
    assert_eq!(config.proxy.unix, SocketAccess { mode: 0o660, owner: Some(1000), group: Some(0) });
    let limits = Limits { calls: 0, bytes: 1 << 20, calls_per_caller: 3 };
    assert_eq!((config.queue.max_wait, config.queue.limits), (Duration::from_millis(250), limits));
    assert_eq!(config.state.dir.as_deref(), Some(Path::new("/var/lib/gateway")));
    assert_eq!(config.audit.file.as_deref(), Some(Path::new("/var/log/audit.log")));
    assert!(config.audit.fsync && config.audit.required);
    assert_eq!(
        config.upstream.egress.description().as_deref(),
        Some("through the proxy https://proxy:1 (upstream.proxy, with a password); directly: loopback, .a, b:1")
    );
    assert_eq!(config.state.when_empty, WhenEmpty::AssumeLost);
    assert_eq!((config.token.requests.get(), config.token.reserve), (2, 1));
    let callers = ["key", "foo", "bar"].map(|key| config.callers.by_key(key.as_bytes()));
    let shares =
        callers.each_ref().map(|found| found.as_ref().map(|found| (found.who.name(), found.who.weight().get())));
    let payroll = config.callers.by_key(b"key").unwrap();
    assert_eq!((payroll.permissions.accounts.len(), payroll.permissions.read_only), (2, true));
    assert!(!config.callers.by_key(b"foo").unwrap().permissions.read_only);
    assert!(payroll.permissions.allows(&RouteId::new("people.lms.share-course")));
    assert_eq!(payroll.limit.map(|limit| (limit.requests.get(), limit.window.as_secs())), Some((600, 60)));
    assert_eq!(shares, [Some(("payroll", 3)), Some(("reports", 1)), Some(("reports", 1))]);
    assert_eq!(config.callers.callers().map(|caller| caller.who.name()).collect::<Vec<_>>(), ["payroll", "reports"]);
    for subject in ["system:serviceaccount:hr:reports", "reports"] {
        let caller = config.callers.by_subject("cluster", subject).unwrap();
        assert_eq!(caller.who.name(), "reports");
        assert!(config.callers.by_subject("local", subject).is_none());
    }
    let [cluster, local] = config.issuers.as_slice() else { panic!("two issuers") };
    assert_eq!((cluster.name.as_str(), cluster.issuer.as_str()), ("cluster", "https://kubernetes.default.svc"));
    assert_eq!(cluster.audiences, ["zoho-gateway", "https://zoho-gateway"]);
    assert_eq!((cluster.algorithms.len(), local.algorithms.len()), (1, 9));
    let refreshes = config.issuers.iter().map(|issuer| match &issuer.keys {
        KeySource::Url { refresh, .. } => refresh.as_secs(),
        KeySource::File { .. } => panic!("at an address"),
    });
    assert_eq!(refreshes.collect::<Vec<_>>(), [300, 600]);
    assert_eq!(config.accounts[0].daily_calls.map(std::num::NonZeroU32::get), Some(25_000));
    assert_eq!(config.accounts[0].share.to_string(), "1/2");
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
    assert_eq!((case.methods.len(), case.scopes.len(), case.trust), (0, 0, Provenance::Transcribed));
    assert!(!case.reads && shared.reads && !share.reads);

    let merge = route(&config, "people.forms.merge-records");
    assert_eq!((merge.path.as_deref(), merge.methods.len()), (Some("/api/forms/{formLinkName}/mergeRecords"), 0));
    let Threshold { requests, window, lock, pace } = merge.threshold.unwrap();
    assert_eq!((requests.get(), window.as_secs(), lock.as_secs(), pace), (7, 60, 120, Pace::Fair));
    let [hour] = merge.further_limits.as_slice() else { panic!("one more limit") };
    assert_eq!((hour.requests.get(), hour.window.as_secs(), hour.lock.as_secs()), (100, 3600, 120));
    let [ids, all] = &*merge.parameters else { panic!("two parameters") };
    assert_eq!(
        (ids.aliases.as_slice(), ids.terms.required.clone()),
        (&["idList".to_owned()][..], Required::Unless(vec!["all".to_owned()]))
    );
    assert_eq!((all.name.as_str(), all.terms.is_mandatory()), ("all", false));
    assert_eq!(
        (merge.trust, merge.source.as_str(), merge.note.as_ref()),
        (Provenance::Configured, "the configuration", None)
    );
    let count = route(&config, "calendar.events.count-events");
    assert_eq!((count.product, count.methods.len(), count.threshold), (Product::Calendar, 2, None));
    assert_eq!((count.validation, count.note.as_deref()), (Validation::Off, Some("seen in a newsletter")));
    // Without the key, a call that lists COUNT would not count as a read.
    assert!(count.reads && !merge.reads);
    assert!(count.source.ends_with("count.html") && count.templates().count() == 2);

    let names: Vec<&str> = config.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["other", "main"], "in the order of the file");
    let endpoints = &config.accounts[0].endpoints;
    assert_eq!(endpoints.product(Product::People).to_string(), "http://127.0.0.1:1");
    assert_eq!(endpoints.product(Product::Calendar).to_string(), "https://calendar.zoho.eu");
}

#[test]
fn calls_that_contradict_each_other_are_told_with_both_names() {
    let extra = |id: &str, path: &str| format!("[[extra_routes]]\nid = \"{id}\"\npath = \"{path}\"\nrequests = 1\n");
    let share = "/people/api/v1/courses/{id}/share";
    let twins =
        [extra("people.x.a-b", share), extra("people.x.c-d", "/api/x"), extra("people.x.e-f", "/api/x")].concat();
    let moved = "[routes.\"people.cases.add-case\"]\npath = \"/api/hrcases/viewcase\"\n";
    // A literal next to a parameter is not ambiguous: it takes precedence.
    let literal = extra("people.x.g-h", "/api/v1/courses/new/share");
    let errors = bad(&with_account(&format!("{twins}{moved}{literal}")), &[]);
    let message = |id: &str, other: &str| format!("routes: {id} answers to the same method and path as {other}");
    assert_eq!(
        lines(&errors),
        [
            format!("gateway.toml:1:1: {}", message("people.x.a-b", "people.lms.share-course")),
            format!("gateway.toml:9:1: {}", message("people.x.e-f", "people.x.c-d")),
            format!("gateway.toml:13:9: {}", message("people.cases.get-case", "people.cases.add-case")),
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

#[test]
fn sockets_start_at_the_files_folder() {
    let read = |folder: &str, listen: &str, pairs: &[(&str, &str)]| {
        let text = with_account(&format!("proxy.listen = {listen}\n"));
        parse(&format!("{folder}/gateway.toml"), &text, variables(pairs))
            .map(|config| config.proxy.listen.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let expected = ["unix:/etc/zoho/proxy.sock", "unix:/run/p.sock"];
    assert_eq!(read("/etc/zoho", "[\"unix:proxy.sock\", \"unix:/run/p.sock\"]", &[]).unwrap(), expected);
    let variable = [("ZOHO_GATEWAY__PROXY__LISTEN", "unix:proxy.sock,unix:/run/p.sock")];
    assert_eq!(read("/etc/zoho", "\"localhost:1\"", &variable).unwrap(), expected);

    // What a socket's path may take is taken by all of it.
    let folder = format!("/{}", "x".repeat(95));
    assert!(read(&folder, "\"unix:proxy.sock\"", &[]).is_ok());
    let message = lines(&read(&folder, "\"unix:proxy1.sock\"", &[]).unwrap_err());
    let words = "expected a path of 1 to 107 bytes after \"unix:\", together with the folder that it starts at";
    assert_eq!(message, [format!("{folder}/gateway.toml:1:16: proxy.listen: {words}")]);
}
