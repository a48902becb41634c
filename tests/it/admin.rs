//! The admin listener: probes and metrics, which the proxy listener does not have.

use serde_json::json;

use crate::support::{COURSE, Call, Gateway, Sandbox, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_report_liveness_and_each_readiness_check() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let live = gateway.admin("/livez").await;
    assert_eq!((live.status, live.header("content-type")), (200, Some("application/json")));
    let ready = gateway.admin("/readyz").await;
    let expected = json!({ "status": "ready", "checks": { "listener": "ok", "state": "ok", "account main": "ok" } });
    assert_eq!((ready.status, ready.json()), (200, expected));
    assert_eq!(ready.header("cache-control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_account_is_live_but_not_ready() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).set("accounts.main.client_id", "1000.SOMEBODY").start();
    gateway.send(&get(COURSE)).await.problem(503, "account-unauthorised");
    let ready = gateway.admin("/readyz").await;
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("not ready")));
    let check = ready.json()["checks"]["account main"].to_string();
    assert!(check.contains("invalid_client"), "{check}");
    assert_eq!(gateway.admin("/livez").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_calls_problems_and_token_requests() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    gateway.send(&get(&format!("{COURSE}?startIndex=x"))).await.problem(400, "invalid-payload");
    let page = gateway.admin("/metrics").await;
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{page:?}");
    let text = page.text();
    let route = "account=\"main\",route=\"people.lms.get-shared-users\"";
    for line in [
        format!("zoho_gateway_requests_total{{{route},status=\"200\"}} 1"),
        format!("zoho_gateway_requests_total{{{route},status=\"400\"}} 1"),
        "zoho_gateway_refusals_total{problem=\"invalid-payload\"} 1".to_owned(),
        "zoho_gateway_token_requests_total{account=\"main\",outcome=\"granted\"} 1".to_owned(),
        "zoho_gateway_waiting 0".to_owned(),
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    let is_ours = |line: &str| line.contains("zoho_gateway_") || line.contains("process_");
    assert!(!text.contains("# EOF") && text.lines().all(is_ours), "{text}");

    let asked = get("/metrics").header("accept", "application/openmetrics-text; version=1.0.0");
    let page = asked.send(gateway.admin_address()).await;
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(page.text().ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_other_paths_and_methods() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    assert_eq!(gateway.admin("/nothing").await.status, 404);
    assert_eq!(gateway.admin(COURSE).await.status, 404);
    let posted = Call::new("POST", "/metrics").send(gateway.admin_address()).await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    for page in ["/livez", "/readyz", "/metrics"] {
        gateway.send(&get(page)).await.problem(404, "unknown-route");
    }
    assert_eq!(zoho.requests().await, []);
}
