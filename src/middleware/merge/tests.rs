//! Both layers around a throttle, in front of a Zoho that knows the numbers below a hundred.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tower::{
    Layer, ServiceExt, service_fn,
    util::{BoxCloneService, BoxCloneSyncService},
};

use super::*;
use crate::{
    call::{
        Answer, Call, MergedInto, Payload, Permitted, RetryReason, Token,
        attempt_log::Fate,
        tests::{call_of, with_headers, with_payload},
    },
    ledger::{Limiters, Limits, LockHit},
    message::body::Body,
    middleware::throttle::Throttle,
    os::clock,
    problem::{Cause, Refusal},
    telemetry::Metrics,
    zoho::catalogue::Merge,
};

type Service = BoxCloneSyncService<Call, Answer, Refusal>;

/// What Zoho got: target, body, and the moment in seconds since the beginning.
type Sent = Arc<Mutex<Vec<(String, String, u64)>>>;

/// The behaviour of Zoho for the numbers of a call.
type Zoho = fn(&[u32]) -> Result<(StatusCode, String, Option<RetryReason>), Cause>;

struct Stack {
    service: Service,
    sent: Sent,
    limiters: Arc<Limiters>,
    window: Duration,
}

impl Stack {
    fn new(zoho: Zoho) -> Self {
        let (limiters, metrics) = (Arc::new(Limiters::in_memory(Limits::calls(10_000))), Arc::new(Metrics::new()));
        let (sent, began) = (Sent::default(), clock::now());
        let to_zoho = Arc::clone(&sent);
        let zoho = service_fn(move |permitted: Permitted| {
            let sent = Arc::clone(&to_zoho);
            async move {
                let header = HeaderValue::from_static("Zoho-oauthtoken 1000.t");
                let token = Token { header, generation: 0, fresh_until: clock::now() };
                let (call, mut attempt, _) = permitted.signed(token).into_parts();
                call.attempt_log.announced().await.unwrap();
                attempt.sending().unwrap();
                let body = Body::from(call.payload).collect().await.unwrap().to_bytes();
                let body = String::from_utf8(body.to_vec()).unwrap();
                sent.lock().push((call.target.to_string(), body.clone(), (clock::now() - began).as_secs()));
                tokio::time::sleep(Duration::from_millis(10)).await;
                let (status, text, retry) = zoho(&numbers(&body)).map_err(Refusal::from)?;
                attempt.answered(status);
                attempt.judged(status.is_success());
                let mut response = Response::new(Body::full(text));
                *response.status_mut() = status;
                Ok(Answer { response, retry })
            }
        });
        let groups = Groups::new(|headers| drop(headers.remove("prefer")), Arc::clone(&metrics));
        let zoho = BoxCloneSyncService::new(Compose::layer(Arc::clone(&groups)).layer(BoxCloneSyncService::new(zoho)));
        let throttle = Throttle::layer(Arc::clone(&limiters), 1024, metrics).layer(zoho);
        let gather = Gather::layer(groups, Arc::clone(&limiters)).layer(BoxCloneSyncService::new(throttle));
        Self { service: BoxCloneSyncService::new(gather), sent, limiters, window: Duration::from_secs(60) }
    }

    /// Sends a call of these numbers to a route of one call a minute.
    fn share(&self, numbers: &[u32], wait: u64) -> JoinHandle<Result<Answer, Refusal>> {
        self.send(call("main", "/a", numbers, wait, 50, self.window))
    }

    fn send(&self, call: Call) -> JoinHandle<Result<Answer, Refusal>> {
        tokio::spawn(self.service.clone().oneshot(call))
    }

    fn lists(&self) -> Vec<Vec<u32>> {
        self.sent.lock().iter().map(|(_, body, _)| numbers(body)).collect()
    }
}

fn call(account: &str, target: &str, numbers: &[u32], wait: u64, max: usize, window: Duration) -> Call {
    let mut call = call_of(account, target);
    let route = Arc::make_mut(&mut call.context.route);
    route.merge = Some(Merge { parameter: "list".to_owned(), max });
    let threshold = route.threshold.as_mut().unwrap();
    (threshold.requests, threshold.window) = (std::num::NonZeroU32::MIN, window);
    let fields = [("content-type", "application/x-www-form-urlencoded"), ("prefer", &format!("wait={wait}"))];
    let fields = fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::try_from(value).unwrap()));
    let bytes = Bytes::from(format!("list={}", serde_json::to_string(numbers).unwrap()));
    let call = with_headers(call, HeaderMap::from_iter(fields));
    with_payload(call, Payload::Held { bytes, trailers: None })
}

fn numbers(body: &str) -> Vec<u32> {
    let list = percent_encoding::percent_decode_str(body).decode_utf8().unwrap().into_owned();
    serde_json::from_str(list.strip_prefix("list=").unwrap()).unwrap()
}

/// Accepts numbers below a hundred.
fn people(numbers: &[u32]) -> Result<(StatusCode, String, Option<RetryReason>), Cause> {
    if numbers.iter().any(|number| *number >= 100) {
        return Ok((StatusCode::BAD_REQUEST, "{\"code\":\"400\",\"message\":\"Invalid\"}".to_owned(), None));
    }
    let users: Vec<String> = numbers.iter().map(|number| format!("{{\"erecno\":\"{number}\"}}")).collect();
    Ok((StatusCode::OK, format!("{{\"sharedUsers\":[{}],\"code\":\"200\"}}", users.join(",")), None))
}

async fn read(answer: JoinHandle<Result<Answer, Refusal>>) -> (StatusCode, String, bool) {
    let response = answer.await.unwrap().unwrap().response;
    let is_merged =
        response.headers().get("proxy-status").is_some_and(|field| field == "zoho-gateway; details=\"merged\"");
    assert_eq!(response.extensions().get::<MergedInto>().is_some(), is_merged);
    assert!(response.headers().contains_key("ratelimit"));
    let (status, body) = (response.status(), response.into_body().collect().await.unwrap().to_bytes());
    (status, String::from_utf8(body.to_vec()).unwrap(), is_merged)
}

fn shared(numbers: &[u32]) -> String {
    people(numbers).unwrap().1
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_go_as_one_and_each_gets_its_part() {
    let stack = Stack::new(people);
    let first = stack.share(&[1], 0);
    tokio::task::yield_now().await;
    let waiting = [stack.share(&[2, 3], 600), stack.share(&[3], 600), stack.share(&[4], 600)];
    assert_eq!(read(first).await, (StatusCode::OK, shared(&[1]), false));
    for (answer, own) in waiting.into_iter().zip([&[2, 3][..], &[3], &[4]]) {
        assert_eq!(read(answer).await, (StatusCode::OK, shared(own), true));
    }
    let lists = stack.lists();
    assert_eq!(lists.len(), 2);
    assert_eq!(lists[1].iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([2, 3, 4]));
    assert_eq!(lists[1].len(), 3, "3 is sent once");
    assert_eq!(stack.limiters.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_did_not_wait_is_sent_as_it_is() {
    let stack = Stack::new(people);
    let window = Duration::from_secs(60);
    // Two routes with a free slot each: they differ in the account.
    let both = ["main", "other"].map(|account| stack.send(call(account, "/a", &[1], 600, 50, window)));
    for answer in both {
        assert_eq!(read(answer).await, (StatusCode::OK, shared(&[1]), false));
    }
    assert_eq!(stack.sent.lock()[0].1, "list=[1]", "byte for byte");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_alone_is_sent_as_it_is() {
    let stack = Stack::new(people);
    read(stack.share(&[1], 0)).await;
    assert_eq!(read(stack.share(&[2], 600)).await, (StatusCode::OK, shared(&[2]), false));
    assert_eq!(stack.sent.lock()[1].1, "list=[2]");
}

#[tokio::test(start_paused = true)]
async fn other_targets_and_accounts_do_not_merge() {
    let stack = Stack::new(people);
    let window = Duration::from_secs(60);
    for account in ["main", "other"] {
        read(stack.send(call(account, "/a", &[1], 0, 50, window))).await;
    }
    let calls = [("main", "/a"), ("main", "/b"), ("other", "/a")];
    let sent = calls.map(|(account, target)| stack.send(call(account, target, &[2], 600, 50, window)));
    for answer in sent {
        assert_eq!(read(answer).await, (StatusCode::OK, shared(&[2]), false));
    }
    assert_eq!(stack.lists().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_has_at_most_max_numbers() {
    let stack = Stack::new(people);
    read(stack.share(&[1], 0)).await;
    let window = stack.window;
    let send = |numbers: &[u32]| stack.send(call("main", "/a", numbers, 600, 3, window));
    let sent = [send(&[1, 2]), send(&[3, 4]), send(&[5, 6, 7]), send(&[8]), send(&[1])];
    for (answer, own) in sent.into_iter().zip([&[1, 2][..], &[3, 4], &[5, 6, 7], &[8], &[1]]) {
        assert_eq!(read(answer).await.1, shared(own));
    }
    let mut lists = stack.lists();
    lists.iter_mut().for_each(|list| list.sort_unstable());
    assert_eq!(lists[1..], [vec![1, 2, 8], vec![3, 4], vec![5, 6, 7]]);
}

#[tokio::test(start_paused = true)]
async fn each_unknown_number_is_reported_to_its_caller_alone() {
    let stack = Stack::new(people);
    read(stack.share(&[1], 0)).await;
    let sent: Vec<_> = (0..50).map(|number| if number == 17 { 117 } else { number }).collect();
    let waiting: Vec<_> = sent.iter().map(|number| stack.share(&[*number], 6000)).collect();
    for (answer, number) in waiting.into_iter().zip(&sent) {
        let (status, body, is_merged) = read(answer).await;
        if *number == 117 {
            assert_eq!((status, &*body, is_merged), (StatusCode::BAD_REQUEST, &*people(&[117]).unwrap().1, false));
            continue;
        }
        assert_eq!((status, body), (StatusCode::OK, shared(&[*number])));
    }
    // One at first; then one of fifty, and two on each of at most six levels.
    let calls = stack.lists().len();
    assert!((3..=1 + 1 + 2 * 6).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn after_a_422_calls_are_shorter() {
    let stack = Stack::new(|numbers| match numbers {
        [_, _, _, ..] => Ok((StatusCode::UNPROCESSABLE_ENTITY, "{}".to_owned(), None)),
        _ => people(numbers),
    });
    read(stack.share(&[1], 0)).await;
    for _ in 0..2 {
        let waiting: Vec<_> = (1..=4).map(|number| stack.share(&[number], 6000)).collect();
        for (answer, number) in waiting.into_iter().zip(1..=4) {
            assert_eq!(read(answer).await.1, shared(&[number]));
        }
    }
    let lengths: Vec<usize> = stack.lists().iter().map(Vec::len).collect();
    assert_eq!(lengths, [1, 4, 2, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_and_a_loss_reach_every_caller() {
    let locked: Zoho = |numbers| {
        let hit = LockHit { until: clock::now(), external: false };
        let retry = (numbers.len() > 1).then_some(RetryReason::Locked(hit));
        Ok((StatusCode::BAD_REQUEST, String::new(), retry))
    };
    let lost: Zoho = |numbers| if numbers.len() > 1 { Err(Cause::Internal) } else { people(numbers) };
    for (zoho, is_lock) in [(locked, true), (lost, false)] {
        let stack = Stack::new(zoho);
        let _ = stack.share(&[1], 0).await;
        let waiting = [1, 2, 3].map(|number| {
            let call = call("main", "/a", &[number], 600, 50, stack.window);
            (call.attempt_log.clone(), stack.send(call))
        });
        for (log, answer) in waiting {
            let outcome = answer.await.unwrap();
            assert_eq!(outcome.is_ok_and(|answer| answer.retry.is_some()), is_lock);
            assert_eq!((log.steps().attempts, log.fate()), (1, Fate::Unknown));
        }
        assert_eq!(stack.lists().len(), 2, "it is not sent again here");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_before_is_not_in_the_call_and_its_place_is_free() {
    let stack = Stack::new(people);
    read(stack.share(&[1], 0)).await;
    let [one, left, three] = [1, 2, 3].map(|number| stack.share(&[number], 600));
    tokio::time::sleep(Duration::from_secs(1)).await;
    left.abort();
    for (answer, number) in [(one, 1), (three, 3)] {
        assert_eq!(read(answer).await.1, shared(&[number]));
    }
    assert_eq!(stack.lists()[1].len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_merged_call_outlives_the_caller_whose_slot_it_uses() {
    let stack = Stack::new(people);
    read(stack.share(&[1], 0)).await;
    let waiting = [2, 3].map(|number| stack.share(&[number], 600));
    while stack.lists().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let leader = stack.lists()[1][0];
    let [two, three] = waiting;
    let (gone, other, number) = if leader == 2 { (two, three, 3) } else { (three, two, 2) };
    gone.abort();
    assert_eq!(read(other).await, (StatusCode::OK, shared(&[number]), true));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_wait_too_long_alone_is_sent_with_another() {
    let stack = Stack::new(people);
    read(stack.share(&[1], 0)).await;
    // The queue has a turn for the first only; the others' turns would come minutes after their wait.
    let waiting: Vec<_> = (2..40).map(|number| stack.share(&[number], 70)).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stack.limiters.waiting(), 38, "they count as waiting");
    for (answer, number) in waiting.into_iter().zip(2..40) {
        assert_eq!(read(answer).await, (StatusCode::OK, shared(&[number]), true));
    }
    assert_eq!(stack.lists().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_place_is_refused_at_the_end_of_its_wait() {
    let stack = Stack::new(people);
    read(stack.share(&[1], 0)).await;
    let window = stack.window;
    // Two numbers a call: the first takes one other, and the next turn is too late for the rest.
    let waiting: Vec<_> = (2..6).map(|number| stack.send(call("main", "/a", &[number], 70, 2, window))).collect();
    let mut refused = 0;
    for answer in waiting {
        match answer.await.unwrap() {
            Ok(_) => {}
            Err(refusal) => {
                assert!(matches!(*refusal.cause, Cause::ThresholdSaturated { .. }));
                refused += 1;
            }
        }
    }
    assert_eq!((refused, stack.lists().len()), (2, 2));
    assert_eq!(stack.limiters.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_half_without_callers_is_not_sent() {
    let stack = Stack::new(people);
    read(stack.share(&[1], 0)).await;
    let [one, two, three, four] = [102, 103, 4, 5].map(|number| stack.share(&[number], 6000));
    while stack.lists().len() < 2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    one.abort();
    two.abort();
    for (answer, number) in [(three, 4), (four, 5)] {
        assert_eq!(read(answer).await.1, shared(&[number]));
    }
    assert_eq!(stack.lists()[2..], [[4, 5]]);
}

#[tokio::test(start_paused = true)]
async fn halves_go_before_new_calls() {
    let stack = Stack::new(people);
    read(stack.share(&[1], 0)).await;
    let waiting: Vec<_> = [2, 3, 104, 5].iter().map(|number| stack.share(&[*number], 6000)).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let new = stack.send(call("main", "/b", &[6], 6000, 50, stack.window));
    for answer in waiting {
        read(answer).await;
    }
    read(new).await;
    let targets: Vec<_> = stack.sent.lock().iter().map(|(target, ..)| target.clone()).collect();
    assert_eq!(targets, ["/a", "/a", "/a", "/a", "/a", "/a", "/b"]);
}

/// A call as [`Gather`] notes it, and its registration.
fn joined(groups: &Arc<Groups>, number: u32, max: usize) -> (Call, groups::Registration) {
    let service = service_fn(|_: Call| async { Err::<Answer, _>(Refusal::from(Cause::Internal)) });
    let mut own = call("main", "/a", &[number], 600, max, Duration::from_secs(60));
    let (key, numbers) = groups.similar(&own).unwrap();
    let (registration, waited, _) = groups.join(key, own.again().unwrap(), numbers, BoxCloneService::new(service));
    own.waited = waited;
    (own, registration)
}

#[tokio::test]
async fn only_calls_that_waited_merge_and_each_is_sent_once() {
    let groups = Groups::new(|_| {}, Arc::new(Metrics::new()));
    let [(one, _one), (two, _two), (new, _new), (next, _next)] = [1, 2, 3, 4].map(|of| joined(&groups, of, 50));
    one.waited.set();
    two.waited.set();
    assert!(matches!(groups.lead(&new), groups::Lead::Alone), "it has its slot at once");
    assert!(matches!(groups.lead(&one), groups::Lead::Others(_)));
    assert!(matches!(groups.lead(&two), groups::Lead::Merged), "it had its slot too");
    assert!(matches!(groups.lead(&next), groups::Lead::Alone), "nobody took it");
}

/// A call that was woken to ask for a place, and merged before it asked, once left the place to nobody: the slots of the
/// window stayed unused until the others' wait was over.
#[tokio::test]
async fn each_place_that_comes_free_wakes_another_call() {
    let groups = Groups::new(|_| {}, Arc::new(Metrics::new()));
    let [(one, _one), (two, _two), (_, third), (_, fourth), (_, fifth)] =
        [1, 2, 3, 4, 5].map(|of| joined(&groups, of, 2));
    one.waited.set();
    two.waited.set();
    for without_place in [&third, &fourth, &fifth] {
        assert!(without_place.leave_queue().is_some());
    }
    assert!(matches!(groups.lead(&one), groups::Lead::Others(_)), "it takes the second");
    let woken = [&third, &fourth, &fifth].map(|call| call.place_freed().now_or_never().is_some());
    assert_eq!(woken, [true, true, false]);
}
