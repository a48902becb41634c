//! The promise itself: a burst of three thresholds is answered in full, and Zoho never sees one call too many.

use zoho_gateway::clock;

use crate::support::{COURSE, Gateway, SHARE, Sandbox, all, ms, put};

const API: &str = "PUT /api/v1/courses/{id}/share";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ninety_calls_at_once_are_all_answered_and_none_locks_zoho() {
    let options = ["--requests", "30", "--window", "1s", "--lock", "5s", "--delay", "50ms"];
    let zoho = Sandbox::start(&options);
    let route = "people.lms.share-course";
    let gateway = Gateway::before(&zoho).route(route, "requests", 30).route(route, "window", "1s").start();
    let share = put(COURSE).form(SHARE);

    let began = clock::now();
    let answers = all((0..90).map(|_| share.sending(gateway.address()))).await;
    let elapsed = clock::now() - began;

    for answer in answers {
        answer.is_zohos(200);
    }
    let tally = zoho.tally(API).await;
    assert_eq!((tally.arrivals, tally.accepted, tally.locks, tally.arrivals_during_lock), (90, 90, 0, 0));
    assert!(tally.most_in_any_window <= 30, "{tally:?}");
    // Two windows have to pass; the rest is the network's delay and ours.
    assert!(elapsed < ms(2600), "{elapsed:?}");
}
