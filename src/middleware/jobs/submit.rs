//! Makes a job of a call, or finds the job that it already is.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    Jobs,
    id::JobId,
    job::{self, Facts, Job, Stage},
    kept::KeptRequest,
    store::Part,
    wish::Wish,
};
use crate::{
    call::{Call, CallContext},
    ledger::{Arrival, Refused, SlotRequest, Urgency},
    os::clock,
    problem::{Cause, JobLimit},
};

/// When a caller tries again if no kept job has ended yet.
const AFTER_FULL: Duration = Duration::from_secs(30);

/// The job of a request that waits for it.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) job: Arc<Job>,
    /// Whether this request made the job.
    pub(super) is_first: bool,
    /// How long this request waits for another one's call.
    pub(super) deadline: Instant,
    /// As long as it exists, somebody waits for the job.
    pub(super) _attendant: watch::Receiver<()>,
}

impl Jobs {
    /// # Errors
    /// The body cannot be read, the jobs are full, the call cannot be served in time, or its key belongs to another call.
    pub(super) async fn submit(self: &Arc<Self>, call: Call, wish: &Wish) -> Result<Submitted, Cause> {
        let (context, deadline, urgency) = (call.context.clone(), call.deadline, call.urgency);
        let (request_id, changes_nothing) = (call.request_id.as_str().to_owned(), call.changes_nothing());
        let traceparent = call.attempt_log.trace().parent().map(|parent| parent.to_string());
        let mut held = self.budget.hold();
        let request = KeptRequest::read(call, &mut held, self.deps.max_body).await?;
        let facts = Facts {
            caller: context.caller.name().to_owned(),
            weight: context.caller.weight(),
            max_share: context.caller.terms().max_share,
            route: context.route.id.to_string(),
            method: request.method.to_string(),
            request_id,
            urgency: urgency.get(),
            key: wish.key.clone(),
            fingerprint: request.fingerprint(context.account.name.as_str(), context.route.product.as_str()),
            repeatable: changes_nothing || wish.idempotent,
            created: job::now(),
            traceparent,
        };
        if let Some(job) = self.of_key(&facts)
            && let Some(submitted) = self.joins(job, &facts, deadline, wish).await?
        {
            return Ok(submitted);
        }
        let asked = wish.asynchronous;
        let job_deadline = if asked { clock::now() + self.settings.max_wait } else { deadline };
        if asked {
            self.admits(&context, &facts, job_deadline)?;
        }
        held.grow_to(request.size())?;
        // A call that lasts only as long as somebody waits for it is stored when it is sent.
        let is_reserved = self.store.shared().is_some() && facts.key.is_some();
        let stage = if asked || is_reserved { Stage::New } else { Stage::Queued };
        let (of, parts) = ((context.account, Some(context.route)), (Some(Arc::new(request)), held));
        let new = Job::new(JobId::generate(), facts, of, job_deadline, asked, stage, parts);
        let attendant = new.attended.subscribe();
        while let Some(same) = self.enter(&new)? {
            if let Some(submitted) = self.joins(same, &new.facts, deadline, wish).await? {
                return Ok(submitted);
            }
            // It has just been removed, and leaves the index in a moment.
            tokio::task::yield_now().await;
        }
        if let Some(other) = self.reserved_elsewhere(&new).await? {
            let attendant = other.attended.subscribe();
            if other.facts.fingerprint != new.facts.fingerprint {
                return Err(Cause::IdempotencyKeyReused);
            }
            return Ok(Submitted { job: other, is_first: false, deadline, _attendant: attendant });
        }
        Ok(Submitted { job: new, is_first: true, deadline, _attendant: attendant })
    }

    /// The job of the same key.
    fn of_key(&self, facts: &Facts) -> Option<Arc<Job>> {
        self.index.lock().of_key(&facts.caller, facts.key.as_ref()?)
    }

    /// The request joins the call that was made for its key, unless that was removed.
    async fn joins(
        &self,
        job: Arc<Job>,
        facts: &Facts,
        deadline: Instant,
        wish: &Wish,
    ) -> Result<Option<Submitted>, Cause> {
        // Its key may turn out to be that of another gateway's call.
        let _ = job.watch().wait_for(|stage| !matches!(stage, Stage::New)).await;
        let attendant = {
            // So that it is not abandoned in between.
            let _parts = job.parts.lock();
            if matches!(job.stage(), Stage::Removed(_)) {
                return Ok(None);
            }
            job.attended.subscribe()
        };
        if job.facts.fingerprint != facts.fingerprint {
            return Err(Cause::IdempotencyKeyReused);
        }
        if wish.asynchronous {
            self.keep(&job).await?;
        }
        Ok(Some(Submitted { job, is_first: false, deadline, _attendant: attendant }))
    }

    /// Rejects a job that cannot be served before its wait ends. A full queue and a pause do not matter: the job is
    /// stored.
    fn admits(&self, context: &CallContext, facts: &Facts, deadline: Instant) -> Result<(), Cause> {
        let limit = self.deps.limiters.limit(&context.account, &context.route);
        let Some(limiter) = limit.limiter() else { return Ok(()) };
        match limiter.verdict(&slot_request(context, facts, deadline)).1 {
            Ok(()) | Err(Refused::Full { .. } | Refused::Paused { .. }) => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Adds the job to the index, unless a request with the same key came first: then that one's job.
    fn enter(&self, new: &Arc<Job>) -> Result<Option<Arc<Job>>, Cause> {
        let mut index = self.index.lock();
        let same = new.facts.key.as_ref().and_then(|key| index.of_key(&new.facts.caller, key));
        if same.is_none() && index.len() >= self.settings.max_jobs {
            let next = index.next_end().map(|end| end.saturating_duration_since(clock::now()));
            return Err(Cause::JobsFull { limit: JobLimit::Jobs, retry_after: next.unwrap_or(AFTER_FULL) });
        }
        if same.is_none() {
            index.insert(new);
        }
        Ok(same)
    }

    /// Makes a job of a call that lasted only as long as somebody waited for it.
    pub(super) async fn keep(&self, job: &Arc<Job>) -> Result<(), Cause> {
        let written = {
            let mut parts = job.parts.lock();
            let (stage, asked_before) = (job.stage(), job.is_asked());
            let (sending, ending) = match &stage {
                // The task that stores it is at work.
                Stage::New => return Ok(()),
                Stage::Removed(_) => return Ok(()),
                Stage::Queued | Stage::Removing => (false, None),
                Stage::Sending => (true, None),
                Stage::Answered(ending) | Stage::Ended(ending) => (true, Some(ending.clone())),
            };
            if job.is_kept() {
                return Ok(());
            }
            job.ask(true);
            let request = match (&parts.request, &ending) {
                (Some(request), None) => self.sealed_request(job, request),
                _ => Part::Unchanged,
            };
            let written = self.store.write(self.change(job, sending, ending, request, Part::Unchanged));
            if !asked_before {
                parts.deadline = clock::now() + self.settings.max_wait;
                // The task that runs it learns that it is a job now.
                job.enters(stage);
            }
            written
        };
        written.in_time().await.map_err(|_| Cause::StateUnavailable)?;
        job.is_now_kept();
        Ok(())
    }
}

/// The request for a slot that a new call like this one would make.
pub(super) fn slot_request(context: &CallContext, facts: &Facts, deadline: Instant) -> SlotRequest {
    SlotRequest {
        caller: context.caller.clone(),
        urgency: Urgency::new(facts.urgency).unwrap_or_default(),
        arrival: Arrival::New,
        ..SlotRequest::plain(deadline)
    }
}
