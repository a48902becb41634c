//! Calls that outlive their request: `Prefer: respond-async`, `Idempotency-Key`, and the resources of jobs.

mod keys;
pub(crate) mod kills;
mod limits;
pub(crate) mod operators;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;
use zoho_gateway::os::clock;

use crate::support::{
    Answer, COURSE, Call, Gateway, HASH_OF_ONE, Reply, Setup, Upstream, call, delete, get, ms, put, until,
};

pub(crate) const ROUTE: &str = "people.lms.share-course";

/// A write that becomes a job.
pub(crate) fn job() -> Call {
    share(1).header("prefer", "respond-async")
}

/// A write with a payload of its own.
pub(crate) fn share(number: u64) -> Call {
    put(COURSE).form(form(number))
}

pub(crate) fn form(number: u64) -> String {
    format!("erecnosList=%5B{}%5D", 588_882_000_000_000_000 + number)
}

/// The place of a job that was accepted.
#[track_caller]
pub(crate) fn accepted(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    let applied = answer.header("preference-applied").unwrap_or_default();
    assert_eq!(applied.split(", ").next(), Some("respond-async"), "{answer:?}");
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{answer:?}");
    assert!(answer.header("proxy-status").is_some_and(|status| status.starts_with("zoho-gateway;")), "{answer:?}");
    let location = answer.header("location").expect("a location").to_owned();
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(location, format!("/gateway/jobs/{id}"));
    location
}

pub(crate) async fn state(gateway: &Gateway, location: &str) -> Value {
    let answer = gateway.send(&get(location)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Resolves when the job is in this state.
pub(crate) async fn until_in(gateway: &Gateway, location: &str, wanted: &str) -> Value {
    until(format!("{location} is {wanted}"), async || state(gateway, location).await["state"] == wanted).await;
    state(gateway, location).await
}

/// A gateway whose calls Zoho answers when the gate opens.
pub(crate) async fn gated(more: impl FnOnce(Setup) -> Setup) -> (Upstream, Gateway, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let closed = Arc::clone(&gate);
    let upstream = Upstream::start(move |_| Reply::json(200, r#"{"message":"ok"}"#).behind(&closed)).await;
    let gateway = more(Gateway::before_upstream(&upstream)).start();
    (upstream, gateway, gate)
}

/// One call at a time: the others wait.
pub(crate) fn one_at_a_time(setup: Setup) -> Setup {
    setup.route(ROUTE, "requests", 1).route(ROUTE, "window", "200ms")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_sent_once_and_its_answer_is_kept_as_it_came() {
    let headers = "Content-Type: application/json;charset=UTF-8\r\nX-Many: 1\r\nX-Many: 2\r\nX-Latin: caf\u{e9}\r\n\
                   Set-Cookie: a=b\r\n";
    let body = b"{\"recordNo\":588882000000212025}\x00\xff";
    let upstream = Upstream::start(move |_| Reply::with(422, headers, body)).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let location =
        accepted(&gateway.send(&job().header("x-request-id", "mine").header("idempotency-key", "\"k\"")).await);
    let done = until_in(&gateway, &location, "done").await;
    assert_eq!(done["status"], 422, "{done}");
    assert_eq!(
        (&done["route"], &done["method"], &done["account"], &done["request_id"], &done["idempotency_key"]),
        (&json!(ROUTE), &json!("PUT"), &json!("main"), &json!("mine"), &json!("k")),
        "{done}"
    );
    for text in ["created_at", "ended_at", "kept_until"] {
        assert!(done[text].as_str().is_some_and(|text| text.ends_with('Z')), "{text}: {done}");
    }
    let place = done["answer"].as_str().expect("its place").to_owned();
    assert_eq!(place, format!("{location}/answer"));
    for _ in 0..2 {
        let answer = gateway.send(&get(&place)).await;
        answer.is_zohos(422);
        assert_eq!(
            (answer.header("content-type"), &answer.body[..]),
            (Some("application/json;charset=UTF-8"), &body[..])
        );
        let many: Vec<_> = answer.headers.get_all("x-many").iter().map(|value| value.as_bytes()).collect();
        assert_eq!(many, [b"1", b"2"]);
        assert_eq!(answer.headers["x-latin"].as_bytes(), "caf\u{e9}".as_bytes());
        assert_eq!(answer.header("ratelimit"), None, "it would describe another moment");
    }
    let head = gateway.send(&call("HEAD", &place)).await;
    assert_eq!((head.status, head.body.len()), (422, 0));
    let sent = upstream.only();
    assert_eq!(sent.body, form(1).as_bytes());
    for field in ["prefer", "idempotency-key", "x-request-id"] {
        assert_eq!(sent.header(field), [""; 0], "{field}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_wait_the_job_comes_only_when_the_answer_does_not() {
    let (upstream, gateway, gate) = gated(|setup| setup).await;
    let call = |prefer| share(1).header("prefer", prefer);
    let waiting = tokio::spawn(call("respond-async, wait=20").sending(gateway.address()));
    upstream.until_received(1).await;
    gate.notify_one();
    let answer = waiting.await.expect("no panic");
    answer.is_zohos(200);
    assert_eq!((answer.header("preference-applied"), answer.header("location")), (Some("wait=20"), None), "{answer:?}");

    let location = accepted(&gateway.send(&call("respond-async, wait=1")).await);
    assert_eq!(state(&gateway, &location).await["state"], "sending");
    let early = gateway.send(&get(&format!("{location}/answer"))).await;
    early.problem(409, "job-not-ended");
    assert!(early.header("retry-after").is_some(), "{early:?}");

    let began = clock::now();
    let polled = gateway.send(&get(&location).header("prefer", "wait=1")).await;
    assert!(polled.json()["state"] == "sending" && began.elapsed() >= ms(1000), "{polled:?}");
    let polling = tokio::spawn(get(&location).header("prefer", "wait=25").sending(gateway.address()));
    tokio::time::sleep(ms(100)).await;
    gate.notify_one();
    assert_eq!(polling.await.expect("no panic").json()["state"], "done");
    gateway.send(&get(&format!("{location}/answer"))).await.is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_wait_in_the_queue_like_other_calls_and_can_be_removed() {
    let (upstream, gateway, gate) = gated(one_at_a_time).await;
    let first = accepted(&gateway.send(&job()).await);
    upstream.until_received(1).await;
    let mut waiting = Vec::new();
    for number in 2..5 {
        waiting.push(accepted(&gateway.send(&share(number).header("prefer", "respond-async")).await));
        gateway.until_waiting(number as usize - 1).await;
    }
    for (location, place) in waiting.iter().zip(1..) {
        let answer = gateway.send(&get(location)).await;
        let queued = answer.json();
        assert_eq!((&queued["state"], &queued["place"]), (&json!("queued"), &json!(place)), "{queued}");
        assert!(queued["expected_wait_seconds"].is_number() && answer.header("retry-after").is_some(), "{answer:?}");
    }
    gateway.send(&delete(&first)).await.problem(409, "job-sent");
    let removed = gateway.send(&delete(&waiting[1])).await;
    assert_eq!((removed.status, removed.body.len()), (204, 0));
    gateway.send(&get(&waiting[1])).await.problem(404, "unknown-job");
    gateway.send(&delete(&waiting[1])).await.problem(404, "unknown-job");
    gateway.until_waiting(2).await;
    assert_eq!(state(&gateway, &waiting[2]).await["place"], 2);
    for _ in 0..3 {
        gate.notify_one();
        tokio::time::sleep(ms(300)).await;
    }
    for location in [&first, &waiting[0], &waiting[2]] {
        until_in(&gateway, location, "done").await;
    }
    let sent: Vec<_> = upstream.received().into_iter().map(|request| request.body).collect();
    assert_eq!(sent, [1, 2, 4].map(|number| form(number).into_bytes()), "in their order, and none that was removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_other_callers_a_job_does_not_exist() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let mut setup = Gateway::before_upstream(&upstream);
    // The hash of the key `two`.
    let two = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
    for (name, hash) in [("payroll", HASH_OF_ONE), ("portal", two)] {
        setup = setup
            .set(&format!("callers.{name}.key_sha256"), hash)
            .set(&format!("callers.{name}.accounts"), json!(["main"]))
            .set(&format!("callers.{name}.allow"), json!(["*"]));
    }
    let gateway = setup.start();
    let one = |call: Call| call.header("authorization", "Bearer one");
    let two = |call: Call| call.header("authorization", "Bearer two");
    let location = accepted(&gateway.send(&one(job())).await);
    until("it is done", async || gateway.send(&one(get(&location))).await.json()["state"] == "done").await;
    let answer = format!("{location}/answer");
    gateway.send(&one(get(&answer))).await.is_zohos(200);
    gateway.send(&get(&location)).await.problem(401, "caller-unauthenticated");
    let missing = "/gateway/jobs/019f0000-0000-7000-8000-000000000000";
    let same = gateway.send(&two(get(missing))).await.problem(404, "unknown-job")["detail"].clone();
    for call in [get(&location), get(&answer), delete(&location)] {
        assert_eq!(gateway.send(&two(call)).await.problem(404, "unknown-job")["detail"], same);
    }
    assert_eq!(gateway.send(&two(get("/gateway/jobs"))).await.json()["jobs"], json!([]));
    assert_eq!(gateway.send(&one(get("/gateway/jobs"))).await.json()["counts"]["done"], 1);
    // A key is each caller's own too.
    for who in [one, two] {
        gateway.send(&who(share(7).header("idempotency-key", "\"k\""))).await.is_zohos(200);
    }
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_has_counts_and_pages() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let mut made = Vec::new();
    for number in 0..5 {
        let location = accepted(&gateway.send(&share(number).header("prefer", "respond-async")).await);
        until_in(&gateway, &location, "done").await;
        made.push(location);
    }
    // A call with a key is no job.
    gateway.send(&share(9).header("idempotency-key", "\"k\"")).await.is_zohos(200);
    let mut next = Some("/gateway/jobs?limit=2&state=done".to_owned());
    let mut listed = Vec::new();
    while let Some(page) = next {
        let page = gateway.send(&get(&page)).await.json();
        assert_eq!(page["counts"], json!({ "queued": 0, "sending": 0, "done": 5, "failed": 0, "unknown": 0 }));
        let jobs = page["jobs"].as_array().expect("a list").clone();
        assert!((1..=2).contains(&jobs.len()), "{page}");
        listed.extend(jobs.iter().map(|job| format!("/gateway/jobs/{}", job["id"].as_str().expect("an id"))));
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(listed, made);
    assert_eq!(gateway.send(&get("/gateway/jobs?state=queued")).await.json()["jobs"], json!([]));
    for wrong in ["state=late", "limit=0", "limit=1001", "after=1", "x=1"] {
        let problem = gateway.send(&get(&format!("/gateway/jobs?{wrong}"))).await.problem(400, "invalid-payload");
        assert_eq!(problem["errors"][0]["parameter"], wrong.split('=').next().expect("a name"));
    }
    for (method, target, allow) in [
        ("POST", "/gateway/jobs", "GET, HEAD"),
        ("PUT", &made[0], "GET, HEAD, DELETE"),
        ("DELETE", "/gateway/jobs", "GET, HEAD"),
    ] {
        let answer = gateway.send(&call(method, target)).await;
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow));
    }
    gateway.send(&get("/gateway/other")).await.problem(404, "unknown-route");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_of_zohos_is_never_taken_for_a_job() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    for call in [
        get("/gateway/jobs").header("host", "people.zoho.com"),
        get("/people/gateway/jobs"),
        get("/gateway/jobs/x/answer").header("host", upstream.address()),
    ] {
        gateway.send(&call).await.is_zohos(200);
    }
    assert_eq!(upstream.received().len(), 3);
    gateway.send(&get("/gateway/jobs/x")).await.problem(404, "unknown-job");
    assert_eq!(gateway.send(&get("/gateway/jobs").header("host", "localhost")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_valid_calls_become_jobs() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let bad = put(COURSE).form("erecnosList=x").header("prefer", "respond-async");
    gateway.send(&bad).await.problem_of(400, "invalid-payload", ROUTE);
    let dry = job().header("gateway-dry-run", "?1");
    assert_eq!(gateway.send(&dry).await.json()["verdict"], "valid");
    assert_eq!(gateway.send(&get("/gateway/jobs")).await.json()["jobs"], json!([]));
    assert!(upstream.received().is_empty());
}
