//! An accounts server that fails for a moment, throttles, or sends nonsense.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::support::{COURSE, Gateway, Reply, Sandbox, Upstream, get, until};

const ROUTE: &str = "people.lms.get-shared-users";
const GRANT: &str = r#"{"access_token":"1000.fake.token","token_type":"Bearer","expires_in":3600}"#;

/// A Zoho that answers the first `failures` token requests with `bad` and grants all later ones.
async fn zoho(failures: usize, bad: impl Fn() -> Reply + Send + Sync + 'static) -> Upstream {
    let asked = Arc::new(AtomicUsize::new(0));
    Upstream::bare(move |request| match request.line.starts_with("POST /oauth/v2/token") {
        true if asked.fetch_add(1, Ordering::SeqCst) < failures => bad(),
        true => Reply::json(200, GRANT),
        false => Reply::json(200, "{}"),
    })
    .await
}

fn passing_faults() -> Vec<Reply> {
    vec![
        Reply::json(500, r#"{"error":"Internal Server Error"}"#),
        Reply::json(503, r#"{"error":"service_unavailable"}"#),
        Reply::json(502, r#"{"error":"Bad Gateway","error_description":"x","status":"failure"}"#),
        Reply::json(200, r#"{"error":"internal_error"}"#),
        Reply::json(200, r#"{"error":"temporarily_unavailable"}"#),
        Reply::json(500, r#"{"error":"invalid_client"}"#),
        Reply::json(404, r#"{"error":"not_found"}"#),
        Reply::with(503, "Content-Type: text/html\r\n", b"<html>Service Unavailable</html>"),
        Reply::with(302, "Location: https://accounts.zoho.com/signin\r\n", b""),
        Reply::json(200, r#"{"access_token":null}"#),
        Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_".to_vec()),
    ]
}

/// One bad answer made the gateway reject every call of the account for ten minutes, also after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_recovers_from_one_bad_answer_in_a_moment() {
    for bad in passing_faults() {
        let reply = bad.clone();
        let zoho = zoho(1, move || reply.clone()).await;
        let gateway = Gateway::before_upstream(&zoho).route(ROUTE, "throttle", "off").start();
        let unwaiting = get(COURSE).header("prefer", "wait=0");
        gateway.send(&unwaiting).await.problem_of(502, "upstream-invalid-response", ROUTE);
        let check = gateway.admin("/readyz").await;
        assert_eq!(check.status, 200, "{bad:?}: {check:?}");
        until("a token is there", async || gateway.send(&unwaiting).await.status == 200).await;
        assert_eq!(zoho.token_calls(), 2, "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_caller_does_not_notice_one_bad_answer() {
    for bad in passing_faults().into_iter().take(4) {
        let zoho = zoho(1, move || bad.clone()).await;
        let gateway = Gateway::before_upstream(&zoho).start();
        gateway.send(&get(COURSE)).await.is_zohos(200);
        assert_eq!(zoho.token_calls(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_forgets_a_bad_answer() {
    for bad in passing_faults().into_iter().take(4) {
        let zoho = zoho(1, move || bad.clone()).await;
        let gateway = Gateway::before_upstream(&zoho).start();
        let unwaiting = get(COURSE).header("prefer", "wait=0");
        gateway.send(&unwaiting).await.problem_of(502, "upstream-invalid-response", ROUTE);
        let gateway = gateway.kill().start();
        assert_eq!(gateway.admin("/readyz").await.status, 200);
        gateway.send(&unwaiting).await.is_zohos(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_seconds_uses_few_token_requests() {
    let zoho = zoho(3, || Reply::json(500, r#"{"error":"Internal Server Error"}"#)).await;
    let gateway = Gateway::before_upstream(&zoho).route(ROUTE, "throttle", "off").start();
    let unwaiting = get(COURSE).header("prefer", "wait=0");
    until("the outage is over", async || gateway.send(&unwaiting).await.status == 200).await;
    assert_eq!(zoho.token_calls(), 4, "however many calls came meanwhile");
}

/// After a crash the gateway still takes rejected credentials for wrong. A person who stops and starts it may have
/// corrected them at Zoho.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_on_purpose_tries_rejected_credentials_again() {
    for (status, answer) in [
        (200, r#"{"error":"invalid_client_secret"}"#),
        (400, r#"{"error":"invalid_grant"}"#),
        (200, r#"{"error":"invalid_code"}"#),
    ] {
        let zoho = zoho(1, move || Reply::json(status, answer)).await;
        let gateway = Gateway::before_upstream(&zoho).start();
        gateway.send(&get(COURSE)).await.problem_of(503, "account-unauthorised", ROUTE);
        let gateway = gateway.kill().start();
        gateway.send(&get(COURSE)).await.problem_of(503, "account-unauthorised", ROUTE);
        assert_eq!(zoho.token_calls(), 1, "a crash sends no request");
        let gateway = gateway.stop().start();
        assert_eq!(gateway.admin("/readyz").await.status, 200, "callers may come and try");
        gateway.send(&get(COURSE)).await.is_zohos(200);
        assert_eq!(zoho.token_calls(), 2);
    }
}

/// The accounts server answered 429 with a page, and callers got 502.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_is_throttling_whatever_its_body() {
    let date = httpdate_in(200);
    for (fields, body, seconds) in [
        ("Retry-After: 120\r\n", "<html>Too Many Requests</html>", 100..=120),
        ("Retry-After: 120\r\n", "", 100..=120),
        ("Retry-After: 120\r\n", r#"{"error":"internal_error"}"#, 100..=120),
        (date.as_str(), "<html>", 150..=200),
        ("", "<html>", 590..=600),
        ("Retry-After: soon\r\n", "slow down", 590..=600),
        ("Retry-After: 99999999999999999999\r\n", "<html>", 3500..=3600),
    ] {
        let (head, text) = (fields.to_owned(), body.to_owned());
        let zoho = zoho(9, move || Reply::with(429, &head, text.as_bytes())).await;
        let gateway = Gateway::before_upstream(&zoho).start();
        for _ in 0..3 {
            let rejected = gateway.send(&get(COURSE)).await.problem_of(503, "token-throttled", ROUTE);
            let retry_after = rejected["retry_after"].as_u64().expect("seconds");
            assert!(seconds.contains(&retry_after), "{fields}{body}: {rejected}");
        }
        // A restart does not forget it.
        let gateway = gateway.kill().start();
        gateway.send(&get(COURSE)).await.problem_of(503, "token-throttled", ROUTE);
        assert_eq!(zoho.token_calls(), 1, "{fields}{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_holds_for_as_long_as_it_says() {
    let cut = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 90000\r\n\r\n<html>";
    let zoho = zoho(1, || Reply::Last(cut.to_vec())).await;
    let gateway = Gateway::before_upstream(&zoho).start();
    gateway.send(&get(COURSE)).await.problem_of(503, "token-throttled", ROUTE);
    until("the block is over", async || gateway.send(&get(COURSE)).await.status == 200).await;
    assert_eq!(zoho.token_calls(), 2);
}

fn httpdate_in(seconds: u64) -> String {
    let then = zoho_gateway::os::clock::wall() + std::time::Duration::from_secs(seconds);
    format!("Retry-After: {}\r\n", httpdate::fmt_http_date(then))
}

/// `expires_in: 0` cost a token request per call, and 503 after eight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_without_a_lifetime_serves_until_it_is_rejected() {
    for lifetime in [r#","expires_in":0"#, r#","expires_in":"-1""#, r#","expires_in":null"#, ""] {
        let zoho = Upstream::bare(move |request| match request.line.starts_with("POST /oauth/v2/token") {
            true => Reply::json(200, &format!(r#"{{"access_token":"1000.fake.token"{lifetime}}}"#)),
            false => Reply::json(200, "{}"),
        })
        .await;
        let gateway = Gateway::before_upstream(&zoho).start();
        for _ in 0..12 {
            gateway.send(&get(COURSE)).await.is_zohos(200);
        }
        assert_eq!(zoho.token_calls(), 1, "{lifetime}");
    }
}

/// `/readyz` showed 60 KB of text from the accounts server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_the_accounts_server_are_shortened_and_escaped() {
    let long = "x".repeat(60_000);
    let scopes = "ZOHOPEOPLE.forms.ALL ".repeat(390);
    for answer in [
        format!(r#"{{"error":"{long}"}}"#),
        format!(r#"{{"error":"Access Denied{long}","status":"failure","error_description":"{long}"}}"#),
        r#"{"error":"\u001b[2J\u001b[31mred\r\nX: y"}"#.to_owned(),
        format!(r#"{{"access_token":"1000.fake.token","scope":"{scopes}"}}"#),
        long.clone(),
    ] {
        let text = answer.clone();
        let zoho = zoho(99, move || Reply::json(200, &text)).await;
        let gateway = Gateway::before_upstream(&zoho).start();
        let unwaiting = get(COURSE).header("prefer", "wait=0");
        let rejected = gateway.send(&unwaiting).await.text();
        for page in [rejected, gateway.admin("/readyz").await.text(), gateway.process().log().join("\n")] {
            assert!(page.len() < 4_000 && !page.contains(&"x".repeat(100)), "{:.100}: {page:.2000}", answer);
            assert!(!page.contains('\u{1b}') && !page.contains("\\u001b"), "{page}");
        }
    }
}

/// A gateway in a crash loop asks once, if the accounts server rejects its login.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_sandbox_login_is_rejected_after_each_start() {
    let zoho = Sandbox::boundless();
    zoho.pull("revoke-refresh-tokens").await;
    let mut setup = Gateway::before(&zoho);
    for starts in 1..=3 {
        let gateway = setup.start();
        gateway.send(&get(COURSE)).await.problem_of(503, "account-unauthorised", ROUTE);
        setup = gateway.stop();
        assert_eq!(zoho.token_calls().await, starts, "each start sends one");
    }
}
