//! A call without the scope in the account's login is rejected before it gets a slot.

use crate::support::{COURSE, Gateway, Reply, SHARE, SHARE_DATA, Setup, Upstream, get, put};

const SHARE_COURSE: &str = "people.lms.share-course";
/// In another spelling, as Zoho's pages vary too.
const GRANTED: &str = "ZohoPeople.Training.Read ZohoCalendar.calendar.all";

/// A Zoho that grants tokens with these scopes and accepts every call.
async fn zoho(scope: &'static str) -> Upstream {
    Upstream::bare(move |request| match request.line.starts_with("POST /oauth/") {
        true => Reply::json(
            200,
            &format!(r#"{{"access_token":"1000.fake","token_type":"Bearer","expires_in":3600,"scope":"{scope}"}}"#),
        ),
        false => Reply::json(200, "{}"),
    })
    .await
}

/// The route has one slot per minute, so a slot in use shows.
fn tight(upstream: &Upstream) -> Setup {
    Gateway::before_upstream(upstream).route(SHARE_COURSE, "requests", 1).set("queue.max_wait", "0s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_its_scope_is_rejected_at_no_cost() {
    let upstream = zoho(GRANTED).await;
    let gateway = tight(&upstream).start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let share = put(COURSE).form(SHARE);
    for call in [share.clone(), share.clone(), share.clone().header("gateway-dry-run", "?1")] {
        let body = gateway.send(&call).await.problem_of(403, "scope-missing", SHARE_COURSE);
        let detail = body["detail"].as_str().expect("a detail");
        for words in ["ZOHOPEOPLE.training.ALL or ZOHOPEOPLE.training.CREATE", GRANTED] {
            assert!(detail.contains(words), "{detail}");
        }
        assert!(!detail.contains("Zoho says"), "{detail}");
    }
    assert_eq!(upstream.received().len(), 1, "the sharing never left");
    let ready = gateway.admin("/readyz").await;
    let check = ready.json()["checks"]["account main"].to_string();
    assert!(check.contains("scope-missing") && check.contains(SHARE_COURSE), "{ready:?}");

    // ALL covers its section; calls without a documented scope and unknown calls go on.
    let calendar = put(&format!("/calendar/api/v1/calendars/a/share{SHARE_DATA}"));
    for call in [calendar, get("/people/api/hrcases/viewcase?recordId=1"), get("/people/api/on/no/page")] {
        gateway.send(&call).await.is_zohos(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_process_knows_the_scopes() {
    let upstream = zoho(GRANTED).await;
    let setup = tight(&upstream);
    let gateway = setup.start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let gateway = gateway.kill().start();
    gateway.send(&put(COURSE).form(SHARE)).await.problem_of(403, "scope-missing", SHARE_COURSE);
    assert_eq!(upstream.token_calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_call_is_checked_when_it_has_its_token() {
    let upstream = zoho(GRANTED).await;
    let gateway = tight(&upstream).start();
    for _ in 0..3 {
        gateway.send(&put(COURSE).form(SHARE)).await.problem_of(403, "scope-missing", SHARE_COURSE);
    }
    assert_eq!((upstream.received().len(), upstream.token_calls()), (0, 1));
    gateway.until_free(SHARE_COURSE, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_scopes_are_left_to_zoho() {
    let upstream = zoho(GRANTED).await;
    // The operator's setting decides.
    let gateway = tight(&upstream).set("routing.scopes", "off").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);

    // An accounts server that does not report the scopes.
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = tight(&upstream).start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
}
