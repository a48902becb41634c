//! How jobs cease to exist: nobody waits for the call any more, its caller or an operator removes it, or its time is over.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::{
    Jobs,
    job::{Job, Parts, Stage},
    store::{Change, Part},
};
use crate::{
    call::attempt_log::Fate,
    os::clock,
    problem::{Cause, Refusal},
};

impl Jobs {
    /// Removes a call that waits and for which nobody waits any more. A request that joins meanwhile keeps it.
    pub(super) fn is_abandoned(&self, job: &Arc<Job>) -> bool {
        let parts = job.parts.lock();
        let is_abandoned =
            matches!(job.stage(), Stage::Queued) && !job.is_asked() && job.attended.receiver_count() == 0;
        if is_abandoned {
            self.remove_locked(job, parts, Cause::CutOff(Fate::NotSent).into());
        }
        is_abandoned
    }

    /// The job no longer exists for anybody.
    pub(super) fn remove(&self, job: &Arc<Job>, refusal: Refusal) {
        self.remove_locked(job, job.parts.lock(), refusal);
    }

    fn remove_locked(&self, job: &Arc<Job>, mut parts: MutexGuard<'_, Parts>, refusal: Refusal) {
        let is_reserved = self.store.shared().is_some() && job.facts.key.is_some();
        if (matches!(job.stage(), Stage::Sending) && !job.is_asked()) || is_reserved {
            self.store.write_later(Change { id: job.id, put: None });
        }
        parts.held.set(0);
        (parts.request, parts.in_flight) = (None, None);
        job.enters(Stage::Removed(refusal));
        drop(parts);
        self.index.lock().remove(job);
    }

    /// Removes a job for its caller, or for an operator.
    ///
    /// # Errors
    /// It was sent already, or the store cannot be written.
    pub(super) async fn cancel(self: &Arc<Self>, job: &Arc<Job>) -> Result<(), Cause> {
        if self.is_elsewhere(job) {
            return self.cancel_elsewhere(job).await;
        }
        let (jobs, job) = (Arc::clone(self), Arc::clone(job));
        // In a task, so that a caller that leaves does not leave the job in between.
        let cancelled = tokio::spawn(async move {
            let written = {
                let _parts = job.parts.lock();
                if !matches!(job.stage(), Stage::Queued) {
                    return Err(Cause::JobSent);
                }
                job.enters(Stage::Removing);
                jobs.store.write(Change { id: job.id, put: None })
            };
            if written.in_time().await.is_ok() {
                jobs.remove(&job, Cause::UnknownJob.into());
                return Ok(());
            }
            let parts = job.parts.lock();
            let request = parts.request.as_ref().map_or(Part::Unchanged, |request| jobs.sealed_request(&job, request));
            jobs.store.write_later(jobs.change(&job, false, None, request, Part::Unchanged));
            job.enters(Stage::Queued);
            Err(Cause::StateUnavailable)
        });
        cancelled.await.unwrap_or(Err(Cause::Internal))
    }

    pub(super) fn expire(&self) {
        let expired = self.index.lock().expired(clock::now());
        for job in expired {
            self.store.write_later(Change { id: job.id, put: None });
            self.remove(&job, Cause::UnknownJob.into());
        }
    }
}
