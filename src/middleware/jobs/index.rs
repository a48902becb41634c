//! All jobs of the process, by id, caller and key.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::time::Instant;

use super::{id::JobId, job::Job};

/// The jobs.
#[derive(Debug, Default)]
pub(super) struct Index {
    jobs: BTreeMap<JobId, Arc<Job>>,
    by_caller: HashMap<String, BTreeSet<JobId>>,
    by_key: HashMap<(String, String), JobId>,
    /// When jobs that have ended are removed.
    ends: BTreeSet<(Instant, JobId)>,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn get(&self, id: JobId) -> Option<Arc<Job>> {
        self.jobs.get(&id).cloned()
    }

    /// The job of a caller's key.
    pub(super) fn of_key(&self, caller: &str, key: &str) -> Option<Arc<Job>> {
        let id = self.by_key.get(&(caller.to_owned(), key.to_owned()))?;
        self.get(*id)
    }

    /// The jobs of a caller, or of all, after `after`, oldest first.
    pub(super) fn list(&self, caller: Option<&str>, after: Option<JobId>) -> Vec<Arc<Job>> {
        let later = |id: &JobId| after.is_none_or(|after| *id > after);
        match caller {
            None => self.jobs.iter().filter(|(id, _)| later(id)).map(|(_, job)| Arc::clone(job)).collect(),
            Some(caller) => {
                let ids = self.by_caller.get(caller).into_iter().flatten().filter(|id| later(id));
                ids.filter_map(|id| self.get(*id)).collect()
            }
        }
    }

    pub(super) fn insert(&mut self, job: &Arc<Job>) {
        let caller = job.caller.name().to_owned();
        if let Some(key) = &job.facts.key {
            self.by_key.insert((caller.clone(), key.clone()), job.id);
        }
        self.by_caller.entry(caller).or_default().insert(job.id);
        self.jobs.insert(job.id, Arc::clone(job));
    }

    pub(super) fn remove(&mut self, job: &Job) {
        let caller = job.caller.name().to_owned();
        self.jobs.remove(&job.id);
        if let Some(ids) = self.by_caller.get_mut(&caller) {
            ids.remove(&job.id);
            if ids.is_empty() {
                self.by_caller.remove(&caller);
            }
        }
        if let Some(key) = &job.facts.key {
            let key = (caller, key.clone());
            // A later call may have taken the key.
            if self.by_key.get(&key) == Some(&job.id) {
                self.by_key.remove(&key);
            }
        }
    }

    /// The job has ended, and is removed at this moment.
    pub(super) fn ends(&mut self, id: JobId, at: Instant) {
        self.ends.insert((at, id));
    }

    /// When the next job is removed.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// The jobs that are to be removed now.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Arc<Job>> {
        let mut expired = Vec::new();
        while let Some((_, id)) = self.ends.first().copied().filter(|(at, _)| *at <= now) {
            self.ends.pop_first();
            expired.extend(self.get(id));
        }
        expired
    }
}
