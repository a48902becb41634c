//! `zoho-gateway report`: what Zoho's answers suggest about the catalogue.

use crate::support::{Call, Gateway, Process, Reply, Upstream};

const CASE: &str = "/people/api/hrcases/addcase";
const SHARE: &str = "people.lms.share-course";

/// Rejects one payload, and locks shares from the third on.
async fn zoho() -> Upstream {
    let shares = std::sync::atomic::AtomicUsize::new(0);
    Upstream::start(move |request| {
        if request.line.contains("hrcases") {
            return Reply::json(400, r#"{"response":{"errors":{"code":7052,"message":"personal"},"status":1}}"#);
        }
        match shares.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 | 1 => Reply::json(200, r#"{"code":"200"}"#),
            _ => Reply::json(200, r#"{"response":{"errors":{"code":7209,"message":"x"},"status":1}}"#),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_payloads_and_early_locks_are_reported_without_what_they_hold() {
    let upstream = zoho().await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let case = |subject: &str| Call::new("POST", &format!("{CASE}?categoryId=1&subject={subject}"));
    for _ in 0..3 {
        gateway.send(&case("secret-subject")).await.is_zohos(400);
    }
    // What the rules reject is not Zoho's rejection.
    gateway.send(&Call::new("POST", CASE)).await.problem(400, "invalid-payload");
    let share = || Call::new("PUT", "/people/api/v1/courses/1/share").form("erecnosList=[1]");
    for _ in 0..2 {
        gateway.send(&share()).await.is_zohos(200);
    }
    gateway.send(&share()).await.problem_of(429, "threshold-locked", SHARE);

    assert!(
        gateway
            .has_metric(r#"zoho_gateway_rejected_payloads_total{route="people.cases.add-case",code="7052"} 3"#)
            .await
    );
    let text = Process::run(&["report", "--admin", &gateway.admin_url()], &[]).succeeded();
    assert!(text.contains("people.cases.add-case: 7052 3 times") && text.contains("worth a rule"), "{text}");
    let locked = "people.lms.share-course: 30 per 60 s by the catalogue; up to 2 were answered in one window; locked once, with as few as 3 calls";
    assert!(text.contains(locked), "{text}");
    for secret in ["secret-subject", "personal", "main"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let json = Process::run(&["report", "--json", "--admin", &gateway.admin_url()], &[]).succeeded();
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["limits"][0]["fewest_before_lock"], 3, "{report}");
    assert_eq!(report["payloads"][0]["times"], 3, "{report}");
}

/// In a gateway that only reports, Zoho's rejection of a payload that breaks a rule teaches nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_breaks_a_rule_is_no_lesson() {
    let upstream = zoho().await;
    let gateway = Gateway::before_upstream(&upstream).set("routing.validate", "report").start();
    gateway.send(&Call::new("POST", CASE)).await.is_zohos(400);
    let text = Process::run(&["report", "--admin", &gateway.admin_url()], &[]).succeeded();
    assert!(text.contains("the rules accepted them:\n  none\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_threshold_that_is_used_up_without_a_lock_holds() {
    let upstream = Upstream::start(|_| Reply::json(200, r#"{"code":"200"}"#)).await;
    let setup = Gateway::before_upstream(&upstream).route(SHARE, "requests", 4).route(SHARE, "window", "2s");
    let gateway = setup.start();
    for _ in 0..8 {
        gateway.send(&Call::new("PUT", "/people/api/v1/courses/1/share").form("erecnosList=[1]")).await.is_zohos(200);
    }
    let text = Process::run(&["report", "--admin", &gateway.admin_url()], &[]).succeeded();
    assert!(text.contains("4 per 2 s by the configuration; up to 4 were answered in one window, in "), "{text}");
    assert!(text.contains("8 within five minutes"), "{text}");
}
