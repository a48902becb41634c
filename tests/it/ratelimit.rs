//! `RateLimit-Policy` and `RateLimit`: what a caller needs to pace itself.

use crate::support::{Answer, COURSE, Gateway, Sandbox, get};

fn fields(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (answer.header("ratelimit-policy"), answer.header("ratelimit"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_has_the_threshold_and_the_remaining_calls() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let policy = Some("\"people.lms.get-shared-users\";q=30;w=60");
    for left in [29, 28, 27] {
        let answer = gateway.send(&get(COURSE)).await;
        let (found, limit) = fields(&answer);
        let limit = limit.expect("what is left");
        assert_eq!(found, policy);
        let reset = limit.strip_prefix(&format!("\"people.lms.get-shared-users\";r={left};t="));
        let reset: u64 = reset.unwrap_or_else(|| panic!("{limit}")).parse().expect("whole seconds");
        assert!((50..=60).contains(&reset), "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_without_a_threshold_has_no_fields() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).route("people.lms.get-shared-users", "throttle", "off").start();
    let answer = gateway.send(&get(COURSE)).await;
    answer.is_zohos(200);
    assert_eq!(fields(&answer), (None, None));
}
