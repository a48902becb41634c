//! `Gateway-Dry-Run: ?1`: the gateway checks everything and sends nothing.

use crate::support::{COURSE, Call, Gateway, SHARE, Sandbox, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_returns_route_and_wait_and_sends_nothing() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route("people.lms.share-course", "requests", 1).start();
    let dry = put(COURSE).header("gateway-dry-run", "?1");
    for _ in 0..3 {
        let answer = gateway.send(&dry.clone().form(SHARE)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("proxy-status").is_some_and(|status| status.starts_with("zoho-gateway;")), "{answer:?}");
        let body = answer.json();
        assert_eq!((&body["route"], &body["account"]), (&"people.lms.share-course".into(), &"main".into()), "{body}");
        assert_eq!(body["expected_wait_seconds"], 0.0, "no slot was spent: {body}");
        assert_eq!((&body["verdict"], body.get("problem")), (&"valid".into(), None), "{body}");
    }
    gateway.send(&dry.clone().form("erecnosList=[]")).await.problem(400, "invalid-payload");
    gateway.send(&put(COURSE).header("gateway-dry-run", "yes").form(SHARE)).await.problem(400, "invalid-payload");
    assert_eq!((zoho.requests().await.len(), zoho.token_calls().await), (0, 0));

    gateway.send(&put(COURSE).header("gateway-dry-run", "?0").form(SHARE)).await.is_zohos(200);
    let wait = gateway.send(&dry.form(SHARE)).await.json()["expected_wait_seconds"].as_f64().expect("a number");
    assert!((50.0..=60.0).contains(&wait), "{wait}");
    assert_eq!(zoho.requests().await.len(), 1);
}

/// Compares the dry run of a call with the call itself.
async fn predicts(gateway: &Gateway, call: &Call, name: &str) -> f64 {
    let asked =
        gateway.send(&call.clone().header("gateway-dry-run", "?1;why=test").header("x-request-id", "same")).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    let asked = asked.json();
    assert_eq!(asked["verdict"], "refused", "{asked}");
    let rejected = gateway.send(&call.clone().header("x-request-id", "same")).await.problem(429, name);
    let mut predicted = asked["problem"].clone();
    // A second may have begun between the two.
    for key in ["retry_after", "expected_wait", "detail"] {
        let value = &rejected[key];
        assert!(predicted[key].is_number() || predicted[key].is_string() || value.is_null(), "{asked}");
        if value.is_null() {
            continue;
        }
        predicted[key] = value.clone();
    }
    assert_eq!(predicted, rejected);
    asked["expected_wait_seconds"].as_f64().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_names_the_problem_of_a_call() {
    let zoho = Sandbox::start(&["--requests", "100000", "--lock-answer", "200"]);
    let gateway = Gateway::before(&zoho).route("people.lms.share-course", "requests", 1).start();
    let call = put(COURSE).form(SHARE);
    gateway.send(&call).await.is_zohos(200);
    let wait = predicts(&gateway, &call.clone().header("prefer", "wait=5"), "threshold-saturated").await;
    assert!((50.0..=60.0).contains(&wait), "{wait}");
    // Who would wait long enough would be served: in the turn of the refused call if its connection is seen closed by now,
    // otherwise after it.
    let patient = call.clone().header("prefer", "wait=150").header("gateway-dry-run", "?1");
    assert_eq!(gateway.send(&patient).await.json()["verdict"], "valid");
    assert_eq!(zoho.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_reports_a_lock() {
    let zoho = Sandbox::start(&["--requests", "100000", "--lock-answer", "200"]);
    let gateway = Gateway::before(&zoho).start();
    zoho.lock("PUT /api/v1/courses/{id}/share", 300.0).await;
    let call = put(COURSE).form(SHARE);
    gateway.send(&call).await.problem(429, "threshold-locked");
    let wait = predicts(&gateway, &call, "threshold-locked").await;
    assert!((290.0..=300.0).contains(&wait), "{wait}");
    assert_eq!(zoho.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_not_a_boolean_is_rejected() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let call = put(COURSE).form(SHARE);
    for value in ["", "1", "true", "?2", "?1, ?1", "?1;", "(?1)"] {
        let answer = gateway.send(&call.clone().header("gateway-dry-run", value)).await;
        let body = answer.problem_of(400, "invalid-payload", "people.lms.share-course");
        assert_eq!(body["errors"][0]["parameter"], "Gateway-Dry-Run", "{value}");
    }
    let twice = call.clone().header("gateway-dry-run", "?1").header("gateway-dry-run", "?1");
    gateway.send(&twice).await.problem(400, "invalid-payload");
    assert_eq!(zoho.requests().await, []);
    gateway.send(&call.header("gateway-dry-run", "?0;x")).await.is_zohos(200);
}
