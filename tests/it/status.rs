//! `/status` and the command `status`: what a person asks is answered by them alone, whatever state the gateway is in.

use serde_json::{Value, json};

use crate::support::{
    COURSE, Call, Gateway, HASH_OF_ONE, Process, SHARE, Sandbox, Setup, faults_of_status, get, put, until,
};

const ROUTE: &str = "people.lms.share-course";
const API: &str = "PUT /api/v1/courses/{id}/share";

/// A gateway with one caller.
fn before(zoho: &Sandbox) -> Setup {
    Gateway::before(zoho)
        .set("callers.course-sync.key_sha256", HASH_OF_ONE)
        .set("callers.course-sync.accounts", json!(["main"]))
        .set("callers.course-sync.allow", json!(["*"]))
        .set("queue.max_wait", "10m")
}

/// A call of the caller, which waits for so many seconds.
fn share(wait: u32) -> Call {
    let call = put(COURSE).form(SHARE).header("authorization", "Bearer one");
    call.header("prefer", &format!("wait={wait}"))
}

/// What the command prints. Everything on the page is described.
async fn printed(gateway: &Gateway) -> String {
    let page = gateway.admin("/status").await.json();
    assert_eq!(faults_of_status(&page), [""; 0], "{page}");
    let arguments = ["status".to_owned(), "--admin".to_owned(), gateway.admin_url()];
    tokio::task::spawn_blocking(move || Process::run(&arguments, &[])).await.expect("no panic").succeeded()
}

/// The line that begins like this.
fn line<'a>(text: &'a str, begin: &str) -> &'a str {
    text.lines().find(|line| line.trim_start().starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_gateway_says_so() {
    let zoho = Sandbox::start(&[]);
    let gateway = before(&zoho).start();
    let idle = printed(&gateway).await;
    for words in ["State: ok.", "No call waits.", "No route is locked.", "Login main: no token was needed yet"] {
        assert!(idle.contains(words), "{idle}");
    }
    gateway.send(&share(0)).await.is_zohos(200);
    let text = printed(&gateway).await;
    let version = format!("zoho-gateway {} on ", env!("CARGO_PKG_VERSION"));
    let process = format!("(process {}), up for ", gateway.process().id());
    assert!(line(&text, "Status at 2").contains(&version) && line(&text, "Status at 2").contains(&process), "{text}");
    let login = line(&text, "Login main works");
    assert!(login.contains(" s old and expires at "), "{text}");
    assert!(login.contains("1 of 10 token requests used in 10 min."), "{text}");
    let used = line(&text, ROUTE);
    assert!(used.contains("1 of 30 per 1 min; the next slot is free at"), "{text}");

    let page = gateway.admin("/status").await.json();
    assert_eq!((&page["ready"], &page["callers"][0]["caller"]), (&json!(true), &json!("course-sync")));
    let threshold = &page["buckets"][0]["threshold"];
    assert_eq!((&threshold["used"], &threshold["remaining"]), (&json!(1), &json!(29)));
    assert!(threshold["next_slot_at"].as_str().is_some_and(|at| at > page["at"].as_str().unwrap_or("a")), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_gateway_says_until_when_whose_fault_and_who_waits() {
    let zoho = Sandbox::start(&[]);
    let gateway = before(&zoho).start();
    gateway.send(&share(0)).await.is_zohos(200);
    zoho.lock(API, 300.0).await;
    gateway.send(&share(0)).await.problem(429, "threshold-locked");
    let waits = tokio::spawn(share(600).sending(gateway.address()));
    gateway.until_waiting(1).await;

    let text = printed(&gateway).await;
    let locked = line(&text, &format!("{ROUTE} is locked until "));
    let end = locked.split("until ").nth(1).and_then(|rest| rest.split_once("Z ("));
    assert!(
        end.is_some_and(|(time, left)| time.ends_with(|c: char| c.is_ascii_digit()) && left.contains("min")),
        "{text}"
    );
    let why = "): Zoho refused a call while we had sent 2 of 30, so another program uses this login; 1 call of \
               course-sync waits";
    assert!(locked.ends_with(why), "{text}");
    let who = line(&text, &format!("{ROUTE}: 1 call (1 of course-sync for up to "));
    assert!(who.contains("Zoho has locked the route; the next call goes at "), "{text}");
    let last = line(&text, "The last lock: ");
    assert!(
        last.contains("for 5 min: ") && last.ends_with("Our calls in the 1 min before: 2 of course-sync."),
        "{text}"
    );
    assert!(text.contains("a PUT of course-sync, people.lms.share-course: threshold-locked: "), "{text}");

    let page = gateway.admin("/status").await.json();
    let bucket = &page["buckets"][0];
    let lock = &bucket["lock"];
    assert_eq!((&lock["cause"], &lock["used"], &lock["requests"]), (&json!("external-use"), &json!(2), &json!(30)));
    let queue = &bucket["callers"][0];
    let span = |value: &Value| value.as_f64().unwrap_or_default();
    assert!(queue["caller"] == "course-sync" && queue["waiting"] == 1 && span(&queue["first_in_seconds"]) > 200.0);
    assert_eq!(queue["last_in_seconds"], queue["first_in_seconds"]);

    // After a restart the lock goes on, and nobody knows what was sent before it.
    waits.abort();
    let gateway = gateway.kill().start();
    let text = printed(&gateway).await;
    assert!(line(&text, &format!("{ROUTE} is locked until ")).contains("an earlier process"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saturated_gateway_says_who_waits_for_what_and_until_when() {
    let zoho = Sandbox::start(&[]);
    let gateway = before(&zoho).route(ROUTE, "requests", 2).start();
    for _ in 0..2 {
        gateway.send(&share(0)).await.is_zohos(200);
    }
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(share(600).sending(gateway.address()))).collect();
    gateway.until_waiting(3).await;
    let text = printed(&gateway).await;
    let who = line(&text, &format!("{ROUTE}: 3 calls (3 of course-sync for up to "));
    assert!(who.contains(", the last until ") && who.contains("The threshold (2 per 1 min) is used up"), "{text}");
    assert!(who.contains("; the next call goes at "), "{text}");
    assert!(text.contains("No route is locked.") && text.contains("Login main works"), "{text}");
    let page = gateway.admin("/status").await.json();
    let queue = &page["buckets"][0]["callers"][0];
    let (first, last) = (queue["first_in_seconds"].as_f64(), queue["last_in_seconds"].as_f64());
    // The third of them needs a slot of the window after.
    assert!(first < last && first.is_some_and(|first| first <= 61.0), "{queue}");
    assert_eq!((&page["callers"][0]["waiting"], &page["buckets"][0]["threshold"]["used"]), (&json!(3), &json!(2)));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    until("nobody waits", async || gateway.admin("/status").await.json()["waiting"] == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_a_dead_login_says_since_when_and_what_to_do() {
    let zoho = Sandbox::start(&[]);
    let gateway = before(&zoho).set("accounts.main.client_id", "1000.SOMEBODY").start();
    let call = get(COURSE).header("authorization", "Bearer one");
    gateway.send(&call).await.problem(503, "account-unauthorised");
    let text = printed(&gateway).await;
    let login = line(&text, "Login main is dead since ");
    assert!(login.contains(" ago), so no call is sent with it until a person corrects it: "), "{text}");
    assert!(login.contains("Zoho says invalid_client; a person must log in again (zoho-gateway login)"), "{text}");
    assert!(text.contains("a GET of course-sync, people.lms.get-shared-users: account-unauthorised: "), "{text}");
    let page = gateway.admin("/status").await.json();
    let token = &page["accounts"][0]["token"];
    assert_eq!((&page["ready"], &token["condition"]), (&json!(false), &json!("rejected")));
    assert!(token["rejected_at"].is_string() && token["last_error"]["problem"] == "account-unauthorised", "{token}");
}
