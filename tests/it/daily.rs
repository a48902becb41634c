//! An account's limit per 24 hours, over all its People calls together.

use crate::support::{Answer, CALENDAR, COURSE, Call, Gateway, Reply, SHARE, SHARE_DATA, Sandbox, Upstream, get, put};

const GET: &str = "people.lms.get-shared-users";
const PUT: &str = "people.lms.share-course";

fn share() -> Call {
    put(COURSE).form(SHARE)
}

/// Checks that the limit of the day rejects the call, not that of the minute.
#[track_caller]
fn is_spent(answer: &Answer, route: &str) {
    let body = answer.problem_of(429, "threshold-saturated", route);
    // A day from now; after a kill the grace period of unanswered calls is added.
    assert!(body["retry_after"].as_u64().is_some_and(|seconds| (86_000..=86_405).contains(&seconds)), "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("daily_calls")), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_routes_share_the_daily_limit_without_calendar() {
    let zoho = Sandbox::start(&["--token-requests", "1000"]);
    let gateway = Gateway::before(&zoho).set("accounts.main.daily_calls", 5).start();
    for (left, call) in [get(COURSE), share(), get(COURSE), share(), get(COURSE)].iter().enumerate() {
        let answer = gateway.send(call).await;
        answer.is_zohos(200);
        let policy = answer.header("ratelimit-policy").expect("a policy");
        assert!(policy.ends_with(";q=30;w=60, \"daily-calls\";q=5;w=86400"), "{policy}");
        let limit = answer.header("ratelimit").expect("a limit");
        assert!(limit.contains(&format!(", \"daily-calls\";r={};t=", 4 - left)), "{limit}");
    }
    is_spent(&gateway.send(&get(COURSE)).await, GET);
    is_spent(&gateway.send(&share().header("prefer", "wait=3600")).await, PUT);

    let answer = gateway.send(&put(&format!("{CALENDAR}{SHARE_DATA}"))).await;
    answer.is_zohos(200);
    assert!(!answer.header("ratelimit-policy").is_some_and(|policy| policy.contains("daily-calls")), "{answer:?}");

    let gateway = gateway.kill().start();
    is_spent(&gateway.send(&share()).await, PUT);
    is_spent(&gateway.send(&get(COURSE)).await, GET);
    assert_eq!(zoho.requests().await.len(), 6, "five of People, one of Calendar");
}

/// The call in progress at the kill counts, and the calls after it are served until the daily limit is used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daily_limit_survives_a_kill_with_a_call_in_progress() {
    let upstream = Upstream::start(|request| match request.line.contains("startIndex=7") {
        true => Reply::Never,
        false => Reply::json(200, "{}"),
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).set("accounts.main.daily_calls", 5).start();
    let (call, address) = (get(&format!("{COURSE}?startIndex=7")), gateway.address().to_owned());
    let on_its_way = tokio::spawn(async move { call.attempt(&address).await.is_none() });
    upstream.until_received(1).await;
    let gateway = gateway.kill().start();
    assert!(on_its_way.await.expect("no panic"), "it had no answer");
    for call in [get(COURSE), share(), get(COURSE), share()] {
        gateway.send(&call).await.is_zohos(200);
    }
    is_spent(&gateway.send(&share()).await, PUT);
    assert_eq!(upstream.received().len(), 5);
}
