//! The page of metrics, as a scraper reads it.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::json;
use zoho_gateway::os::clock;

use crate::support::{COURSE, Gateway, RedisServer, Reply, SHARE, Sandbox, Setup, Upstream, get, put, until};

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
                // OpenMetrics alone has the type "info".
                let kinds = ["counter", "gauge", "histogram", "info"];
                assert!(kinds[..3 + usize::from(openmetrics)].contains(&kind), "{line}");
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
                    (Some("info"), _) => &["_info"],
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

/// What a page says about live state is what the ledger says at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_shows_who_waits_for_what_and_until_when() {
    let zoho = Sandbox::start(&["--token-requests", "1000"]);
    let route = "people.lms.share-course";
    let series = |name: &str| format!("zoho_gateway_{name}{{account=\"main\",route=\"{route}\"}}");
    let gateway = Gateway::before(&zoho).route(route, "requests", 3).set("queue.max_waiting", 50);
    let gateway = gateway.set("queue.max_wait", "10m").start();
    assert_eq!(scraped(&gateway).await.value("zoho_gateway_waiting_limit"), 50.0);
    let share = put(COURSE).form(SHARE);
    gateway.send(&share).await.is_zohos(200);
    let page = scraped(&gateway).await;
    assert_eq!((page.value(&series("slots_used")), page.value(&series("slots_allowed"))), (1.0, 3.0));
    assert_eq!(page.value(&series("route_waiting")), 0.0);
    assert!(!page.samples.contains_key(&series("locked_until_timestamp_seconds")), "it is not locked");
    assert!(!page.samples.keys().any(|key| key.contains("get-shared-users") && key.contains("slots")), "never called");

    // The first of these meets the lock, the second comes during the lock.
    zoho.lock("PUT /api/v1/courses/{id}/share", 300.0).await;
    let locked = tokio::spawn(share.sending(gateway.address()));
    gateway.until_waiting(1).await;
    let late = tokio::spawn(share.sending(gateway.address()));
    gateway.until_waiting(2).await;
    let page = scraped(&gateway).await;
    // A call waits, so nothing is left for new ones; the window itself shows what was sent.
    assert_eq!(page.value(&series("slots_used")), 2.0);
    assert_eq!(page.value(&series("route_waiting")), 2.0);
    assert_eq!(page.value("zoho_gateway_caller_waiting{caller=\"anonymous\"}"), 1.0);
    assert!(page.value(&series("expected_wait_seconds")) > 1.0);
    let (until, now) = (page.value(&series("locked_until_timestamp_seconds")), since_1970());
    assert!(now < until && until < now + 400.0, "{now} {until}");
    locked.abort();
    late.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_others_are_counted() {
    let zoho = Sandbox::start(&["--token-requests", "1000"]);
    let route = "people.lms.share-course";
    let series = format!("zoho_gateway_external_calls_total{{account=\"main\",route=\"{route}\"}}");
    let gateway = Gateway::before(&zoho).start();
    let share = put(COURSE).form(SHARE).header("prefer", "wait=0");
    gateway.send(&share).await.is_zohos(200);
    assert_eq!(scraped(&gateway).await.value(&series), 0.0);
    zoho.lock("PUT /api/v1/courses/{id}/share", 300.0).await;
    gateway.send(&share).await.problem_of(429, "threshold-locked", route);
    assert_eq!(scraped(&gateway).await.value(&series), 28.0, "30 are allowed, and two were ours");
}

/// The bounds of a histogram's buckets, without the last.
fn buckets(page: &Page, name: &str) -> Vec<f64> {
    let keys = page.samples.keys().filter(|key| key.starts_with(&format!("zoho_gateway_{name}_bucket{{")));
    let bounds = keys.filter_map(|key| key.split("le=\"").nth(1)?.split('"').next()?.parse::<f64>().ok());
    let mut bounds: Vec<_> = bounds.filter(|bound| bound.is_finite()).collect();
    bounds.sort_by(f64::total_cmp);
    bounds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histograms_reach_from_milliseconds_to_a_quarter_of_an_hour() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let page = scraped(&gateway).await;
    for (name, first) in [("wait_seconds", 0.01), ("upstream_seconds", 0.005), ("request_seconds", 0.001)] {
        let bounds = buckets(&page, name);
        assert_eq!((bounds.first(), bounds.last()), (Some(&first), Some(&900.0)), "{name}: {bounds:?}");
        assert!(bounds.iter().filter(|bound| **bound >= 1.0).count() >= 8, "{name}: {bounds:?}");
    }
    let labels = "{account=\"main\",route=\"people.lms.get-shared-users\"}";
    assert_eq!(page.value(&format!("zoho_gateway_upstream_seconds_count{labels}")), 1.0);
    // Each commit of the ledger is timed; the first call waited for one at least.
    assert!(page.value("zoho_gateway_state_write_seconds_count{outcome=\"ok\"}") > 0.0);
    assert_eq!(page.value("zoho_gateway_state_write_seconds_count{outcome=\"failed\"}"), 0.0);
    assert!(!page.types.contains_key("zoho_gateway_redis_seconds"), "there is no Redis");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_redis_are_timed() {
    let (zoho, redis) = (Sandbox::boundless(), RedisServer::start(&[]));
    let gateway = Gateway::before(&zoho).set("state.redis", redis.url()).set("state.when_empty", "fresh").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let page = scraped(&gateway).await;
    assert!(page.value("zoho_gateway_redis_seconds_count{outcome=\"ok\"}") > 0.0);
    redis.freeze();
    let failed = "zoho_gateway_redis_seconds_count{outcome=\"failed\"}";
    until("a request fails", async || scraped(&gateway).await.value(failed) > 0.0).await;
    redis.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_shows_its_age_and_a_rejected_login_is_seen() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let (age, expiry) = (
        "zoho_gateway_token_age_seconds{account=\"main\"}",
        "zoho_gateway_token_expiry_timestamp_seconds{account=\"main\"}",
    );
    let rejected = "zoho_gateway_login_rejected{account=\"main\"}";
    let page = scraped(&gateway).await;
    assert!(!page.samples.contains_key(age), "there is no token yet");
    assert_eq!(page.value(rejected), 0.0);
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let page = scraped(&gateway).await;
    assert!(page.value(age) < 600.0, "it was just fetched");
    assert!(page.value(expiry) > since_1970() + 600.0, "it lasts an hour");

    let bad = Gateway::before(&zoho).set("accounts.main.refresh_token", "1000.revoked").start();
    bad.send(&get(COURSE)).await.problem(503, "account-unauthorised");
    assert_eq!(scraped(&bad).await.value(rejected), 1.0);
}

/// The names that every client library uses, for dashboards that exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_shows_its_figures() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let page = scraped(&gateway).await;
    assert_eq!(page.types["process_cpu_seconds_total"], "counter");
    assert!(page.value("process_resident_memory_bytes") > 1e6);
    assert!(page.value("process_cpu_seconds_total") > 0.0);
    assert!((3.0..page.value("process_max_fds")).contains(&page.value("process_open_fds")));
    let started = page.value("process_start_time_seconds");
    assert!((since_1970() - 600.0..=since_1970()).contains(&started), "{started}");
    let build = format!("zoho_gateway_build_info{{version=\"{}\",commit=\"\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(page.value(&build), 1.0);
}

fn since_1970() -> f64 {
    clock::wall().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_counted_by_caller() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho)
        .set("callers.one.key_sha256", crate::support::HASH_OF_ONE)
        .set("callers.one.accounts", json!(["main"]))
        .set("callers.one.allow", json!(["people.lms.get-shared-users"]))
        .start();
    let wrong = get(&format!("{COURSE}?startIndex=x")).header("authorization", "Bearer one");
    gateway.send(&wrong).await.problem(400, "invalid-payload");
    gateway.send(&get(COURSE)).await.problem(401, "caller-unauthenticated");
    let page = scraped(&gateway).await;
    let series = |problem: &str| format!("zoho_gateway_caller_refusals_total{{caller=\"one\",problem=\"{problem}\"}}");
    assert_eq!(page.value(&series("invalid-payload")), 1.0);
    // Nobody knows who that was.
    assert!(!page.samples.keys().any(|key| key.contains("caller_refusals") && key.contains("unauthenticated")));
    assert_eq!(page.value("zoho_gateway_refusals_total{problem=\"caller-unauthenticated\"}"), 1.0);
}
