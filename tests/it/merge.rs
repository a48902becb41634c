//! Calls that wait and differ in their list only go to Zoho as one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Value, json};

use crate::support::{Answer, COURSE, Call, Gateway, HASH_OF_ONE, SHARE, Sandbox, Setup, all, put, until};

const API: &str = "PUT /api/v1/courses/{id}/share";
const ROUTE: &str = "people.lms.share-course";

/// `printf %s two | sha256sum`, and the same of "three".
const HASH_OF_TWO: &str = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
const HASH_OF_THREE: &str = "8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f";

/// A gateway whose shares merge, before a Zoho of so many calls in a window.
fn merging(zoho: &Sandbox, requests: u32, window: &str) -> Setup {
    Gateway::before(zoho)
        .route(ROUTE, "requests", requests)
        .route(ROUTE, "window", window)
        .route(ROUTE, "merge.parameter", "erecnosList")
        .route(ROUTE, "merge.max", 50)
}

fn zoho(requests: &str, window: &str) -> Sandbox {
    Sandbox::start(&["--requests", requests, "--window", window, "--lock", "60s"])
}

fn number(of: u64) -> String {
    (588_882_000_000_212_000 + of).to_string()
}

/// A share with one employee, whose caller waits long.
fn share(erecno: &str) -> Call {
    put(COURSE).header("prefer", "wait=900").form(format!("erecnosList=%5B{erecno}%5D"))
}

#[track_caller]
fn is_shared_with(answer: &Answer, erecnos: &[&str]) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    let users = body["sharedUsers"].as_array().expect("users").iter();
    assert_eq!(users.map(|user| &user["erecno"]).collect::<Vec<_>>(), erecnos, "{body}");
    assert_eq!((&body["code"], &body["message"]), (&json!("200"), &json!("success")));
}

fn is_merged(answer: &Answer) -> bool {
    answer.header("proxy-status") == Some("zoho-gateway; details=\"merged\"")
}

/// The numbers of each share that Zoho got.
async fn lists(zoho: &Sandbox) -> Vec<Vec<u64>> {
    let shares = zoho.requests().await.into_iter().filter(|seen| seen.method == "PUT");
    shares.map(|seen| list(&seen.body)).collect()
}

fn list(body: &str) -> Vec<u64> {
    let value = percent_encoding::percent_decode_str(body).decode_utf8().expect("UTF-8");
    let list = value.strip_prefix("erecnosList=").expect("a list alone");
    serde_json::from_str(list).expect("an array of numbers")
}

/// Thirty calls at once are single shares, because none of them waits. The next thirty carry fifty persons each, and the
/// last ones find the two numbers that Zoho does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifteen_hundred_shares_of_three_callers_take_two_windows() {
    // So long that 1,500 calls come well within a window on a slow machine too.
    let zoho = zoho("30", "16s");
    let gateway = merging(&zoho, 30, "16s")
        .set("callers.one.key_sha256", HASH_OF_ONE)
        .set("callers.two.key_sha256", HASH_OF_TWO)
        .set("callers.three.key_sha256", HASH_OF_THREE);
    let allow = |setup: Setup, name: &str| {
        setup.set(&format!("callers.{name}.accounts"), "main").set(&format!("callers.{name}.allow"), "*")
    };
    let gateway = ["one", "two", "three"].into_iter().fold(gateway, allow).start();
    let unknown = [number(700), number(1_200)];
    for erecno in &unknown {
        zoho.pull(&format!("unknown-employee?erecno={erecno}")).await;
    }
    let calls = (0..1_500).map(|of| {
        let key = ["one", "two", "three"][(of % 3) as usize];
        // Alone, ten windows would serve 300 of them.
        let share = put(COURSE).header("prefer", "wait=300").form(format!("erecnosList=%5B{}%5D", number(of)));
        share.header("authorization", &format!("Bearer {key}")).sending(gateway.address())
    });
    let answers = all(calls).await;

    for (of, answer) in (0..).zip(&answers) {
        let own = number(of);
        if unknown.contains(&own) {
            assert_eq!((answer.status, is_merged(answer)), (400, false), "{answer:?}");
            assert!(answer.text().contains("7204"), "Zoho's own answer");
        } else {
            is_shared_with(answer, &[&own]);
        }
    }
    let tally = zoho.tally(API).await;
    assert!(tally.most_in_any_window <= 30 && tally.locks == 0, "{tally:?}");
    // 30 alone, 30 of up to 50, and for each unknown number at most two on each of six levels.
    assert!(tally.arrivals <= 30 + 30 + 2 * 2 * 6, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_with_a_free_slot_do_not_merge() {
    let zoho = zoho("30", "60s");
    let gateway = merging(&zoho, 30, "60s").start();
    for (of, answer) in (0..).zip(all((0..30).map(|of| share(&number(of)).sending(gateway.address()))).await) {
        is_shared_with(&answer, &[&number(of)]);
        assert!(!is_merged(&answer));
    }
    assert!(lists(&zoho).await.iter().all(|list| list.len() == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_alone_is_the_same_as_without_merge() {
    let zoho = zoho("1", "1s");
    let plain = Gateway::before(&zoho).route(ROUTE, "requests", 1).route(ROUTE, "window", "1s").start();
    let sample = put(COURSE).header("prefer", "wait=30").header("accept-encoding", "gzip").form(SHARE);
    let expected = plain.send(&sample).await;
    let setup = plain.stop();
    let gateway = setup.route(ROUTE, "merge.parameter", "erecnosList").route(ROUTE, "merge.max", 50).start();
    // The first waits for the slot of the call before.
    for _ in 0..2 {
        let answer = gateway.send(&sample).await;
        assert_eq!((answer.status, &answer.body), (expected.status, &expected.body));
        let names = |answer: &Answer| answer.headers.keys().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(names(&answer), names(&expected));
    }
    let seen = zoho.requests().await;
    let bytes = |index: usize| {
        let mut headers = seen[index].headers.clone();
        headers.retain(|(name, _)| name != "authorization" && name != "x-request-id");
        (seen[index].target.clone(), headers, seen[index].body.clone())
    };
    assert_eq!((bytes(1), bytes(2)), (bytes(0), bytes(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_send_a_list_merges_with_its_like() {
    let zoho = zoho("1", "3s");
    let gateway = merging(&zoho, 1, "3s").start();
    gateway.send(&share(&number(0))).await.is_zohos(200);
    let query = |list: &str| put(&format!("{COURSE}?erecnosList={list}")).header("prefer", "wait=900");
    let quoted = |of: u64| format!("erecnosList=%5B%22{}%22%5D", number(of));
    let calls = [
        share(&number(1)),
        share(&number(2)),
        query(&format!("%5B{}%5D", number(3))),
        query(&format!("[{},+{}]", number(4), number(5))),
        put(COURSE).header("prefer", "wait=900").form(quoted(6)),
        put(COURSE).header("prefer", "wait=900").form(quoted(7)),
        put(&COURSE.replace("289003", "289004"))
            .header("prefer", "wait=900")
            .form(format!("erecnosList=[{}]", number(8))),
    ];
    let answers = all(calls.iter().map(|call| call.sending(gateway.address()))).await;
    let own = [&[1][..], &[2], &[3], &[4, 5], &[6], &[7], &[8]];
    for (answer, own) in answers.iter().zip(own) {
        let own: Vec<String> = own.iter().map(|of| number(*of)).collect();
        is_shared_with(answer, &own.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_eq!(answers.iter().map(is_merged).collect::<Vec<_>>(), [true, true, true, true, true, true, false]);
    let seen: Vec<_> = zoho.requests().await.into_iter().skip(1).collect();
    assert_eq!(seen.len(), 4, "{seen:#?}");
    let payloads: BTreeSet<String> = seen
        .iter()
        .map(|seen| seen.target.split_once('?').map_or_else(|| seen.body.clone(), |(_, query)| query.to_owned()))
        .collect();
    let either =
        |one: String, other: String| assert!(payloads.contains(&one) || payloads.contains(&other), "{payloads:?}");
    let (one, two) = (number(1), number(2));
    either(format!("erecnosList=%5B{one}%2C{two}%5D"), format!("erecnosList=%5B{two}%2C{one}%5D"));
    let (six, seven) = (number(6), number(7));
    either(
        format!("erecnosList=%5B%22{six}%22%2C%22{seven}%22%5D"),
        format!("erecnosList=%5B%22{seven}%22%2C%22{six}%22%5D"),
    );
    assert!(
        seen.iter().filter(|seen| seen.body.contains("%2C")).all(|seen| seen.header("accept-encoding") == ["identity"])
    );
    for course in ["289003", "289004"] {
        let all = seen.iter().filter(|seen| seen.target.contains(course));
        assert!(
            all.clone().count() > 0 && all.clone().all(|seen| (course == "289004") == seen.body.contains(&number(8)))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_numbers_make_the_next_calls_shorter() {
    let zoho = zoho("1", "1s");
    let gateway = merging(&zoho, 1, "1s").start();
    zoho.pull("most-employees?number=3").await;
    gateway.send(&share(&number(0))).await.is_zohos(200);
    for batch in 0..2 {
        let calls = (0..6).map(|of| share(&number(10 * batch + of)).sending(gateway.address()));
        for (of, answer) in (0..).zip(all(calls).await) {
            is_shared_with(&answer, &[&number(10 * batch + of)]);
        }
    }
    let lengths: Vec<usize> = lists(&zoho).await.iter().map(Vec::len).collect();
    assert_eq!(lengths, [1, 6, 3, 3, 3, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_and_forbidden_callers_do_not_merge() {
    let zoho = zoho("1", "2s");
    let gateway = merging(&zoho, 1, "2s")
        .same("accounts.other.client_id", "accounts.main.client_id")
        .same("accounts.other.client_secret", "accounts.main.client_secret")
        .set("accounts.other.refresh_token", "1000.sandbox.otherone")
        .same("accounts.other.endpoints.accounts", "accounts.main.endpoints.accounts")
        .same("accounts.other.endpoints.people", "accounts.main.endpoints.people")
        .same("accounts.other.endpoints.calendar", "accounts.main.endpoints.calendar")
        .set("callers.one.key_sha256", HASH_OF_ONE)
        .set("callers.one.accounts", json!(["main", "other"]))
        .set("callers.one.allow", "*")
        .set("callers.two.key_sha256", HASH_OF_TWO)
        .set("callers.two.accounts", json!(["main"]))
        .set("callers.two.allow", json!(["people.lms.get-*"]))
        .start();
    let call = |key: &str, account: &str, of: u64| {
        let call = share(&number(of)).header("authorization", &format!("Bearer {key}"));
        call.header("gateway-account", account)
    };
    for account in ["main", "other"] {
        gateway.send(&call("one", account, 0)).await.is_zohos(200);
    }
    let calls = [call("one", "main", 1), call("one", "other", 2), call("two", "main", 3)];
    let answers = all(calls.iter().map(|call| call.sending(gateway.address()))).await;
    is_shared_with(&answers[0], &[&number(1)]);
    is_shared_with(&answers[1], &[&number(2)]);
    answers[2].problem(403, "caller-forbidden");
    assert!(answers.iter().all(|answer| !is_merged(answer)));
    assert!(lists(&zoho).await.iter().all(|list| list.len() == 1));
}

/// The lines of the audit, by request id.
fn audited(path: &std::path::Path) -> BTreeMap<String, Vec<Value>> {
    let mut lines: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in fs::read_to_string(path).expect("the audit").lines() {
        let line: Value = serde_json::from_str(line).expect("a line");
        lines.entry(line["request_id"].as_str().expect("an id").to_owned()).or_default().push(line);
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_log_and_metrics_name_the_merged_call() {
    let zoho = zoho("1", "2s");
    let setup = merging(&zoho, 1, "2s");
    let file = setup.path("audit.jsonl");
    let gateway = setup.set("audit.file", file.to_str().unwrap()).start();
    let call = |id: &str, of: u64| share(&number(of)).header("x-request-id", id);
    gateway.send(&call("first", 0)).await.is_zohos(200);
    let answers = all([("a", 1), ("b", 2), ("c", 3)].map(|(id, of)| call(id, of).sending(gateway.address()))).await;
    assert!(answers.iter().all(is_merged));
    let lines = audited(&file);
    let leader = lines["a"][0]["merged_into"].as_str().expect("a merged call").to_owned();
    assert!(["a", "b", "c"].contains(&&*leader));
    for id in ["a", "b", "c"] {
        let [sending, outcome] = &lines[id][..] else { panic!("{:?}", lines[id]) };
        assert_eq!((&sending["message"], &sending["attempt"]), (&json!("sending"), &json!(1)));
        assert_eq!(
            (&outcome["verdict"], &outcome["status"], &outcome["attempts"]),
            (&json!("executed"), &json!(200), &json!(1))
        );
        assert_eq!((&sending["merged_into"], &outcome["merged_into"]), (&json!(leader), &json!(leader)));
    }
    assert_eq!(lines["first"].iter().filter(|line| line.get("merged_into").is_some()).count(), 0);
    let metric = format!("zoho_gateway_merged_calls_total{{account=\"main\",route=\"{ROUTE}\"}} 2");
    assert!(gateway.has_metric(&metric).await);
    let answered =
        |line: &str| line.contains("\"answered\"") && line.contains(&format!("\"merged_into\":\"{leader}\""));
    until("three lines of the log", async || gateway.process().log().iter().filter(|line| answered(line)).count() == 3)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lock_the_calls_merge_again() {
    let zoho = zoho("1", "2s");
    let gateway = merging(&zoho, 1, "2s").route(ROUTE, "lock", "3s").start();
    gateway.send(&share(&number(0))).await.is_zohos(200);
    zoho.lock(API, 3.0).await;
    three_are_sent_again(&zoho, &gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_dead_token_the_calls_merge_again() {
    let zoho = zoho("1", "2s");
    let gateway = merging(&zoho, 1, "2s").start();
    gateway.send(&share(&number(0))).await.is_zohos(200);
    zoho.pull("revoke-access-tokens").await;
    three_are_sent_again(&zoho, &gateway).await;
}

/// Three calls merge, and Zoho executes none of them at first.
async fn three_are_sent_again(zoho: &Sandbox, gateway: &Gateway) {
    let calls = (1..=3).map(|of| share(&number(of)).sending(gateway.address()));
    for (of, answer) in (1..).zip(all(calls).await) {
        is_shared_with(&answer, &[&number(of)]);
        assert!(is_merged(&answer));
    }
    let lengths: Vec<usize> = lists(zoho).await.iter().map(Vec::len).collect();
    assert_eq!(lengths, [1, 3, 3]);
}
