//! Zoho answers 401: another token may help, and the few token requests of an account are not wasted where it does not.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::support::{
    CALENDAR, COURSE, Call, Gateway, HASH_OF_ONE, Reply, SHARE, Setup, Upstream, all, get, put, until,
};

const DEAD_AT_PEOPLE: &str = r#"{"response":{"message":"Error occurred","errors":{"code":7213,"message":"The provided OAuth token is invalid."},"status":1}}"#;
const DEAD_AT_CALENDAR: &str = r#"{"error":[{"description":"Invalid OAuth token.","error_code":"INVALID_OAUTHTOKEN","message":"INVALID_OAUTHTOKEN"}]}"#;

/// A Zoho whose tokens are numbered.
struct Zoho {
    upstream: Upstream,
    /// Tokens up to this number are dead.
    dead: Arc<AtomicUsize>,
}

impl Zoho {
    /// Answers calls with a dead token with `refusal`; with a valid one with `script`, if that returns an answer.
    async fn start(refusal: Reply, script: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let (dead, granted) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let last_dead = Arc::clone(&dead);
        let upstream = Upstream::bare(move |request| {
            if request.line.starts_with("POST /oauth/v2/token") {
                let number = granted.fetch_add(1, Ordering::SeqCst) + 1;
                return Reply::json(200, &format!(r#"{{"access_token":"1000.t.{number}","expires_in":3600}}"#));
            }
            let number = request.header("authorization").concat().rsplit('.').next().and_then(|text| text.parse().ok());
            if number.unwrap_or(0) <= last_dead.load(Ordering::SeqCst) {
                return refusal.clone();
            }
            script(&request.line).unwrap_or_else(|| Reply::json(200, "{}"))
        })
        .await;
        Self { upstream, dead }
    }

    fn gateway(&self) -> Setup {
        Gateway::before_upstream(&self.upstream)
    }

    /// Every token granted so far becomes invalid.
    fn kill_tokens(&self) {
        self.dead.store(self.upstream.token_calls(), Ordering::SeqCst);
    }
}

fn on(path: &'static str, reply: Reply) -> impl Fn(&str) -> Option<Reply> + Send + Sync + 'static {
    move |line| line.contains(path).then(|| reply.clone())
}

/// After nine calls of one caller every route of the account got 503 for ten minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_accepts_no_token_costs_one() {
    for (status, body) in [(401, DEAD_AT_PEOPLE), (401, DEAD_AT_CALENDAR), (401, "<html>no</html>"), (401, "")] {
        let zoho = Zoho::start(Reply::json(401, DEAD_AT_CALENDAR), on("/courses/", Reply::json(status, body))).await;
        let gateway = zoho.gateway().start();
        for number in 0..15 {
            gateway.send(&get(COURSE)).await.is_zohos(401);
            gateway.send(&get(CALENDAR)).await.is_zohos(200);
            assert_eq!(zoho.upstream.token_calls(), 2, "{body} {number}");
        }
        assert_eq!(zoho.upstream.received().len(), 31, "one call went twice");
        // Dead tokens are still replaced, again and again.
        for deaths in 1..=5 {
            zoho.kill_tokens();
            gateway.send(&get(CALENDAR)).await.is_zohos(200);
            assert_eq!(zoho.upstream.token_calls(), 2 + deaths);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_such_routes_do_not_use_up_the_token_requests() {
    let refusal = || Reply::json(401, DEAD_AT_PEOPLE);
    let zoho = Zoho::start(refusal(), on("/people/", refusal())).await;
    let setup = zoho.gateway().set("callers.one.key_sha256", HASH_OF_ONE).set("callers.one.accounts", "main");
    let gateway = setup.set("callers.one.allow", "*").set("callers.one.read_only", true).start();
    let of_one = |call: Call| call.header("authorization", "Bearer one");
    let paths = [
        "forms/a/getRecords",
        "forms/b/getRecords",
        "forms/c/getRecords",
        "forms",
        "leave/getLeaveTypeDetails",
        "timetracker/getjobs",
        "timetracker/getclients",
        "timetracker/getprojects",
        "attendance/getUserReport",
        "announcement/getAllAnnouncement",
        "hrcases/getRequestedCases",
        "files/getCategory",
    ];
    for _ in 0..2 {
        for path in paths {
            gateway.send(&of_one(get(&format!("/people/people/api/{path}")))).await;
            gateway.send(&of_one(get(CALENDAR))).await.is_zohos(200);
        }
    }
    let spent = zoho.upstream.token_calls();
    assert!((2..=4).contains(&spent), "{spent}");
    gateway.send(&of_one(get(CALENDAR))).await.is_zohos(200);
    zoho.kill_tokens();
    gateway.send(&of_one(get(CALENDAR))).await.is_zohos(200);
    assert_eq!(zoho.upstream.token_calls(), spent + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_cost_one_token() {
    let zoho = Zoho::start(Reply::json(401, ""), on("/courses/", Reply::json(401, DEAD_AT_PEOPLE))).await;
    let gateway = zoho.gateway().route("people.lms.get-shared-users", "throttle", "off").start();
    gateway.send(&get(CALENDAR)).await.is_zohos(200);
    for _ in 0..3 {
        for answer in all((0..50).map(|_| get(COURSE).sending(gateway.address()))).await {
            answer.is_zohos(401);
        }
    }
    assert_eq!(zoho.upstream.token_calls(), 2);
}

/// A token stayed in use for its whole hour after a 401 of unknown form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_401_of_an_unknown_form_is_tried_with_one_other_token() {
    for refusal in [
        Reply::with(401, "Content-Type: text/html\r\n", b"<html>Unauthorized</html>"),
        Reply::with(401, "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n", b""),
        Reply::json(401, r#"{"code":"AUTHENTICATION_FAILURE","message":"x","status":"error"}"#),
        Reply::json(401, r#"{"message":"Unauthorized"}"#),
        Reply::with(401, "Content-Type: text/html\r\n", "<html>".repeat(2000).as_bytes()),
    ] {
        let zoho = Zoho::start(refusal, |_| None).await;
        let gateway = zoho.gateway().start();
        gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
        for deaths in 1..=2 {
            zoho.kill_tokens();
            gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
            gateway.send(&get(CALENDAR)).await.is_zohos(200);
            assert_eq!(zoho.upstream.token_calls(), 1 + deaths);
        }
        let bodies = zoho.upstream.received().into_iter().filter(|seen| seen.line.starts_with("PUT "));
        assert!(bodies.map(|seen| seen.body).all(|body| body == SHARE.as_bytes()), "each time whole");
    }
}

/// Another token does not help these calls, so none is fetched and nothing is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_errors_are_forwarded() {
    for (status, body) in [
        (
            400,
            r#"{"response":{"errors":{"code":7202,"message":"Provided authentication token is invalid."},"status":1}}"#,
        ),
        (
            400,
            r#"{"error":[{"description":"Invalid ticket.","error_code":"INVALID_TICKET","message":"INVALID_TICKET"}]}"#,
        ),
        (403, "<html>Forbidden</html>"),
        (403, r#"{"response":{"errors":{"code":7040,"message":"no permission"},"status":1}}"#),
        (407, ""),
        (401, r#"{"response":{"errors":{"code":7048,"message":"No such user"},"status":1}}"#),
    ] {
        let zoho = Zoho::start(Reply::json(401, ""), move |_| Some(Reply::json(status, body))).await;
        let gateway = zoho.gateway().start();
        gateway.send(&get(COURSE)).await.is_zohos(status);
        assert_eq!((zoho.upstream.token_calls(), zoho.upstream.received().len()), (1, 1), "{status} {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_body_is_sent_once_and_then_the_token_changes() {
    let zoho = Zoho::start(Reply::with(401, "", b"who are you?"), |_| None).await;
    let gateway = zoho.gateway().start();
    gateway.send(&get(CALENDAR)).await.is_zohos(200);
    zoho.kill_tokens();
    let upload = Call::new("POST", "/people/api/on/no/page").header("content-type", "text/plain");
    gateway.send(&upload.body("x".repeat(200_000))).await.is_zohos(401);
    assert_eq!(zoho.upstream.received().len(), 2);
    until("another token is there", async || zoho.upstream.token_calls() == 2).await;
    gateway.send(&get(CALENDAR)).await.is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_attempt_uses_its_own_slot() {
    for refusal in [Reply::json(401, DEAD_AT_PEOPLE), Reply::json(401, ""), Reply::json(401, r#"{"code":1}"#)] {
        let zoho = Zoho::start(refusal, |_| None).await;
        let gateway = zoho.gateway().route("people.lms.get-shared-users", "requests", 2).start();
        gateway.send(&get(COURSE)).await.is_zohos(200);
        zoho.kill_tokens();
        let unwaiting = get(COURSE).header("prefer", "wait=0");
        gateway.send(&unwaiting).await.problem(429, "threshold-saturated");
        assert_eq!(zoho.upstream.received().len(), 2, "and no third");
    }
}

/// An accounts server that is down while a route answers 401 does not make a valid token unusable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_valid_token_is_kept_when_no_other_is_available() {
    let asked = AtomicUsize::new(0);
    let zoho = Upstream::bare(move |request| {
        if request.line.starts_with("POST /oauth/v2/token") {
            return match asked.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::json(200, r#"{"access_token":"1000.fake.token","expires_in":3600}"#),
                _ => Reply::json(503, r#"{"error":"service_unavailable"}"#),
            };
        }
        let broken = request.line.contains("/courses/");
        if broken { Reply::json(401, DEAD_AT_PEOPLE) } else { Reply::json(200, "{}") }
    })
    .await;
    let gateway = Gateway::before_upstream(&zoho).start();
    for _ in 0..5 {
        gateway.send(&get(COURSE)).await.is_zohos(401);
        gateway.send(&get(CALENDAR)).await.is_zohos(200);
    }
    assert!(zoho.token_calls() <= 3, "{}", zoho.token_calls());
}
