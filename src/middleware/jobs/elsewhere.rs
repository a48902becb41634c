//! With Redis: the jobs of other gateways, and those that this gateway takes over from them.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use super::{
    Jobs,
    id::JobId,
    job::{Job, Stage},
    seal::{self, Kind, Record},
    store::{Cancelled, Part, Row, Shared, Unavailable},
};
use crate::{
    os::clock,
    problem::Cause,
    zoho::{account::AccountName, catalogue::RouteId},
};

/// How often a gateway says that it lives: several times in a lease.
const BEAT: Duration = Duration::from_secs(1);

/// How often it looks at a job of another gateway for which somebody waits.
const LOOK: Duration = Duration::from_millis(300);

/// How often a key is asked for whose job is just removed.
const ATTEMPTS: u32 = 5;

/// Says that this gateway lives and takes over jobs of others, until the process stops.
pub(super) async fn follow(jobs: Arc<Jobs>, mut lost: mpsc::UnboundedReceiver<JobId>) {
    let Some(shared) = jobs.store.shared() else { return };
    let mut beat = tokio::time::interval(BEAT);
    let mut known = vec![Vec::new(); shared.accounts().len()];
    loop {
        tokio::select! {
            Some(id) = lost.recv() => jobs.lose(id),
            // A gateway that drains still owns what it sends, and takes over nothing.
            _ = beat.tick() => {
                for (account, known) in shared.accounts().iter().zip(&mut known) {
                    jobs.beat(shared, account, known).await;
                }
            }
            () = jobs.deps.shutdown.cut_off() => return,
        }
    }
}

impl Jobs {
    async fn beat(&self, shared: &Shared, account: &str, known: &mut Vec<JobId>) {
        let Ok(beat) = shared.beat(account, known).await else { return };
        *known = beat.rows.iter().map(|row| row.id).collect();
        let mut rows = beat.rows;
        rows.retain(|row| self.index.lock().get(row.id).is_none());
        rows.sort_by_key(|row| row.id);
        self.restore(rows);
        beat.cancelled.into_iter().for_each(|id| self.lose(id));
    }

    /// The job is another gateway's now, or was removed there.
    fn lose(&self, id: JobId) {
        let job = self.index.lock().get(id);
        if let Some(job) = job {
            tracing::warn!(job = %id, "the job was removed or taken over by another gateway");
            self.remove(&job, Cause::StateUnavailable.into());
        }
    }

    /// Whether this is the image of another gateway's job.
    pub(super) fn is_elsewhere(&self, job: &Job) -> bool {
        self.store.shared().is_some() && self.index.lock().get(job.id).is_none()
    }

    /// Another gateway's job. As long as it is held, it follows the original.
    pub(super) async fn elsewhere(self: &Arc<Self>, id: JobId) -> Result<Option<Arc<Job>>, Cause> {
        let Some(shared) = self.store.shared() else { return Ok(None) };
        let row = shared.show(id).await.map_err(unavailable)?;
        let Some(job) = row.and_then(|row| self.image(&row)) else { return Ok(None) };
        if !is_over(&job.stage()) {
            tokio::spawn(Arc::clone(self).mirror(Arc::downgrade(&job), shared.clone()));
        }
        Ok(Some(job))
    }

    async fn mirror(self: Arc<Self>, image: std::sync::Weak<Job>, shared: Shared) {
        loop {
            sleep(LOOK).await;
            let Some(image) = image.upgrade() else { return };
            let Ok(row) = shared.show(image.id).await else { continue };
            let stage = match row.map(|row| self.image(&row).map(|job| job.stage())) {
                Some(Some(stage)) => stage,
                Some(None) => continue,
                None => Stage::Removed(Cause::UnknownJob.into()),
            };
            let is_over = is_over(&stage);
            let _parts = image.parts.lock();
            image.enters(stage);
            if is_over {
                return;
            }
        }
    }

    /// The jobs of a caller at other gateways.
    pub(super) async fn of_caller_elsewhere(&self, caller: &str) -> Result<Vec<Arc<Job>>, Cause> {
        let Some(shared) = self.store.shared() else { return Ok(Vec::new()) };
        let rows = shared.list(caller).await.map_err(unavailable)?;
        Ok(rows.iter().filter_map(|row| self.image(row)).filter(|job| job.state().is_some()).collect())
    }

    pub(super) async fn cancel_elsewhere(&self, job: &Job) -> Result<(), Cause> {
        let Some(shared) = self.store.shared() else { return Err(Cause::UnknownJob) };
        match shared.cancel(job.account.name.as_str(), job.id).await.map_err(unavailable)? {
            Cancelled::Yes => Ok(()),
            Cancelled::Sent => Err(Cause::JobSent),
            Cancelled::Absent => Err(Cause::UnknownJob),
        }
    }

    /// Starts a new job, unless its key is that of another gateway's job, which is the result.
    pub(super) async fn reserved_elsewhere(self: &Arc<Self>, new: &Arc<Job>) -> Result<Option<Arc<Job>>, Cause> {
        if self.store.shared().is_none() || new.facts.key.is_none() {
            // The task that runs it goes on when this request's caller leaves.
            let _ = self.starts.send(Arc::clone(new));
            return Ok(None);
        }
        let (jobs, job) = (Arc::clone(self), Arc::clone(new));
        // In a task, so that a caller that leaves does not leave the job in between.
        let reserved = tokio::spawn(async move {
            let reserved = jobs.reserve(&job).await;
            match &reserved {
                Ok(None) => drop(jobs.starts.send(job)),
                Ok(Some(_)) => jobs.remove(&job, Cause::StateUnavailable.into()),
                Err(cause) => jobs.remove(&job, cause.clone().into()),
            }
            reserved
        });
        reserved.await.unwrap_or(Err(Cause::Internal))
    }

    /// Makes the key of a new job its own on all gateways. Otherwise it is that of the job that this returns.
    async fn reserve(self: &Arc<Self>, new: &Job) -> Result<Option<Arc<Job>>, Cause> {
        let (Some(shared), Some(key)) = (self.store.shared(), &new.facts.key) else { return Ok(None) };
        let change = self.change(new, false, None, Part::Unchanged, Part::Unchanged);
        let Some(put) = change.put else { return Ok(None) };
        for _ in 0..ATTEMPTS {
            let Some(other) = shared.reserve(new.id, &put, key).await.map_err(unavailable)? else { return Ok(None) };
            if let Some(job) = self.elsewhere(other).await? {
                return Ok(Some(job));
            }
        }
        Err(Cause::StateUnavailable)
    }

    /// A job of a row, which is not in the index and is never sent.
    fn image(&self, row: &Row) -> Option<Arc<Job>> {
        let known = self.deps.known.read();
        let account = known.accounts.get(&AccountName::new(&row.account))?;
        let record = seal::open(account, row.id, Kind::Record, &row.record)?;
        let Record { facts, asked, sending, ending } = serde_json::from_slice(&record).ok()?;
        let route = known.routes.get(&RouteId::new(&facts.route)).cloned();
        let stage = match (ending, sending) {
            (Some(ending), _) => Stage::Ended(ending),
            (None, true) => Stage::Sending,
            (None, false) => Stage::Queued,
        };
        let deadline = clock::now() + self.settings.max_wait;
        let of = (Arc::clone(account), route);
        let job = Job::new(row.id, facts, of, deadline, asked, stage, (None, self.budget.hold()));
        job.is_now_kept();
        Some(job)
    }
}

fn is_over(stage: &Stage) -> bool {
    matches!(stage, Stage::Ended(_) | Stage::Removed(_))
}

fn unavailable(_: Unavailable) -> Cause {
    Cause::StateUnavailable
}
