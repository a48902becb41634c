//! One token for all callers: fetched once, replaced once, renewed before it expires.

use zoho_gateway::os::clock;

use crate::support::{Answer, CALENDAR, COURSE, Call, Gateway, SHARE, SHARE_DATA, Sandbox, all, get, ms, put};

const CALLERS: usize = 200;

async fn at_once(call: &Call, gateway: &Gateway) -> Vec<Answer> {
    all((0..CALLERS).map(|_| call.sending(gateway.address()))).await
}

async fn one_token_call_serves_all(call: Call, route: &str, api: &str) {
    let zoho = Sandbox::start(&["--requests", "100000", "--token-delay", "200ms"]);
    let gateway = Gateway::before(&zoho).route(route, "throttle", "off").start();

    for answer in at_once(&call, &gateway).await {
        answer.is_zohos(200);
    }
    assert_eq!(zoho.token_calls().await, 1, "a cold start");

    zoho.pull("revoke-access-tokens").await;
    for answer in at_once(&call, &gateway).await {
        answer.is_zohos(200);
    }
    assert_eq!(zoho.token_calls().await, 2, "a dead token");
    // A call with the dead token was sent once more, and no call was sent three times.
    let arrivals = zoho.tally(api).await.arrivals as usize;
    assert!((2 * CALLERS + 1..=3 * CALLERS).contains(&arrivals), "{arrivals}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_of_people_cost_one_token_call() {
    let call = put(COURSE).form(SHARE);
    one_token_call_serves_all(call, "people.lms.share-course", "PUT /api/v1/courses/{id}/share").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_of_calendar_cost_one_token_call() {
    let call = put(&format!("{CALENDAR}{SHARE_DATA}"));
    one_token_call_serves_all(call, "calendar.calendars.share-calendar", "PUT /api/v1/calendars/{uid}/share").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_before_it_expires() {
    let zoho = Sandbox::start(&["--requests", "100000", "--token-life", "2s"]);
    let gateway = Gateway::before(&zoho).route("people.lms.get-shared-users", "throttle", "off").start();
    let (calls, began) = (80, clock::now());
    for _ in 0..calls {
        gateway.send(&get(COURSE)).await.is_zohos(200);
        tokio::time::sleep(ms(50)).await;
    }
    // As many arrivals as calls: no call had a dead token and had to be sent again.
    assert_eq!(zoho.tally("GET /api/v1/courses/{id}/share").await.arrivals, calls);
    let token_calls = zoho.token_calls().await;
    // Each serves for nearly its two seconds, however long a busy machine took for the calls.
    let most = began.elapsed().as_secs() + 2;
    assert!((2..=most).contains(&token_calls), "{token_calls} in about {most} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_token_is_replaced_for_a_call_with_a_held_body() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
    zoho.pull("revoke-access-tokens").await;
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
    let shares: Vec<_> = zoho.requests().await.into_iter().filter(|seen| seen.method == "PUT").collect();
    assert_eq!(shares.len(), 2);
    assert_eq!((&shares[0].target, &shares[0].body), (&shares[1].target, &shares[1].body));
    assert_ne!(shares[0].header("authorization"), shares[1].header("authorization"));
}
