//! The problems that the gateway itself makes, by the rows of the interface's table.
//!
//! `problem` and `problem_of` check the common form of each answer: RFC 9457's body, the request's id as instance,
//! `Proxy-Status`, and `Retry-After` on every 429 and 503. Of the other rows, `caller-*` are in `callers.rs` and
//! `jwt.rs`, `threshold-locked` in `locks.rs`, `state-unavailable` in `restarts.rs`, `shutting-down` in `drain.rs`, the
//! errors of Zoho's side in `upstream_faults.rs`; malformed HTTP is in `hostile.rs`.

use serde_json::json;

use crate::support::{
    COURSE, Call, Gateway, Reply, SHARE, Sandbox, Upstream, all, exchange_half, get, node, put, python, shell,
};

const SHARED_USERS: &str = "people.lms.get-shared-users";
const SHARE_COURSE: &str = "people.lms.share-course";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_payload_is_rejected_with_all_its_faults() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let answer = gateway.send(&put(COURSE).form("erecnosList=[1.5,\"x\"]")).await;
    let body = answer.problem_of(400, "invalid-payload", SHARE_COURSE);
    let pointers: Vec<_> = body["errors"].as_array().expect("errors").iter().map(|fault| &fault["pointer"]).collect();
    assert_eq!(pointers, ["/0", "/1"], "{body}");
    assert_eq!(
        answer.header("proxy-status"),
        Some("zoho-gateway; error=http_request_error; details=\"invalid-payload\"")
    );
    // No slot is in use: the next call uses the first one.
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
    assert_eq!(zoho.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ambiguous_path_is_rejected() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    for path in ["courses/../courses/1/share", "courses/1%2fshare", "courses//share", "courses/1;x/share", "%"] {
        gateway.send(&get(&format!("/people/api/v1/{path}"))).await.problem(400, "invalid-payload");
    }
    assert_eq!(zoho.requests().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_a_clear_end_is_rejected() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for (rest, problem) in [
        // The caller sends no more but still listens.
        ("Content-Length: 30\r\n\r\nerecnosList=".to_owned(), "invalid-payload"),
        (format!("{chunked}6\r\nerecno"), "invalid-payload"),
        (format!("{chunked}6\r\nerecno\r\n"), "invalid-payload"),
        // The chunk size is not a number.
        (format!("{chunked}nonsense\r\n"), "malformed-request"),
    ] {
        let request = format!("PUT {COURSE} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n{rest}");
        let answer = exchange_half(gateway.address(), request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{rest}: {answer}");
        assert!(answer.contains(&format!("urn:zoho-gateway:problem:{problem}\"")), "{rest}: {answer}");
    }
    assert_eq!(zoho.requests().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_route_is_rejected_if_the_configuration_says_so() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).set("routing.unknown", "deny").start();
    for call in [get("/people/api/v9/nothing"), Call::new("MOVE", COURSE), get("/calendar/api/v1/nothing")] {
        let body = gateway.send(&call).await.problem(404, "unknown-route");
        assert_eq!(body["account"], "main", "{body}");
    }
    gateway.send(&get(COURSE)).await.is_zohos(200);
    assert_eq!(zoho.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_account_is_rejected() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let answer = gateway.send(&get(COURSE).header("gateway-account", "nobody")).await;
    answer.problem(404, "unknown-account");
    gateway.send(&get(COURSE).header("gateway-account", "main")).await.is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_too_large_is_rejected_before_it_is_sent() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).set("proxy.max_body", "100KiB").start();
    let body = vec![b'x'; 100 * 1024 + 1];
    let streamed = Call::new("POST", "/people/api/files/uploadFile").body(body.clone());
    for call in [put(COURSE).form(body.clone()), put(COURSE).form(body).chunked(), streamed] {
        let rejected = gateway.send(&call).await.problem(413, "body-too-large");
        assert!(rejected["route"].is_string() && rejected["account"] == "main", "{rejected}");
    }
    // With an unread body the connection ends, and the answer says so.
    let unread = Call::new("POST", "/nowhere").body(vec![b'x'; 90 * 1024]);
    assert_eq!(gateway.send(&unread).await.header("connection"), Some("close"));
    assert_eq!(zoho.requests().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_body_that_grows_too_large_is_cut_off() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).set("proxy.max_body", "100KiB").start();
    let call = Call::new("POST", "/people/api/files/uploadFile").body(vec![b'x'; 300 * 1024]).chunked();
    gateway.send(&call).await.problem(413, "body-too-large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saturated_threshold_is_reported_at_once() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route(SHARED_USERS, "requests", 1).set("queue.max_wait", "2s").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    // On one connection, so that each is the same call that comes again.
    let mut connection = gateway.connect().await;
    for call in [get(COURSE), get(COURSE).header("prefer", "wait=0"), get(COURSE).header("prefer", "wait=50")] {
        let answer = connection.send(&call).await;
        let body = answer.problem_of(429, "threshold-saturated", SHARED_USERS);
        assert!((55..=60).contains(&body["retry_after"].as_u64().unwrap_or_default()), "{body}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"people.lms.get-shared-users\";q=1;w=60"));
    }
    assert_eq!(zoho.requests().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_reported_at_once() {
    let zoho = Sandbox::boundless();
    let setup = Gateway::before(&zoho).route(SHARED_USERS, "requests", 1).set("queue.max_waiting", 1);
    let gateway = setup.set("queue.max_wait", "5m").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let waiting = tokio::spawn(get(COURSE).sending(gateway.address()));
    gateway.until_waiting(1).await;
    gateway.send(&get(COURSE)).await.problem_of(429, "queue-full", SHARED_USERS);
    // A caller that leaves frees its position in the queue.
    waiting.abort();
    gateway.until_waiting(0).await;
    let next = tokio::spawn(get(COURSE).sending(gateway.address()));
    gateway.until_waiting(1).await;
    next.abort();
    gateway.until_waiting(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_account_costs_one_token_call_for_all_callers() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).set("accounts.main.client_secret", "a-secret-that-is-wrong").start();
    let answers = all((0..20).map(|_| get(COURSE).sending(gateway.address()))).await;
    for answer in answers {
        let body = answer.problem_of(503, "account-unauthorised", SHARED_USERS);
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("invalid_client_secret")), "{body}");
    }
    gateway.send(&get(COURSE)).await.problem(503, "account-unauthorised");
    assert_eq!(zoho.token_calls().await, 1);
    assert_eq!(zoho.requests().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_account_is_reported_from_the_first_dead_token_on() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    zoho.pull("revoke-refresh-tokens").await;
    for _ in 0..3 {
        gateway.send(&get(COURSE)).await.problem_of(503, "account-unauthorised", SHARED_USERS);
    }
    assert_eq!(zoho.token_calls().await, 2);
    assert_eq!(gateway.admin("/readyz").await.status, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_token_endpoint_gets_no_further_calls() {
    let words = "You have made too many requests continuously. Please try again after some time.";
    let body = format!(r#"{{"error_description":"{words}","error":"Access Denied","status":"failure"}}"#);
    let accounts = Upstream::bare(move |_| Reply::json(400, &body)).await;
    let gateway = Gateway::before_upstream(&accounts).start();
    for _ in 0..3 {
        let body = gateway.send(&get(COURSE)).await.problem_of(503, "token-throttled", SHARED_USERS);
        assert!((590..=600).contains(&body["retry_after"].as_u64().unwrap_or_default()), "{body}");
    }
    assert_eq!((accounts.token_calls(), accounts.received().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_eleventh_token_call_in_ten_minutes_is_not_made() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    for _ in 0..10 {
        gateway.send(&get(COURSE)).await.is_zohos(200);
        zoho.pull("revoke-access-tokens").await;
    }
    gateway.send(&get(COURSE)).await.problem_of(503, "token-throttled", SHARED_USERS);
    assert_eq!(zoho.token_calls().await, 10);
}

/// Each client sends 20 MB with these fields, five times, and prints the statuses that it gets.
const NODE_UPLOADS: &str = r"
    const [url, headers] = process.argv.slice(1);
    (async () => {
        for (let i = 0; i < 5; i++) {
            const body = new Uint8Array(20e6);
            const answer = await fetch(url, { method: 'POST', body, headers: JSON.parse(headers) })
                .then(async answer => `${answer.status} ${(await answer.json()).type}`, error => String(error.cause));
            console.log(answer);
        }
    })();";

const PYTHON_UPLOADS: &str = r"
import json, sys, requests
for _ in range(5):
    answer = requests.post(sys.argv[1], data=bytes(20_000_000), headers=json.loads(sys.argv[2]))
    print(answer.status_code, answer.json()['type'])
";

/// Many clients read an answer only after they have sent the whole upload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_upload_gets_its_answer() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let any = "people.other.any-call";
    let setup = Gateway::before_upstream(&upstream).set("proxy.max_body", "64MiB").route(any, "requests", 1);
    let gateway = setup.route(any, "window", "10m").start();
    gateway.send(&get("/people/api/x")).await.is_zohos(200);
    let url = format!("{}/people/api/upload", gateway.url());
    for (field, value, status, problem) in [
        ("prefer", "wait=0", 429, "threshold-saturated"),
        ("gateway-account", "nobody", 404, "unknown-account"),
        ("sec-fetch-site", "cross-site", 403, "foreign-origin"),
    ] {
        let headers = json!({ field: value, "content-type": "application/octet-stream" }).to_string();
        let expected = format!("{status} urn:zoho-gateway:problem:{problem}\n").repeat(5);
        assert_eq!(node(NODE_UPLOADS, &[&url, &headers]), expected);
        assert_eq!(python(PYTHON_UPLOADS, &[&url, &headers]), expected);
        for expect in ["Expect:", "Expect: 100-continue"] {
            let field = format!("{field}: {value}");
            let upload = format!(
                "head -c 20000000 /dev/zero | curl -sS -o /dev/null -w '%{{http_code}}' -H '{expect}' -H '{field}' -H 'content-type: a/b' --data-binary @- {url}"
            );
            assert_eq!(shell(&upload), status.to_string(), "{expect}");
        }
    }
    assert_eq!(upstream.received().len(), 1);
}
