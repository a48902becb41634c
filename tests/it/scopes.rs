//! A call that the account's login was not granted is refused before it costs a slot.

use crate::support::{COURSE, Gateway, Reply, SHARE, SHARE_DATA, Setup, Upstream, get, put};

const SHARE_COURSE: &str = "people.lms.share-course";
/// In a spelling of its own, as Zoho's pages vary too.
const GRANTED: &str = "ZohoPeople.Training.Read ZohoCalendar.calendar.all";

/// A Zoho that grants tokens for these scopes and takes every call.
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

/// One call of the route may be made in a minute, so a slot that is spent is seen.
fn tight(upstream: &Upstream) -> Setup {
    Gateway::before_upstream(upstream).route(SHARE_COURSE, "requests", 1).set("queue.max_wait", "0s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_granted_is_refused_and_costs_nothing() {
    let upstream = zoho(GRANTED).await;
    let gateway = tight(&upstream).start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let share = put(COURSE).form(SHARE);
    for call in [share.clone(), share.clone(), share.clone().header("gateway-dry-run", "?1")] {
        let body = gateway.send(&call).await.problem_of(403, "scope-missing", SHARE_COURSE);
        let detail = body["detail"].as_str().expect("a detail");
        for told in ["ZOHOPEOPLE.training.ALL or ZOHOPEOPLE.training.CREATE", GRANTED] {
            assert!(detail.contains(told), "{detail}");
        }
        assert!(!detail.contains("Zoho says"), "{detail}");
    }
    assert_eq!(upstream.received().len(), 1, "the sharing never left");
    let ready = gateway.admin("/readyz").await;
    let check = ready.json()["checks"]["account main"].to_string();
    assert!(check.contains("scope-missing") && check.contains(SHARE_COURSE), "{ready:?}");

    // ALL covers its section; what no page names a scope for, and what no page knows, goes on.
    let calendar = put(&format!("/calendar/api/v1/calendars/a/share{SHARE_DATA}"));
    for call in [calendar, get("/people/api/hrcases/viewcase"), get("/people/api/on/no/page")] {
        gateway.send(&call).await.is_zohos(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_known_to_the_next_process() {
    let upstream = zoho(GRANTED).await;
    let setup = tight(&upstream);
    let gateway = setup.start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let gateway = gateway.kill().start();
    gateway.send(&put(COURSE).form(SHARE)).await.problem_of(403, "scope-missing", SHARE_COURSE);
    assert_eq!(upstream.token_calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_very_first_call_is_looked_at_when_it_has_its_token() {
    let upstream = zoho(GRANTED).await;
    let gateway = tight(&upstream).start();
    for _ in 0..3 {
        gateway.send(&put(COURSE).form(SHARE)).await.problem_of(403, "scope-missing", SHARE_COURSE);
    }
    assert_eq!((upstream.received().len(), upstream.token_calls()), (0, 1));
    gateway.until_free(SHARE_COURSE, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unknown_is_left_to_zoho() {
    let upstream = zoho(GRANTED).await;
    // The operator knows better.
    let gateway = tight(&upstream).set("routing.scopes", "off").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);

    // An accounts server that does not say.
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = tight(&upstream).start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
}
