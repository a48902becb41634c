//! Several gateways on one login, each with its share of the limits.

use serde_json::{Value, json};

use crate::support::{COURSE, Gateway, Process, SHARE, Sandbox, Setup, all, put};

const ROUTE: &str = "people.lms.share-course";
const API: &str = "PUT /api/v1/courses/{id}/share";
const WINDOW: &str = "1s";

/// One of two gateways. Their thresholds are those of the sandbox: nine calls in each window, of which each may send four.
fn half(zoho: &Sandbox) -> Setup {
    Gateway::before(zoho).route(ROUTE, "requests", 9).route(ROUTE, "window", WINDOW).set("accounts.main.share", "1/2")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_with_half_each_keep_the_threshold_together() {
    let zoho = Sandbox::start(&["--requests", "9", "--window", WINDOW, "--lock", "60s", "--delay", "50ms"]);
    let (one, other) = (half(&zoho).start(), half(&zoho).start());
    let share = put(COURSE).form(SHARE);
    let calls = (0..32).map(|call| share.sending(if call % 2 == 0 { one.address() } else { other.address() }));
    for answer in all(calls).await {
        answer.is_zohos(200);
        let policy = answer.header("ratelimit-policy").expect("a policy");
        assert!(policy.ends_with(";q=4;w=1"), "{policy}");
    }
    let tally = zoho.tally(API).await;
    assert_eq!((tally.arrivals, tally.accepted, tally.locks, tally.arrivals_during_lock), (32, 32, 0, 0));
    assert!(tally.most_in_any_window <= 9, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_gateway_uses_its_half_at_once() {
    let zoho = Sandbox::start(&["--requests", "9", "--window", "60s", "--lock", "60s"]);
    let setup = || half(&zoho).route(ROUTE, "window", "60s").set("accounts.main.daily_calls", 11);
    let (one, other) = (setup().start(), setup().start());
    let share = put(COURSE).form(SHARE).header("prefer", "wait=0");
    for gateway in [&one, &other] {
        for _ in 0..4 {
            gateway.send(&share).await.is_zohos(200);
        }
        gateway.send(&share).await.problem_of(429, "threshold-saturated", ROUTE);
        let status = gateway.admin("/status").await.json();
        let bucket = &status["buckets"][0];
        assert_eq!((&bucket["threshold"]["requests"], &bucket["threshold"]["remaining"]), (&json!(4), &json!(0)));
        assert_eq!((&bucket["daily"]["requests"], &bucket["daily"]["remaining"]), (&json!(5), &json!(1)));
    }
    assert_eq!(zoho.tally(API).await.accepted, 8);
}

fn run(setup: &Setup, arguments: &[&str]) -> String {
    let config = setup.write();
    let config = config.to_str().expect("UTF-8");
    let ended = Process::run(&[&[arguments[0], "--config", config], &arguments[1..]].concat(), &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

#[test]
fn check_and_routes_show_what_a_share_leaves() {
    let nowhere = "http://127.0.0.1:1";
    let setup = Setup::before_all(nowhere, nowhere, nowhere);
    let setup = setup.set("accounts.main.share", "1/3").set("accounts.main.daily_calls", 10_000);
    let text = run(&setup, &["check"]);
    let expected = "main uses 1/3 of each limit: 3333 of 10000 daily calls, 3 of 10 token requests (0 of 2 in reserve)";
    assert!(text.contains(expected), "{text}");

    let table = run(&setup, &["routes"]);
    let headings = table.lines().next().expect("headings");
    let column = headings.find("1/3 OF main").unwrap_or_else(|| panic!("{headings}"));
    let row = table.lines().find(|line| line.starts_with(ROUTE)).expect("the route");
    assert!(row[column..].starts_with("10 per 1m") && row.contains("30 per 1m (page, 2026-11-30)"), "{row}");

    let routes: Value = serde_json::from_str(&run(&setup, &["routes", "--json"])).expect("JSON");
    let route = routes.as_array().and_then(|routes| routes.iter().find(|route| route["id"] == ROUTE));
    let shares = json!({ "main": { "share": "1/3", "threshold": { "requests": 10, "window": "1m" } } });
    assert_eq!(route.map(|route| &route["shares"]), Some(&shares));

    let text = run(&setup, &["routes", "PUT", COURSE]);
    assert!(text.contains("\n        account main uses 1/3 of it: 10 per 1m\n"), "{text}");
}
