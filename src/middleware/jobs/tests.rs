use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::{job::State, *};
use crate::{
    call::{
        Call,
        attempt_log::AttemptLog,
        tests::{call, with_headers},
    },
    ledger::{Limits, Step},
    message::body::Body,
    middleware::layer::BoxFuture,
    os::clock,
    problem::{Cause, Refusal},
};

type Service = BoxCloneSyncService<Call, Response<Body>, Refusal>;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    Settings { max_wait: 60 * SECOND, keep: 100 * SECOND, max_jobs: 10, max_bytes: 10_000, max_answer: 1000 }
}

/// Jobs in memory in front of this Zoho, and how often it was asked.
fn jobs<F>(settings: Settings, zoho: F) -> (Arc<Jobs>, Service, Arc<AtomicUsize>)
where
    F: Fn(usize, AttemptLog) -> BoxFuture + Clone + Send + Sync + 'static,
{
    let context = call("/").context;
    let deps = JobDeps {
        known: RwLock::new(KnownCalls {
            accounts: [(context.account.name.clone(), Arc::clone(&context.account))].into(),
            routes: [(context.route.id.clone(), Arc::clone(&context.route))].into(),
        }),
        limiters: Arc::new(Limiters::in_memory(Limits::calls(100))),
        max_body: 10_000,
        longest_wait: Duration::from_secs(3600),
        shutdown: Shutdown::default(),
        traces: Traces::default(),
    };
    let jobs = Jobs::open(None, settings, deps).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let inner = service_fn(move |call: Call| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        zoho(number, call.attempt_log)
    });
    let inner = tower::util::MapFutureLayer::new(|future| -> BoxFuture { Box::pin(future) }).layer(inner);
    let service = JobsLayer(Some(Arc::clone(&jobs))).layer(inner);
    (jobs, BoxCloneSyncService::new(service), asked)
}

/// Zoho executes the call and answers after a second.
fn executes(_: usize, attempt_log: AttemptLog) -> BoxFuture {
    Box::pin(async move {
        attempt_log.announced().await.map_err(|_| Refusal::from(Cause::StateUnavailable))?;
        attempt_log.sends();
        tokio::time::sleep(SECOND).await;
        attempt_log.answered(StatusCode::OK);
        attempt_log.step(Step::Judged { executed: true });
        Ok(Response::new(Body::full("{}")))
    })
}

/// The call waits for a slot for ever.
fn waits(_: usize, _: AttemptLog) -> BoxFuture {
    Box::pin(std::future::pending())
}

fn with(fields: &[(&'static str, &'static str)]) -> Call {
    let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    with_headers(call("/a"), fields.collect::<HeaderMap>())
}

const ASYNC: (&str, &str) = ("prefer", "respond-async");
const KEY: (&str, &str) = ("idempotency-key", "\"k\"");

fn id_of(response: &Response<Body>) -> JobId {
    let location = response.headers()[header::LOCATION].to_str().unwrap();
    location.rsplit('/').next().unwrap().parse().unwrap()
}

async fn accepted(service: &Service, call: Call) -> JobId {
    let response = service.clone().oneshot(call).await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    id_of(&response)
}

fn state(jobs: &Jobs, id: JobId) -> Option<State> {
    jobs.index.lock().get(id)?.state()
}

async fn after(span: Duration) {
    tokio::time::sleep(span).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_is_kept_for_its_time_after_its_end() {
    let (jobs, service, asked) = jobs(settings(), executes);
    let id = accepted(&service, with(&[ASYNC])).await;
    after(SECOND / 2).await;
    assert_eq!(state(&jobs, id), Some(State::Sending));
    after(SECOND).await;
    assert_eq!(state(&jobs, id), Some(State::Done));
    let job = Arc::downgrade(&jobs.index.lock().get(id).unwrap());
    after(98 * SECOND).await;
    assert_eq!(state(&jobs, id), Some(State::Done));
    after(5 * SECOND).await;
    assert_eq!((state(&jobs, id), asked.load(Ordering::SeqCst)), (None, 1));
    assert!(job.upgrade().is_none(), "nothing holds it any more");
    assert!(jobs.budget.hold().grow_to(10_000).is_ok(), "and its bytes are free");
    assert_eq!(jobs.store.answer("main", id).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn with_a_wait_the_answer_comes_directly_or_later() {
    let (jobs, service, asked) = jobs(settings(), executes);
    let answer = service.clone().oneshot(with(&[("prefer", "respond-async, wait=2")])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let began = clock::now();
    let id = accepted(&service, with(&[("prefer", "respond-async, wait=0")])).await;
    assert!(began.elapsed() < SECOND / 10);
    after(2 * SECOND).await;
    assert_eq!((state(&jobs, id), asked.load(Ordering::SeqCst)), (Some(State::Done), 2));
}

/// Nothing was sent, so the job tries again, and fails when its wait is over.
#[tokio::test(start_paused = true)]
async fn a_job_tries_again_what_a_caller_would_try_again() {
    let full = |_, _| -> BoxFuture {
        let retry_after = 2 * SECOND;
        Box::pin(async move { Err(Cause::ThresholdSaturated { retry_after, daily: false, position: None }.into()) })
    };
    let (jobs, service, asked) = jobs(settings(), full);
    let id = accepted(&service, with(&[ASYNC])).await;
    after(59 * SECOND).await;
    assert_eq!((state(&jobs, id), asked.load(Ordering::SeqCst)), (Some(State::Queued), 30));
    after(5 * SECOND).await;
    assert_eq!((state(&jobs, id), asked.load(Ordering::SeqCst)), (Some(State::Failed), 31));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_stays_ends_the_job_at_once() {
    let missing = |_, _| -> BoxFuture { Box::pin(async { Err(Cause::UnknownRoute { detail: String::new() }.into()) }) };
    let (jobs, service, asked) = jobs(settings(), missing);
    let id = accepted(&service, with(&[ASYNC])).await;
    after(SECOND / 10).await;
    assert_eq!((state(&jobs, id), asked.load(Ordering::SeqCst)), (Some(State::Failed), 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_repeated_only_if_its_caller_says_so() {
    let lost = |_, attempt_log: AttemptLog| -> BoxFuture {
        Box::pin(async move {
            attempt_log.announced().await.map_err(|_| Refusal::from(Cause::StateUnavailable))?;
            attempt_log.sends();
            let (error, server) = ("connection_terminated", String::new());
            let fault = crate::problem::UpstreamFault {
                error,
                server,
                log: String::new(),
                before_the_call: false,
                proxy: None,
            };
            Err(Cause::UpstreamInvalidResponse(fault).into())
        })
    };
    for (prefer, sent) in [("respond-async", 1), ("respond-async; idempotent", 3)] {
        let (jobs, service, asked) = jobs(settings(), lost);
        let id = accepted(&service, with(&[("prefer", prefer)])).await;
        after(50 * SECOND).await;
        assert_eq!((state(&jobs, id), asked.load(Ordering::SeqCst)), (Some(State::Unknown), sent), "{prefer}");
    }
}

/// Between two attempts nothing is on its way: the job can be removed, and a crash would not make it unknown.
#[tokio::test(start_paused = true)]
async fn a_job_that_zoho_refused_unexecuted_is_queued_again() {
    let locked = |_, attempt_log: AttemptLog| -> BoxFuture {
        Box::pin(async move {
            attempt_log.announced().await.map_err(|_| Refusal::from(Cause::StateUnavailable))?;
            attempt_log.sends();
            attempt_log.answered(StatusCode::TOO_MANY_REQUESTS);
            attempt_log.refused();
            std::future::pending().await
        })
    };
    let (jobs, service, _) = jobs(settings(), locked);
    let id = accepted(&service, with(&[ASYNC])).await;
    after(SECOND).await;
    assert_eq!(state(&jobs, id), Some(State::Queued));
    jobs.cancel_by_id(id).await.unwrap();
    assert_eq!(state(&jobs, id), None);
}

#[tokio::test(start_paused = true)]
async fn a_removed_job_is_not_sent_and_a_sent_one_is_not_removed() {
    let (jobs, service, _) = jobs(settings(), executes);
    let sent = accepted(&service, with(&[ASYNC])).await;
    after(SECOND / 2).await;
    assert!(matches!(jobs.cancel_by_id(sent).await, Err(Cause::JobSent)));
    after(SECOND).await;
    assert!(matches!(jobs.cancel_by_id(sent).await, Err(Cause::JobSent)), "nor one that has ended");
    assert!(matches!(jobs.cancel_by_id(JobId::generate()).await, Err(Cause::UnknownJob)));
}

#[tokio::test(start_paused = true)]
async fn a_call_with_a_key_leaves_the_queue_with_its_last_caller() {
    let (jobs, service, asked) = jobs(settings(), waits);
    let [one, other] = [0, 1].map(|_| tokio::spawn(service.clone().oneshot(with(&[KEY]))));
    after(SECOND).await;
    assert_eq!((jobs.index.lock().len(), asked.load(Ordering::SeqCst)), (1, 1));
    one.abort();
    after(SECOND).await;
    assert_eq!(jobs.index.lock().len(), 1, "the other one waits");
    other.abort();
    after(SECOND).await;
    assert_eq!(jobs.index.lock().len(), 0);
    drop(tokio::spawn(service.clone().oneshot(with(&[KEY]))));
    after(SECOND).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2, "the key is free");
}

#[tokio::test(start_paused = true)]
async fn a_call_with_a_key_becomes_a_job_and_gets_a_jobs_time() {
    let (jobs, service, asked) = jobs(settings(), waits);
    let first = tokio::spawn(service.clone().oneshot(with(&[KEY])));
    after(SECOND).await;
    let id = accepted(&service, with(&[KEY, ASYNC])).await;
    first.abort();
    after(SECOND).await;
    assert_eq!((state(&jobs, id), asked.load(Ordering::SeqCst)), (Some(State::Queued), 1));
    let left = jobs.index.lock().get(id).unwrap().parts.lock().deadline - clock::now();
    assert!(left > 58 * SECOND, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_request_with_the_key_waits_no_longer_than_for_a_slot() {
    let (_, service, _) = jobs(settings(), waits);
    let _first = tokio::spawn(service.clone().oneshot(with(&[KEY])));
    after(SECOND).await;
    let began = clock::now();
    let refusal = service.clone().oneshot(with(&[KEY, ("prefer", "wait=7")])).await.unwrap_err();
    assert!(matches!(*refusal.cause, Cause::IdempotencyConflict { .. }));
    assert_eq!(began.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn no_more_jobs_than_the_limit_are_kept() {
    let (jobs, service, _) = jobs(Settings { max_jobs: 2, ..settings() }, executes);
    for _ in 0..2 {
        accepted(&service, with(&[ASYNC])).await;
    }
    let refusal = service.clone().oneshot(with(&[ASYNC])).await.unwrap_err();
    assert!(matches!(*refusal.cause, Cause::JobsFull { .. }));
    after(104 * SECOND).await;
    accepted(&service, with(&[ASYNC])).await;
    assert_eq!(jobs.counts().values().sum::<usize>(), 1);
}

/// A drain stops what waits, and lets end what is being sent.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_job_that_is_being_sent() {
    let first_is_sent =
        |number, attempt_log| if number == 0 { executes(number, attempt_log) } else { waits(number, attempt_log) };
    let (jobs, service, _) = jobs(settings(), first_is_sent);
    let sent = accepted(&service, with(&[ASYNC])).await;
    after(SECOND / 2).await;
    let waiting = accepted(&service, with(&[ASYNC])).await;
    let began = clock::now();
    jobs.deps.shutdown.drain();
    jobs.deps.shutdown.drained().await;
    assert_eq!(began.elapsed(), SECOND / 2);
    assert_eq!((state(&jobs, sent), state(&jobs, waiting)), (Some(State::Done), Some(State::Queued)));
}
