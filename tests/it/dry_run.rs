//! `Gateway-Dry-Run: ?1`: everything is judged, nothing is sent.

use crate::support::{COURSE, Gateway, SHARE, Sandbox, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_tells_route_and_wait_and_sends_nothing() {
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
    }
    gateway.send(&dry.clone().form("erecnosList=[]")).await.problem(400, "invalid-payload");
    gateway.send(&put(COURSE).header("gateway-dry-run", "yes").form(SHARE)).await.problem(400, "invalid-payload");
    assert_eq!((zoho.requests().await.len(), zoho.token_calls().await), (0, 0));

    gateway.send(&put(COURSE).header("gateway-dry-run", "?0").form(SHARE)).await.is_zohos(200);
    let wait = gateway.send(&dry.form(SHARE)).await.json()["expected_wait_seconds"].as_f64().expect("a number");
    assert!((50.0..=60.0).contains(&wait), "{wait}");
    assert_eq!(zoho.requests().await.len(), 1);
}
