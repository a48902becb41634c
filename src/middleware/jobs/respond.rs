//! What a request gets that made a job, or that waits for one.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};
use tokio::time::sleep_until;

use super::{
    Jobs,
    job::{Answer, Ending, Job, Stage},
    kept::KeptAnswer,
    seal::{self, Kind},
    submit::{Submitted, slot_request},
    view,
    wish::Wish,
};
use crate::{
    call::{RequestSummary, prefer::PREFERENCE_APPLIED},
    message::body::Body,
    os::clock,
    problem::{Cause, Refusal, ratelimit::whole_seconds},
};

impl Jobs {
    /// Waits as the request wishes.
    ///
    /// # Errors
    /// The job was not stored, its call was refused, or another request with the same key takes too long.
    pub(super) async fn respond(&self, submitted: Submitted, wish: &Wish) -> Result<Response<Body>, Refusal> {
        let Submitted { job, is_first, deadline, .. } = &submitted;
        // The task that stores it always ends in another stage.
        let _ = job.watch().wait_for(|stage| !matches!(stage, Stage::New)).await;
        if wish.asynchronous && *is_first && wish.wait.unwrap_or_default().is_zero() {
            // 202 also when the job has ended in this moment, so that callers can rely on it.
            return match job.stage() {
                Stage::Removed(refusal) => Err(refusal),
                _ => Ok(self.accepted(job)),
            };
        }
        if wish.asynchronous {
            let until = clock::now() + wish.wait.unwrap_or_default();
            return tokio::select! {
                biased;
                ending = answered(job) => self.answer(job, ending?).await,
                () = sleep_until(until) => Ok(self.accepted(job)),
                () = self.deps.shutdown.draining() => Ok(self.accepted(job)),
            };
        }
        if *is_first {
            return self.answer(job, answered(job).await?).await;
        }
        let too_late = async {
            sleep_until(*deadline).await;
            // A call that is being sent ends soon.
            let _ = job.watch().wait_for(|stage| matches!(stage, Stage::New | Stage::Queued | Stage::Removing)).await;
        };
        tokio::select! {
            biased;
            ending = answered(job) => self.answer(job, ending?).await,
            () = too_late => Err(self.refuse(job, Cause::IdempotencyConflict { retry_after: self.expected(job).1 })),
        }
    }

    /// The answer of a call that has ended.
    async fn answer(&self, job: &Arc<Job>, ending: Ending) -> Result<Response<Body>, Refusal> {
        if let Some(refusal) = ending.refusal {
            return Err(refusal);
        }
        let mut response = match self.kept_answer(job, &ending).await {
            Ok(answer) => answer.response(false),
            Err(cause) => return Err(self.refuse(job, cause)),
        };
        self.summarise(job, &mut response);
        Ok(response)
    }

    /// What is kept of an answer.
    pub(super) async fn kept_answer(&self, job: &Job, ending: &Ending) -> Result<Arc<KeptAnswer>, Cause> {
        match ending.answer {
            Answer::Missing => return Err(Cause::JobOutcomeUnknown),
            Answer::TooLarge => return Err(Cause::JobAnswerTooLarge { limit: self.settings.max_answer }),
            Answer::Kept => {}
        }
        let unsaved = job.parts.lock().unsaved.clone();
        if let Some(answer) = unsaved {
            return Ok(answer);
        }
        let sealed = self.store.answer(job.account.name.as_str(), job.id).await;
        let sealed = sealed.map_err(|_| Cause::StateUnavailable)?.ok_or(Cause::UnknownJob)?;
        let bytes = seal::open(&job.account, job.id, Kind::Answer, &sealed);
        bytes.and_then(KeptAnswer::from_bytes).map(Arc::new).ok_or(Cause::StateUnavailable)
    }

    /// 202: the call is a job.
    fn accepted(&self, job: &Arc<Job>) -> Response<Body> {
        let mut response = view::json(StatusCode::ACCEPTED, &self.view_with_place(job));
        let headers = response.headers_mut();
        if let Ok(location) = HeaderValue::try_from(view::location(job.id)) {
            headers.insert(header::LOCATION, location);
        }
        headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
        headers.insert(header::RETRY_AFTER, whole_seconds(self.expected(job).1).into());
        self.summarise(job, &mut response);
        response
    }

    /// How many calls go before a job, if it is in the queue, and how long it still waits.
    pub(super) fn expected(&self, job: &Job) -> (Option<usize>, Duration) {
        let Some(context) = job.context() else { return (None, Duration::ZERO) };
        let limit = self.deps.limiters.limit(&context.account, &context.route);
        let Some(limiter) = limit.limiter() else { return (None, Duration::ZERO) };
        let (observer, deadline) = {
            let parts = job.parts.lock();
            (parts.attempt_log.observer(), parts.deadline)
        };
        match (limiter.place(&observer), job.stage()) {
            (Some((ahead, wait)), _) => (Some(ahead), wait),
            (None, Stage::New | Stage::Queued) => {
                (None, limiter.verdict(&slot_request(&context, &job.facts, deadline)).0)
            }
            (None, _) => (None, Duration::ZERO),
        }
    }

    /// For the log and the metrics of the request.
    fn summarise(&self, job: &Job, response: &mut Response<Body>) {
        let summary = job.parts.lock().summary.take();
        let summary = summary.or_else(|| {
            let (account, route) = job.context()?.names();
            Some(RequestSummary { account, route, waited: None })
        });
        summary.map(|summary| response.extensions_mut().insert(summary));
    }

    fn refuse(&self, job: &Job, cause: Cause) -> Refusal {
        let refusal = Refusal::from(cause);
        match job.context() {
            Some(context) => refusal.of(&context),
            None => refusal,
        }
    }
}

/// Resolves when the call has ended.
pub(super) async fn answered(job: &Job) -> Result<Ending, Refusal> {
    let mut stage = job.watch();
    let is_over = |stage: &Stage| matches!(stage, Stage::Answered(_) | Stage::Ended(_) | Stage::Removed(_));
    match stage.wait_for(is_over).await.as_deref() {
        Ok(Stage::Answered(ending) | Stage::Ended(ending)) => Ok(ending.clone()),
        Ok(Stage::Removed(refusal)) => Err(refusal.clone()),
        _ => Err(Cause::Internal.into()),
    }
}
