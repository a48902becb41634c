//! The sentences for pages with everything that a person has to find.

use serde_json::{Value, json};

use super::sentences::of;

/// A page on which nothing happens.
fn page() -> Value {
    json!({
        "at": "2026-11-30T08:25:48.000Z", "ready": true, "checks": {}, "state": "ok", "waiting": 0, "buckets": [],
        "gateway": {
            "version": "0.1.0", "name": "web-1 (process 7)", "process": 7, "started_seconds_ago": 7380.0,
            "draining": false,
            "in_flight": 0,
        },
        "accounts": [account("main")], "callers": [], "jobs": null, "refusals": [], "last_lock": null,
        "incidents": [], "shared": [],
    })
}

/// An account with a valid token.
fn account(name: &str) -> Value {
    json!({
        "account": name, "data_center": "us", "share": "1/1",
        "token": {
            "condition": "valid", "problem": null, "granted_seconds_ago": 840.0, "expires_in_seconds": 2750.0,
            "renews_in_seconds": 2400.0, "rejected_seconds_ago": null, "last_error": null,
            "next_request_in_seconds": null,
            "requests": { "requests": 10, "used": 1, "window_seconds": 600.0, "next_slot_in_seconds": 12.0 },
        },
    })
}

fn lock(seconds: f64, explanation: &str) -> Value {
    json!({
        "ends_in_seconds": seconds, "began_seconds_ago": 48.0, "cause": "external-use", "used": 4, "requests": 30,
        "explanation": explanation,
    })
}

fn bucket(route: &str) -> Value {
    json!({
        "account": "main", "route": route, "daily": null, "locked_for_seconds": null, "lock": null, "waiting": 0,
        "callers": [], "booked": 0, "bookings": [],
        "threshold": {
            "requests": 30, "window_seconds": 60.0, "used": 0, "remaining": 0, "next_slot_in_seconds": 7.0,
        },
        "next_call": null, "expected_wait_seconds": 7.0, "external_use": 0,
    })
}

/// A bucket in which three calls wait.
fn waiting_for(reason: &str) -> Value {
    let mut bucket = bucket("people.a");
    bucket["waiting"] = json!(3);
    bucket["callers"] = json!([{
        "caller": "payroll", "waiting": 2, "waited_seconds": 12.2, "first_in_seconds": 252.0, "last_in_seconds": 254.0,
    }]);
    bucket["next_call"] = json!({ "in_seconds": 252.0, "waits_for": reason });
    bucket["daily"] = json!({ "requests": 1000, "window_seconds": 86400.0, "used": 1000, "remaining": 0, "next_slot_in_seconds": 9.0 });
    bucket
}

fn member(gateway: &str, state: &str, silent: f64, holds: &Value) -> Value {
    json!({
        "id": gateway, "gateway": gateway, "this": gateway == "web-1", "state": state, "silent_seconds": silent,
        "gone_in_seconds": (state == "silent").then_some(60.0), "holds": holds, "waiting": [],
    })
}

fn holding(limit: &str, held: u32, in_use: u32, free: Option<f64>) -> Value {
    json!({ "limit": limit, "held": held, "in_use": in_use, "sealed": 0, "free_in_seconds": free })
}

/// A shared ledger of which this gateway alone knows its part.
fn unread() -> Value {
    json!({
        "account": "main",
        "own": {
            "gateway": "web-1", "member": "1.1", "epoch": "e", "lease_left_seconds": 3.0, "failure": null,
            "holds": [holding("people.a", 10, 4, None)],
            "shut": [{ "limit": "people.b", "slots": 30, "for_seconds": 12.0 }],
        },
        "record": null,
        "record_missing": "Redis has not answered yet",
    })
}

fn sentences(page: &Value) -> String {
    of(&page.to_string()).expect("a page")
}

#[test]
fn an_idle_gateway() {
    let expected = "\
Status at 2026-11-30T08:25:48.000Z: zoho-gateway 0.1.0 on web-1 (process 7), up for 2 h 3 min.
State: ok.
No call waits.
No route is locked.
Login main works: its token is 14 min old and expires at 09:11:38Z (45 min 50 s); 1 of 10 token requests used in 10 min.
";
    assert_eq!(sentences(&page()), expected);
}

#[test]
fn a_reload_that_left_something_to_do() {
    let reload = |outcome: &str, needs_restart: &[&str], errors: &[&str]| {
        let mut page = page();
        page["reload"] = json!({
            "at": "2026-11-30T08:20:00Z", "trigger": "file", "outcome": outcome, "changed": needs_restart,
            "needs_restart": needs_restart, "errors": errors,
        });
        sentences(&page)
    };
    let text = reload("refused", &[], &["gateway.toml:3:1: queue.max_wat: unknown key", "another"]);
    assert!(text.contains(
        "The reload of 2026-11-30T08:20:00Z was refused, the configuration before holds: gateway.toml:3:1: queue.max_wat: unknown key (and 1 more mistake)\n"
    ), "{text}");
    assert!(reload("applied", &["proxy.listen"], &[]).contains("The old values hold until a restart: proxy.listen.\n"));
    assert_eq!(reload("applied", &[], &[]), sentences(&page()));
}

#[test]
fn what_waits_why_until_when_and_for_whom() {
    for (reason, why) in [
        ("slot", "The threshold (30 per 1 min) is used up; the next call goes at 08:30:00Z (4 min 12 s)."),
        ("lock", "Zoho has locked the route; the next call goes at 08:30:00Z (4 min 12 s)."),
        ("daily-limit", "The daily limit (1000 per 1 d) is used up; the next call goes at 08:30:00Z (4 min 12 s)."),
        (
            "answer",
            "The threshold (30 per 1 min) is used up; the next call goes when an answer has come, at about 08:30:00Z \
             (4 min 12 s).",
        ),
        ("state", "They wait until the state can be used."),
    ] {
        let mut page = page();
        (page["waiting"], page["buckets"]) = (json!(4), json!([bucket("people.b"), waiting_for(reason)]));
        let text = sentences(&page);
        let line = format!(
            "  people.a: 3 calls (2 of payroll for up to 12 s, the last until 08:30:02Z (4 min 14 s), 1 to be sent again). {why}\n"
        );
        assert!(
            text.contains(&format!("4 calls wait:\n{line}  1 token request to Zoho's accounts server\n")),
            "{text}"
        );
    }
}

#[test]
fn a_lock_has_its_end_its_cause_and_who_waits() {
    let mut page = page();
    let mut locked = bucket("people.lms.share-course");
    locked["lock"] = lock(252.0, "Zoho refused a call while we had sent 4 of 30, so another program uses this login");
    locked["waiting"] = json!(1);
    locked["callers"] = json!([{
        "caller": "course-sync", "waiting": 1, "waited_seconds": 48.0, "first_in_seconds": 252.0, "last_in_seconds": null,
    }]);
    page["buckets"] = json!([locked]);
    let expected = "\
Zoho has locked 1 route:
  people.lms.share-course is locked until 08:30:00Z (4 min 12 s): Zoho refused a call while we had sent 4 of 30, so \
                    another program uses this login; 1 call of course-sync waits
  When a lock ends, one call goes alone, and the others follow if Zoho accepts it.
";
    assert!(sentences(&page).contains(expected), "{}", sentences(&page));
    page["accounts"] = json!([account("main"), account("other")]);
    let several = "people.lms.share-course of account main is locked until";
    assert!(sentences(&page).contains(several), "{}", sentences(&page));
}

#[test]
fn failures_and_external_use() {
    let mut page = page();
    page["state"] = json!("state-unavailable: Redis has not answered");
    page["checks"] = json!({ "listener": "ok", "issuer cluster": "no keys yet" });
    page["incidents"] = json!([{}, { "at": "2026-11-24T22:31:07Z", "account": "main", "route": "people.a" }]);
    let text = sentences(&page);
    for line in [
        "State: state-unavailable: Redis has not answered. No call is sent until this is over.",
        "issuer cluster: no keys yet.",
        "Another client used an account 2 times, at last at 2026-11-24T22:31:07Z: main, people.a; --json has the calls.",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn what_was_sent_before_the_last_lock_and_what_was_refused() {
    let mut page = page();
    page["last_lock"] = json!({
        "account": "main", "route": "people.a", "seconds_ago": 348.0, "lasts_seconds": 300.0, "cause": "external-use",
        "used": 4, "requests": 30, "window_seconds": 60.0, "by_caller": [{ "caller": "payroll", "calls": 4 }],
        "calls": [], "calls_are_complete": true, "explanation": "another program uses this login",
    });
    page["refusals"] = json!([{
        "seconds_ago": 8.0, "request_id": "1", "method": "PUT", "caller": "payroll", "account": "main",
        "route": "people.a", "status": 429, "problem": "threshold-saturated", "detail": "no slot in time",
    }]);
    page["jobs"] = json!({ "states": { "queued": 2, "done": 0 }, "failure": null });
    let text = sentences(&page);
    for line in [
        "The last lock: people.a at 08:20:00Z (5 min 48 s ago) for 5 min: another program uses this login. Our calls in \
         the 1 min before: 4 of payroll.\n",
        "The last refusals, newest first:\n  08:25:40Z (8 s ago): a PUT of payroll, people.a: threshold-saturated: no \
         slot in time\n",
        "Jobs: 2 queued.\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_dead_login_says_since_when_and_why() {
    let mut page = page();
    let token = &mut page["accounts"][0]["token"];
    (token["condition"], token["problem"]) = (json!("rejected"), json!("account-unauthorised: Zoho says invalid_code"));
    token["rejected_seconds_ago"] = json!(48.0);
    let line = "Login main is dead since 08:25:00Z (48 s ago), so no call is sent with it until a person corrects it: \
                account-unauthorised: Zoho says invalid_code; 1 of 10 token requests used in 10 min.\n";
    assert!(sentences(&page).contains(line), "{}", sentences(&page));
    let token = &mut page["accounts"][0]["token"];
    (token["condition"], token["next_request_in_seconds"]) = (json!("failing"), json!(12.0));
    assert!(sentences(&page).contains("it tries again at 08:26:00Z (12 s)"), "{}", sentences(&page));
}

#[test]
fn each_member_with_what_it_holds_and_until_when() {
    let mut page = page();
    let mut waits =
        member("web-1", "live", 0.3, &json!([holding("people.a", 10, 4, None), holding("people.b", 5, 0, None)]));
    waits["waiting"] = json!([{ "route": "people.a", "caller": "payroll", "calls": 2 }]);
    let mut silent = member("web-3", "silent", 12.0, &json!([holding("people.a", 4, 4, Some(120.0))]));
    silent["holds"][0]["sealed"] = json!(7);
    let mut shared = unread();
    shared["record"] = json!({
        "epoch": "e", "age_seconds": 7380.0, "gone_after_seconds": 75.75,
        "members": [
            waits,
            silent,
            member("web-4", "gone", 100.0, &json!([holding("people.a", 1, 0, Some(30.0))])),
            member("web-5", "left", 20.0, &json!([])),
        ],
        "shut": [{ "limit": "people.a", "slots": 15, "for_seconds": 252.0 }],
        "locks": [
            { "route": "people.a", "reason": "zoho", "for_seconds": 252.0, "probe": null },
            { "route": "people.b", "reason": "zoho", "for_seconds": 0.0, "probe": "web-1" },
            { "route": "people.c", "reason": "new-epoch", "for_seconds": 0.0, "probe": null },
            { "route": "people.d", "reason": "member-gone", "for_seconds": 0.0, "probe": null },
        ],
    });
    page["shared"] = json!([shared]);
    let text = sentences(&page);
    let expected = "
Shared ledger of account main: 4 gateways, epoch of 2 h 3 min.
  web-1, this gateway: live. It holds 15 slots, of 2 limits.
    people.a: 4 in use of 10 held
    people.a: 2 calls of payroll in the queue
  web-3: silent for 12 s. It counts as gone at 08:26:48Z (1 min), unless it speaks before. It holds 4 slots and 7 in reserve, of 1 limit.
    people.a: 4 slots, free at 08:27:48Z (2 min)
  web-4: gone, silent for 1 min 40 s. It holds 1 slot, of 1 limit.
    people.a: 1 slot, free at 08:26:18Z (30 s)
  web-5: stopped 20 s ago. It holds no slot.
  Shut, because gateways that are not in the record may use them:
    people.a: 15 slots until 08:30:00Z (4 min 12 s)
  Locks:
    people.a: locked by Zoho until 08:30:00Z (4 min 12 s), then one call goes alone
    people.b: a call of web-1 goes alone first, because Zoho's lock has ended
    people.c: one call goes alone first, because the epoch is new
    people.d: one call goes alone first, because a gateway is gone
";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn what_the_gateway_alone_knows() {
    let mut page = page();
    page["shared"] = json!([unread()]);
    let expected = "
Shared ledger of account main: Redis has not answered yet. This gateway alone knows:
  web-1: it may send calls until 08:25:51Z (3 s) without Redis. It holds 10 slots, of 1 limit.
    people.a: 4 in use of 10 held
  Shut, because gateways that are not in the record may use them:
    people.b: 30 slots until 08:26:00Z (12 s)
";
    assert!(sentences(&page).ends_with(expected), "{}", sentences(&page));
    page["shared"][0]["own"]["lease_left_seconds"] = json!(0.0);
    assert!(sentences(&page).contains("web-1: it sends nothing without Redis."), "{}", sentences(&page));
}

#[test]
fn a_long_list_is_cut() {
    let mut page = page();
    let mut locked = bucket("people.a");
    locked["lock"] = lock(252.0, "another program uses this login");
    page["buckets"] = json!(vec![locked; 450]);
    let text = sentences(&page);
    assert!(text.lines().count() < 30 && text.contains("and 430 more; --json has all"), "{text}");
}

#[test]
fn another_page_is_an_error() {
    for text in ["", "{}", "[]", "<html>"] {
        assert!(of(text).is_err(), "{text}");
    }
}
