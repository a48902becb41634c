//! Runs jobs: each is sent as an ordinary call, in a task of its own, and its answer is kept.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::FutureExt;
use http::StatusCode;
use tokio::{sync::mpsc, task::JoinSet};
use tower::Service;

use super::{
    Jobs,
    job::{self, Answer, Ending, Job, Stage, State},
    kept::{KeptAnswer, KeptRequest, Reading},
    seal::{self, Kind, Record},
    store::{Change, Known, Part, Put},
};
use crate::{
    call::{
        Call, RequestSummary,
        attempt_log::{AttemptRecorder, Fate, Unrecorded},
        request_id::RequestId,
        trace::{Trace, TraceParent},
    },
    os::clock,
    problem::{Cause, Refusal, UpstreamFault, respond},
};

/// How often jobs that were kept long enough are removed.
const EXPIRY: Duration = Duration::from_secs(1);

/// The time between attempts to store the end of a job.
const RETRY: Duration = Duration::from_millis(500);

/// How soon and how late a job tries again that the gateway itself refused. A caller would come back at `Retry-After`; a
/// job is nearer, and an earlier end of the trouble should not be missed.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(30);

/// How often a call that may be repeated is sent again when no answer comes: each time uses a slot.
const REPEATS: u32 = 2;

/// What follows an attempt to get an answer.
enum Next {
    /// The job has ended.
    Ends(End),
    /// Nothing happened at Zoho, and nobody asked for a job: the refusal goes to those who wait.
    Removed(Refusal),
    /// The job is queued again after this span.
    Again {
        after: Duration,
        /// Whether Zoho may have executed it.
        is_repeat: bool,
    },
}

/// The end of a job.
struct End {
    state: State,
    /// Of Zoho's answer.
    status: Option<StatusCode>,
    kept: Kept,
    /// Whether a later request with the same key gets the same answer.
    is_remembered: bool,
}

enum Kept {
    Answer(Box<KeptAnswer>),
    TooLarge,
    Problem(Refusal),
}

/// Runs each job that comes, and removes those that were kept long enough, until the process stops.
pub(super) async fn run_all(jobs: Arc<Jobs>, mut starts: mpsc::UnboundedReceiver<Arc<Job>>) {
    let mut running = JoinSet::new();
    let mut expiry = tokio::time::interval(EXPIRY);
    loop {
        tokio::select! {
            Some(job) = starts.recv() => {
                let mut run = Box::pin(Arc::clone(&jobs).run(job));
                // The first poll joins the queue, so jobs of an earlier process wait in their order.
                if (&mut run).now_or_never().is_none() {
                    running.spawn(run);
                }
            }
            Some(_) = running.join_next() => {}
            _ = expiry.tick() => jobs.expire(),
            () = jobs.deps.shutdown.cut_off() => return,
        }
    }
}

impl Jobs {
    async fn run(self: Arc<Self>, job: Arc<Job>) {
        if !self.is_stored(&job).await {
            return;
        }
        let parent = job.facts.traceparent.as_deref().and_then(TraceParent::restored);
        // It ends when this process has nothing more to do with the job.
        let (mut span, trace) = self.deps.traces.work(parent);
        span.name(|| format!("job {}", job.facts.route));
        span.set("zoho_gateway.job", || Some(job.id.to_string()));
        let mut repeats = 0;
        loop {
            let next = tokio::select! {
                biased;
                () = self.stops(&job) => return,
                next = self.attempt(&job, &trace, repeats < REPEATS) => next,
            };
            match next {
                Next::Ends(end) => return self.end(&job, end).await,
                Next::Removed(refusal) => return self.remove(&job, refusal),
                Next::Again { after, is_repeat } => {
                    repeats += u32::from(is_repeat);
                    self.returns_to_queue(&job);
                    tokio::select! {
                        () = self.stops(&job) => return,
                        () = tokio::time::sleep(after) => {}
                    }
                }
            }
        }
    }

    /// Stores a new job. Returns whether it is to run.
    async fn is_stored(&self, job: &Arc<Job>) -> bool {
        if !matches!(job.stage(), Stage::New) {
            return true;
        }
        let written = {
            let parts = job.parts.lock();
            let request = parts.request.as_ref().map_or(Part::Unchanged, |request| self.sealed_request(job, request));
            self.store.write(self.change(job, false, None, request, Part::Unchanged))
        };
        if written.in_time().await.is_err() {
            // It may be stored all the same, and must not be sent after a restart.
            self.store.write_later(Change { id: job.id, put: None });
            self.remove(job, Cause::StateUnavailable.into());
            return false;
        }
        job.is_now_kept();
        let _parts = job.parts.lock();
        job.enters(Stage::Queued);
        true
    }

    /// Resolves when the job is not to be sent by this process: it was removed, nobody waits for it any more, or the
    /// process stops. A job that waits for its slot stays in the store, and the next process sends it.
    async fn stops(&self, job: &Arc<Job>) {
        let (shutdown, mut stage) = (&self.deps.shutdown, job.watch());
        loop {
            let is_queued = match &*stage.borrow_and_update() {
                Stage::Removed(_) => return,
                stage => matches!(stage, Stage::Queued),
            };
            let asked = job.is_asked();
            tokio::select! {
                _ = stage.changed() => {}
                () = shutdown.cut_off() => return,
                () = shutdown.draining(), if is_queued && asked => return,
                () = job.attended.closed(), if is_queued && !asked => {
                    if self.is_abandoned(job) {
                        return;
                    }
                }
            }
        }
    }

    /// Sends the job's call, and decides what its outcome means. `may_repeat`: if Zoho may have executed it.
    async fn attempt(self: &Arc<Self>, job: &Arc<Job>, trace: &Trace, may_repeat: bool) -> Next {
        let inner = self.inner.read().clone();
        let Some(call) = self.call(job, trace) else {
            let detail = format!("the catalogue no longer has {}", job.facts.route);
            return ends(State::Failed, None, Kept::Problem(Cause::UnknownRoute { detail }.into()));
        };
        let (attempt_log, context) = (call.attempt_log.clone(), call.context.clone());
        attempt_log.record(Arc::new(Recorder { jobs: Arc::clone(self), job: Arc::downgrade(job) }));
        job.parts.lock().attempt_log = attempt_log.clone();
        let exchange = AssertUnwindSafe(async {
            let mut inner = inner.ok_or_else(|| Refusal::from(Cause::Internal))?;
            let mut response = inner.call(call).await?;
            job.parts.lock().summary = response.extensions_mut().remove::<RequestSummary>();
            Ok(KeptAnswer::read(response, self.settings.max_answer).await)
        });
        let outcome = exchange.catch_unwind().await.unwrap_or_else(|_| Err(Cause::Internal.into()));
        let refusal = match outcome {
            Ok(Reading::Whole(answer)) => {
                // A call that Zoho refused unexecuted, such as one with a dead token, may be tried with the same key.
                let is_remembered = job.is_asked() || attempt_log.fate() != Fate::NotExecuted;
                let (status, kept) = (Some(answer.status), Kept::Answer(answer));
                return Next::Ends(End { state: State::Done, status, kept, is_remembered });
            }
            Ok(Reading::TooLarge(status)) => return ends(State::Done, Some(status), Kept::TooLarge),
            Ok(Reading::Broken) => {
                let server = job.account.endpoints.product(context.route.product).authority().to_string();
                let log = "the answer ended early".to_owned();
                let error = "http_response_incomplete";
                let fault = UpstreamFault { error, server, log, before_the_call: false, proxy: None };
                Refusal::from(Cause::UpstreamInvalidResponse(fault)).of(&context)
            }
            Err(refusal) => refusal,
        };
        let changes_nothing = job.facts.method.parse().is_ok_and(|method| context.route.changes_nothing(&method));
        after(job, refusal, attempt_log.fate(), changes_nothing, may_repeat && job.facts.repeatable)
    }

    /// Whether the job is about to be sent: durable before the first byte may leave.
    async fn is_sending(&self, job: &Arc<Job>) -> Result<(), Unrecorded> {
        // A removal that fails leaves it in the queue.
        let _ = job.watch().wait_for(|stage| !matches!(stage, Stage::Removing)).await;
        let written = {
            let mut parts = job.parts.lock();
            if !matches!(job.stage(), Stage::Queued | Stage::Sending) {
                return Err(Unrecorded::State);
            }
            parts.in_flight = Some(self.deps.shutdown.in_flight());
            job.enters(Stage::Sending);
            self.store.write(self.change(job, true, None, Part::Unchanged, Part::Unchanged))
        };
        if written.in_time().await.is_err() {
            self.returns_to_queue(job);
            return Err(Unrecorded::State);
        }
        Ok(())
    }

    /// Zoho certainly has not executed it, or it may be repeated.
    fn returns_to_queue(&self, job: &Arc<Job>) {
        let mut parts = job.parts.lock();
        if !matches!(job.stage(), Stage::Sending) {
            return;
        }
        parts.in_flight = None;
        job.enters(Stage::Queued);
        // On Redis, its key stays reserved.
        self.store.write_later(match job.is_asked() || self.store.shared().is_some() {
            true => self.change(job, false, None, Part::Unchanged, Part::Unchanged),
            false => Change { id: job.id, put: None },
        });
    }

    /// Stores the end of a job. While that fails, those who wait for the answer get it, and its state stays `sending`.
    async fn end(&self, job: &Arc<Job>, End { state, status, kept, is_remembered }: End) {
        let (answer, refusal) = match kept {
            Kept::Answer(answer) => (Some(answer), None),
            Kept::TooLarge => (None, None),
            Kept::Problem(refusal) => {
                let problem = respond::respond(&refusal, &job.facts.request_id);
                let Reading::Whole(answer) = KeptAnswer::read(problem, u64::MAX).await else { return };
                (Some(answer), Some(refusal))
            }
        };
        let size = answer.as_ref().map_or(0, |answer| answer.size());
        let kept = if answer.is_some() { Answer::Kept } else { Answer::TooLarge };
        let status = status.map(|status| status.as_u16());
        let ending = Ending { state, status, answer: kept, at: job::now(), size, refusal };
        let sealed = answer.as_ref().map(|answer| seal::seal(&job.account, job.id, Kind::Answer, answer.to_bytes()));
        job.parts.lock().unsaved = answer.map(Arc::from);
        loop {
            let part = sealed.clone().map_or(Part::Unchanged, Part::Set);
            let written = {
                let _parts = job.parts.lock();
                self.store.write(self.change(job, true, Some(ending.clone()), Part::Removed, part))
            };
            if written.in_time().await.is_ok() {
                break;
            }
            // Another gateway owns it now, and has given it its end.
            if matches!(job.stage(), Stage::Removed(_)) {
                return;
            }
            let first = !matches!(job.stage(), Stage::Answered(_));
            if first {
                let _parts = job.parts.lock();
                job.enters(Stage::Answered(ending.clone()));
            }
            tokio::time::sleep(RETRY).await;
        }
        let mut parts = job.parts.lock();
        parts.held.set(size);
        (parts.request, parts.unsaved, parts.in_flight) = (None, None, None);
        job.enters(Stage::Ended(ending));
        drop(parts);
        let keep = if is_remembered { self.settings.keep } else { EXPIRY };
        self.index.lock().ends(job.id, clock::now() + keep);
    }

    /// The job's call, once more.
    fn call(&self, job: &Arc<Job>, trace: &Trace) -> Option<Call> {
        let (request, deadline) = {
            let parts = job.parts.lock();
            (parts.request.clone()?, parts.deadline)
        };
        let head = (request.method.clone(), request.target.clone(), request.headers.clone());
        let (context, payload) = (job.context()?, request.payload());
        Some(Call::kept(context, head, payload, job.request_id(), job.urgency(), deadline, trace.clone()))
    }

    /// What the store has of the job from now on. Must be called with `parts` locked.
    pub(super) fn change(
        &self,
        job: &Job,
        sending: bool,
        ending: Option<Ending>,
        request: Part,
        answer: Part,
    ) -> Change {
        let state = match (job.is_asked(), &ending) {
            (true, Some(ending)) => Known::Job(ending.state),
            (true, None) => Known::Job(if sending { State::Sending } else { State::Queued }),
            (false, Some(_)) => Known::CallEnded,
            (false, None) => {
                if sending {
                    Known::CallSending
                } else {
                    Known::Reserved
                }
            }
        };
        let record = Record { facts: job.facts.clone(), asked: job.is_asked(), sending, ending };
        // Texts and numbers always have a JSON form.
        let record = serde_json::to_vec(&record).unwrap_or_default();
        let until = job.facts.created / 1000 + self.settings.max_wait.as_secs() + self.settings.keep.as_secs();
        let account = job.account.name.to_string();
        let record = seal::seal(&job.account, job.id, Kind::Record, record);
        Change {
            id: job.id,
            put: Some(Put { account, caller: job.facts.caller.clone(), state, until, record, request, answer }),
        }
    }

    pub(super) fn sealed_request(&self, job: &Job, request: &KeptRequest) -> Part {
        Part::Set(seal::seal(&job.account, job.id, Kind::Request, request.to_bytes()))
    }
}

/// What follows a refusal of the gateway itself.
fn after(job: &Job, refusal: Refusal, fate: Fate, changes_nothing: bool, may_repeat: bool) -> Next {
    let is_unknown = fate == Fate::Unknown;
    if !is_unknown && !job.is_asked() {
        return Next::Removed(refusal);
    }
    let left = job.parts.lock().deadline.saturating_duration_since(clock::now());
    if (!is_unknown || may_repeat) && refusal.cause.is_passing() && !left.is_zero() {
        let after = refusal.cause.problem_type().retry_after.unwrap_or_default();
        return Next::Again { after: after.clamp(SOONEST, LATEST).min(left), is_repeat: is_unknown };
    }
    let state = if is_unknown && !changes_nothing { State::Unknown } else { State::Failed };
    ends(state, None, Kept::Problem(refusal))
}

fn ends(state: State, status: Option<StatusCode>, kept: Kept) -> Next {
    Next::Ends(End { state, status, kept, is_remembered: true })
}

/// Records that a job is being sent. The job holds the log of its attempts, and that holds this.
#[derive(Debug)]
struct Recorder {
    jobs: Arc<Jobs>,
    job: Weak<Job>,
}

impl AttemptRecorder for Recorder {
    fn sending(
        &self,
        _: u32,
        _: Option<RequestId>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send + '_>> {
        Box::pin(async {
            let job = self.job.upgrade().ok_or(Unrecorded::State)?;
            self.jobs.is_sending(&job).await
        })
    }

    fn not_executed(&self) {
        if let Some(job) = self.job.upgrade() {
            self.jobs.returns_to_queue(&job);
        }
    }
}
