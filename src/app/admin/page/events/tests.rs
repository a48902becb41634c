use std::collections::BTreeMap;

use super::*;
use crate::app::admin::status::page::{GatewayStatus, Remaining, WaitingCaller};

#[test]
fn a_filter_is_read_from_the_query() {
    let filter = |all, search: &str| Filter { all, search: search.to_owned() };
    for (query, expected) in [
        ("", filter(false, "")),
        ("all", filter(true, "")),
        ("all=&search=Share%2DCourse", filter(true, "share-course")),
        ("search=+two+words+&other=1", filter(false, "two words")),
        ("search=%ff%zz", filter(false, "\u{fffd}%zz")),
    ] {
        assert_eq!(Filter::parse(query), expected, "{query}");
    }
}

fn bucket(route: String, account: String, used: u32) -> Bucket {
    let threshold = Remaining {
        requests: 30,
        window_seconds: 60.0,
        used,
        remaining: 30 - used,
        next_slot_in_seconds: (used > 0).then_some(12.5),
    };
    Bucket {
        account,
        route,
        threshold,
        daily: None,
        locked_for_seconds: None,
        lock: None,
        waiting: 0,
        booked: 0,
        callers: Vec::new(),
        bookings: Vec::new(),
        next_call: None,
        expected_wait_seconds: 0.0,
        external_use: 0,
    }
}

/// 450 routes of 20 accounts; every third window is in use, and one has waiting calls.
fn large_page() -> StatusPage {
    let buckets = (0..9000).map(|n| {
        let used = if n % 3 == 0 { n % 31 } else { 0 };
        bucket(format!("people.module.route-{}", n / 20), format!("account-{}", n % 20), used)
    });
    let mut buckets: Vec<_> = buckets.collect();
    buckets[5000].waiting = 1000;
    buckets[5000].callers = (0..1000)
        .map(|n| WaitingCaller {
            caller: format!("Caller-{n}"),
            waiting: 1,
            waited_seconds: 1.0,
            first_in_seconds: Some(2.0),
            last_in_seconds: Some(2.0),
            request_ids: vec!["0".repeat(36)],
        })
        .collect();
    StatusPage {
        at: "2026-11-30T08:25:48Z".to_owned(),
        gateway: GatewayStatus {
            version: String::new(),
            commit: None,
            name: String::new(),
            process: 1,
            started_seconds_ago: 1.0,
            draining: false,
            in_flight: 0,
        },
        ready: true,
        checks: BTreeMap::new(),
        state: "ok".to_owned(),
        waiting: 1000,
        buckets,
        accounts: Vec::new(),
        callers: Vec::new(),
        jobs: None,
        refusals: Vec::new(),
        last_lock: None,
        incidents: vec!["an incident".into(); 32],
        shared: Vec::new(),
        reload: None,
        paused: Vec::new(),
    }
}

#[test]
fn an_event_of_9000_windows_is_small_and_has_the_important_ones() {
    let page = large_page();
    let active = Event::of(&page, &Filter::default());
    let in_use = page.buckets.iter().filter(|bucket| is_active(bucket)).count();
    assert_eq!((active.windows, active.matching, active.page.buckets.len()), (9000, in_use, WINDOWS));
    assert_eq!(active.page.buckets[0].waiting, 1000);
    assert_eq!((active.page.buckets[0].callers.len(), active.page.buckets[1].threshold.used), (CALLERS, 30));
    let bytes = serde_json::to_string(&active).expect("JSON").len();
    assert!(bytes < 60_000, "{bytes}");

    let all = Event::of(&page, &Filter { all: true, search: String::new() });
    assert_eq!((all.matching, all.page.buckets.len()), (9000, WINDOWS));
    for (search, matching) in [("route-449", 20), ("caller-7", 1), ("nothing", 0)] {
        let found = Event::of(&page, &Filter { all: true, search: search.to_owned() });
        assert_eq!(found.matching, matching, "{search}");
    }
}
