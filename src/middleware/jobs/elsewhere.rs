//! With Redis: the jobs of other gateways, and those that this gateway takes over from them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, time::sleep};

use super::{
    Jobs,
    id::JobId,
    job::{Job, Stage, State},
    seal::{self, Kind, Record},
    store::{Cancelled, Epoch, Filter, Listed, Part, Row, Shared, Unavailable},
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

/// How long a request waits until another gateway makes a job of its call, or is gone.
const ASKING: Duration = Duration::from_secs(10);

/// What a gateway has heard about the jobs of an account.
#[derive(Debug, Default)]
struct Heard {
    ids: Vec<JobId>,
    epoch: Option<Epoch>,
}

/// Says that this gateway lives and takes over jobs of others, until the process stops.
pub(super) async fn follow(jobs: Arc<Jobs>, mut lost: mpsc::UnboundedReceiver<JobId>) {
    let Some(shared) = jobs.store.shared() else { return };
    let mut beat = tokio::time::interval(BEAT);
    let mut heard: HashMap<&str, Heard> = HashMap::new();
    loop {
        tokio::select! {
            Some(id) = lost.recv() => jobs.lose(id),
            // A gateway that drains still owns what it sends, and takes over nothing.
            _ = beat.tick() => {
                for account in shared.accounts() {
                    jobs.beat(shared, account, heard.entry(account).or_default()).await;
                }
            }
            () = jobs.deps.shutdown.cut_off() => return,
        }
    }
}

impl Jobs {
    async fn beat(self: &Arc<Self>, shared: &Shared, account: &str, heard: &mut Heard) {
        let began = clock::now();
        let Ok(beat) = shared.beat(account, &heard.ids).await else { return };
        let rows = beat.rows.iter().map(|row| row.id);
        heard.ids = rows.chain(beat.removed.iter().copied()).chain(beat.asked.iter().copied()).collect();
        let mut rows = beat.rows;
        rows.retain(|row| self.index.lock().get(row.id).is_none());
        rows.sort_by_key(|row| row.id);
        self.restore(rows);
        beat.removed.into_iter().for_each(|id| self.lose(id));
        for job in beat.asked.into_iter().filter_map(|id| self.index.lock().get(id)) {
            let jobs = Arc::clone(self);
            // If it fails, the request that asks for it asks again.
            tokio::spawn(async move { jobs.keep(&job).await });
        }
        let before = heard.epoch;
        if before.is_none_or(|before| before.since != beat.epoch.since)
            && self.lose_taken(shared, account).await.is_err()
        {
            return;
        }
        if before.is_some_and(|before| before.losses != beat.epoch.losses) {
            self.confirm_waiting(account);
        }
        heard.epoch = Some(beat.epoch);
        shared.was_in_touch(account, began);
    }

    /// This gateway was silent for a lease, so others may have taken over its jobs. One that is being sent goes on: those
    /// who wait for its answer get it.
    async fn lose_taken(&self, shared: &Shared, account: &str) -> Result<(), Unavailable> {
        // Those that are new while Redis answers are not in the answer.
        let mut kept: Vec<_> = self.index.lock().list(None, None);
        let is_settled = |stage| matches!(stage, Stage::Queued | Stage::Answered(_) | Stage::Ended(_));
        kept.retain(|job| job.account.name.as_str() == account && is_settled(job.stage()));
        let owned = shared.owned(account).await?;
        kept.iter().filter(|job| !owned.contains(&job.id)).for_each(|job| self.lose(job.id));
        Ok(())
    }

    /// The server has lost what was written last. Only this gateway knows which of its jobs still wait.
    fn confirm_waiting(&self, account: &str) {
        let jobs: Vec<_> = self.index.lock().list(None, None);
        for job in jobs.into_iter().filter(|job| job.account.name.as_str() == account) {
            let _parts = job.parts.lock();
            if matches!(job.stage(), Stage::Queued) {
                self.store.write_later(self.change(&job, false, None, Part::Unchanged, Part::Unchanged));
            }
        }
    }

    /// The job is another gateway's now, or was removed there.
    fn lose(&self, id: JobId) {
        let job = self.index.lock().get(id);
        if let Some(job) = job {
            tracing::warn!(job = %id, "the job was removed or taken over by another gateway");
            self.remove(&job, Cause::StateUnavailable.into());
        }
    }

    /// The job, if this gateway has it and no other one can have taken it over.
    pub(super) fn here(&self, id: JobId) -> Option<Arc<Job>> {
        let is_certain = |job: &Arc<Job>| match self.store.shared() {
            None => true,
            Some(shared) => is_over(&job.stage()) || shared.is_in_touch(job.account.name.as_str()),
        };
        self.index.lock().get(id).filter(is_certain)
    }

    /// Whether this is the image of a job on Redis.
    pub(super) fn is_elsewhere(&self, job: &Arc<Job>) -> bool {
        let here = self.index.lock().get(job.id);
        self.store.shared().is_some() && here.is_none_or(|here| !Arc::ptr_eq(&here, job))
    }

    /// The image of a job on Redis. As long as it is held, it follows the original.
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
                None if image.state().is_some() => Stage::Removed(Cause::UnknownJob.into()),
                // The key is free again.
                None => Stage::Removed(Cause::IdempotencyConflict { retry_after: Duration::ZERO }.into()),
            };
            let is_over = is_over(&stage);
            let _parts = image.parts.lock();
            image.enters(stage);
            if is_over {
                return;
            }
        }
    }

    /// Jobs of all gateways; `None` without Redis.
    pub(super) async fn list_shared(
        &self,
        filter: Filter<'_>,
    ) -> Option<Result<(Vec<Arc<Job>>, BTreeMap<State, usize>), Cause>> {
        let listed = self.store.shared()?.list(filter).await;
        let images = |Listed { rows, counts }| (rows.iter().filter_map(|row| self.image(row)).collect(), counts);
        Some(listed.map(images).map_err(unavailable))
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
                Ok(None) => {
                    if !job.is_asked() {
                        let _parts = job.parts.lock();
                        job.enters(Stage::Queued);
                    }
                    drop(jobs.starts.send(job));
                }
                Ok(Some(_)) => jobs.remove(&job, Cause::StateUnavailable.into()),
                Err(cause) => jobs.remove(&job, cause.clone().into()),
            }
            reserved
        });
        reserved.await.unwrap_or(Err(Cause::Internal))
    }

    /// Makes the key of a new job its own on all gateways. Otherwise it is that of the job that this returns. A call that
    /// is no job becomes one if the new one is a job; only its owner can do that.
    async fn reserve(self: &Arc<Self>, new: &Job) -> Result<Option<Arc<Job>>, Cause> {
        let (Some(shared), Some(key)) = (self.store.shared(), &new.facts.key) else { return Ok(None) };
        let change = self.change(new, false, None, Part::Unchanged, Part::Unchanged);
        let Some(put) = change.put else { return Ok(None) };
        let end = clock::now() + ASKING;
        loop {
            let Some(other) = shared.reserve(new.id, &put, key).await.map_err(unavailable)? else { return Ok(None) };
            if let Some(job) = self.elsewhere(other).await? {
                let is_same = job.facts.fingerprint == new.facts.fingerprint;
                if job.state().is_some() || !new.is_asked() || !is_same {
                    return Ok(Some(job));
                }
                shared.ask(&put.account, other).await.map_err(unavailable)?;
            }
            // Otherwise it has just been removed.
            if clock::now() > end {
                return Err(Cause::IdempotencyConflict { retry_after: LOOK });
            }
            sleep(LOOK).await;
        }
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
        // If its gateway dies before it is stored, it is no job, and its caller got no 202.
        let asked = asked && !row.reserved;
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
