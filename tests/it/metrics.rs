//! The page of metrics, as a scraper reads it.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::json;

use crate::support::{COURSE, Gateway, Reply, SHARE, Sandbox, Setup, Upstream, get, put};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

/// A page: the types of its families, and its samples by name and labels.
struct Page {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Page {
    /// Reads a page, and checks each sample against the HELP and TYPE lines before it. In the text format (version
    /// 0.0.4) a counter and its sample have one name; in OpenMetrics the name of the sample ends in `_total`.
    #[track_caller]
    fn read(text: &str, openmetrics: bool) -> Self {
        let mut page = Self { types: BTreeMap::new(), samples: BTreeMap::new() };
        let (mut helped, mut family) = (String::new(), String::new());
        let body = if openmetrics { text.strip_suffix("# EOF\n").expect("an end mark") } else { text };
        assert!(text.ends_with('\n'), "the last line has an end");
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').expect("words");
                assert!(!words.is_empty(), "{line}");
                helped = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(helped, name, "{line}");
                let before = page.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} comes twice");
                family = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').expect("a unit");
                assert!(openmetrics && name == family && name.ends_with(unit), "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let name = series.split('{').next().unwrap_or_default();
                let ends: &[&str] = match (page.types.get(&family).map(String::as_str), openmetrics) {
                    (Some("counter"), true) => &["_total"],
                    (Some("histogram"), _) => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                assert!(ends.iter().any(|end| name == format!("{family}{end}")), "{line} is not a sample of {family}");
                assert!(!family.ends_with("_total") || page.types[&family] == "counter", "{line}");
                let before = page.samples.insert(series.to_owned(), value.parse().expect("a number"));
                assert_eq!(before, None, "{series} comes twice");
            }
        }
        page
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples.keys()))
    }
}

async fn scraped(gateway: &Gateway) -> Page {
    Page::read(&gateway.admin("/metrics").await.text(), false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_formats_name_each_sample_by_its_type() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route("people.lms.get-shared-users", "cache", "1m").start();
    for _ in 0..2 {
        gateway.send(&get(COURSE)).await.is_zohos(200);
    }
    gateway.send(&get("/nowhere")).await.problem(404, "unknown-route");
    let plain = gateway.admin("/metrics").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let plain = Page::read(&plain.text(), false);
    assert_eq!(plain.types["zoho_gateway_requests_total"], "counter");
    assert_eq!(plain.types["zoho_gateway_request_seconds"], "histogram");
    assert_eq!(plain.types["zoho_gateway_waiting"], "gauge");
    assert_eq!(plain.value("zoho_gateway_cache_total{outcome=\"hit\"}"), 1.0);

    let asked = get("/metrics").header("accept", OPENMETRICS).send(gateway.admin_address()).await;
    let open = Page::read(&asked.text(), true);
    assert_eq!(open.types["zoho_gateway_requests"], "counter");
    assert_eq!(open.samples.keys().collect::<Vec<_>>(), plain.samples.keys().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_lock_raises_the_counter_from_0_to_1() {
    for (call, route) in [
        (get(COURSE), "people.lms.get-shared-users"),
        (put(COURSE).form(SHARE), "people.lms.share-course"),
        (get("/people/api/not/in/the/catalogue"), "people.other.any-call"),
    ] {
        let upstream = Upstream::start(|_| Reply::json(429, r#"{"code":7209}"#)).await;
        let gateway = Gateway::before_upstream(&upstream).start();
        let series = ["locks", "external_use"]
            .map(|name| format!("zoho_gateway_{name}_total{{account=\"main\",route=\"{route}\"}}"));
        let rejections = "zoho_gateway_refusals_total{problem=\"threshold-locked\"}";
        let before = scraped(&gateway).await;
        for series in series.iter().map(String::as_str).chain([rejections]) {
            assert_eq!(before.value(series), 0.0, "{series}");
        }
        gateway.send(&call.header("prefer", "wait=0")).await.problem_of(429, "threshold-locked", route);
        let after = scraped(&gateway).await;
        for series in series.iter().map(String::as_str).chain([rejections]) {
            assert_eq!(after.value(series), 1.0, "{series}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rare_event_has_its_series_from_the_start() {
    let unreachable = "http://127.0.0.1:1";
    let gateway = Setup::before_all(unreachable, unreachable, unreachable)
        .set("issuers.one.issuer", "https://127.0.0.1:1")
        .set("issuers.one.audience", "here")
        .set("issuers.one.jwks_url", "http://127.0.0.1:1/keys")
        .start();
    let page = scraped(&gateway).await;
    let reference = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md")).expect("docs");
    let problems = reference.split("\n## Problems\n").nth(1).expect("the problems");
    let problems = problems.split("\n## ").next().unwrap_or_default().lines();
    let problems: Vec<_> = problems.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(problems.len() > 20, "{problems:?}");
    for problem in problems {
        assert_eq!(page.value(&format!("zoho_gateway_refusals_total{{problem=\"{problem}\"}}")), 0.0);
    }
    for outcome in ["granted", "unauthorised", "wrong_data_center", "throttled", "unreachable", "timeout", "failed"] {
        page.value(&format!("zoho_gateway_token_requests_total{{account=\"main\",outcome=\"{outcome}\"}}"));
    }
    for outcome in ["given", "failed"] {
        page.value(&format!("zoho_gateway_issuer_requests_total{{issuer=\"one\",outcome=\"{outcome}\"}}"));
    }
    for outcome in ["hit", "stale", "collapsed", "miss", "bypass", "not_cached"] {
        assert_eq!(page.value(&format!("zoho_gateway_cache_total{{outcome=\"{outcome}\"}}")), 0.0);
    }
    for name in ["log_lines_dropped", "audit_unconfirmed"] {
        assert_eq!(page.value(&format!("zoho_gateway_{name}_total")), 0.0);
    }
}

/// Calls that no caller may make have no series, and the series of many accounts are bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_exist_for_allowed_calls_and_are_bounded() {
    let upstream = Upstream::start(|_| Reply::json(429, r#"{"code":7209}"#)).await;
    let locks = |page: &Page| page.samples.keys().filter(|key| key.starts_with("zoho_gateway_locks_total")).count();

    let few = Gateway::before_upstream(&upstream)
        .set("callers.one.key_sha256", crate::support::HASH_OF_ONE)
        .set("callers.one.accounts", json!(["main"]))
        .set("callers.one.allow", json!(["people.lms.get-shared-users", "people.lms.share-course"]))
        .route("people.lms.share-course", "throttle", "off")
        .start();
    let page = scraped(&few).await;
    assert_eq!(locks(&page), 1);
    page.value("zoho_gateway_locks_total{account=\"main\",route=\"people.lms.get-shared-users\"}");

    let mut many = Gateway::before_upstream(&upstream);
    for number in 0..20 {
        for key in ["client_id", "client_secret", "endpoints.accounts", "endpoints.people", "endpoints.calendar"] {
            many = many.same(&format!("accounts.a{number}.{key}"), &format!("accounts.main.{key}"));
        }
        many = many.set(&format!("accounts.a{number}.refresh_token"), format!("1000.sandbox.{number}"));
    }
    let many = many.start();
    assert_eq!(locks(&scraped(&many).await), 2_500);
    // Beyond the bound a series begins with the first call of its route.
    let call = get(COURSE).header("gateway-account", "main").header("prefer", "wait=0");
    many.send(&call).await.problem(429, "threshold-locked");
    let page = scraped(&many).await;
    assert_eq!(locks(&page), 2_501);
    assert_eq!(page.value("zoho_gateway_locks_total{account=\"main\",route=\"people.lms.get-shared-users\"}"), 1.0);
}

/// The requests of a scraper with defaults, and of a browser.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_the_admin_listener_has_its_own_type() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let admin = gateway.admin_address();
    let foreign = get("/livez").header("origin", "http://evil.example");
    for (call, status) in [
        (get("/livez"), 200),
        (get("/readyz"), 200),
        (get("/metrics"), 200),
        (get("/metrics").header("accept", OPENMETRICS), 200),
        (get("/status"), 200),
        (get("/nowhere"), 404),
        (put("/livez"), 405),
        (foreign, 403),
        (get("/livez").header("expect", "nothing"), 417),
    ] {
        let answer = call.send(admin).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    }
}
