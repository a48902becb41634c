//! The store of the jobs: what must not be forgotten when the process ends.
//!
//! It is a database of its own in `state.dir` (`jobs.redb`), so that large payloads do not delay the ledger's commits,
//! and damage to one of the two leaves the other whole. The lock of the folder, which the ledger holds, covers it.
//! One thread writes: all changes that wait go into one commit, in the order in which they were asked for.
//!
//! With `state.redis` the jobs are on Redis instead ([`Shared`]), for all gateways of the namespace.
//!
//! The store knows nothing of what it keeps: records, requests and answers are sealed before they come here.

mod database;
mod message;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::{collections::HashMap, io, path::Path, sync::Arc};

use tokio::sync::mpsc;

use super::{id::JobId, job::State};
use crate::redis::Redis;
use database::{Database, Found};
pub(super) use message::{Cancelled, Epoch, Filter, Listed};
pub(super) use shared::Shared;
use writer::Writer;
pub(super) use writer::Written;

/// The store cannot be read or written now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unavailable;

/// A job as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: JobId,
    /// The account whose secret opens it.
    pub(super) account: String,
    /// When it is certainly no longer needed, in seconds of the Unix epoch.
    pub(super) until: u64,
    pub(super) record: Vec<u8>,
    pub(super) request: Option<Vec<u8>>,
    /// The store has its key and not yet its request.
    pub(super) reserved: bool,
    /// It may have been sent, although the record says that it waits.
    pub(super) doubtful: bool,
}

/// A change of one job.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) id: JobId,
    /// `None` removes everything about the job.
    pub(super) put: Option<Put>,
}

/// The new values of a job.
#[derive(Debug, Clone)]
pub(super) struct Put {
    pub(super) account: String,
    pub(super) caller: String,
    pub(super) state: Known,
    pub(super) until: u64,
    pub(super) record: Vec<u8>,
    pub(super) request: Part,
    pub(super) answer: Part,
}

/// What other gateways have to know without opening the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// A call that waits for nobody but its callers, and is nothing without them.
    Reserved,
    /// Such a call is being sent.
    CallSending,
    /// Such a call has ended.
    CallEnded,
    Job(State),
}

/// The letters of all jobs.
const ALL_STATES: &str = "qsdfu";

impl Known {
    fn letter(self) -> &'static str {
        match self {
            Self::Reserved => "k",
            Self::CallSending => "c",
            Self::CallEnded => "e",
            Self::Job(State::Queued) => "q",
            Self::Job(State::Sending) => "s",
            Self::Job(State::Done) => "d",
            Self::Job(State::Failed) => "f",
            Self::Job(State::Unknown) => "u",
        }
    }
}

/// What happens to a part of a job.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// It stays as it is.
    Unchanged,
    Set(Vec<u8>),
    Removed,
}

/// The store; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Store(Place);

#[derive(Debug, Clone)]
enum Place {
    /// A file, or memory.
    Own { database: Arc<Database>, writer: Arc<Writer> },
    /// Redis.
    Shared(Shared),
}

impl Store {
    /// Opens the store in this folder, without one a store that ends with the process, and reads its jobs in the order
    /// of their ids.
    pub(super) fn open(dir: Option<&Path>) -> io::Result<(Self, Vec<Row>)> {
        let database = match dir {
            None => Database::in_memory()?,
            Some(dir) => {
                let path = dir.join("jobs.redb");
                match Database::open(&path)? {
                    Found::Intact(database) => database,
                    Found::Damaged(reason) => {
                        let place = database::set_aside(&path)?;
                        tracing::error!(reason, set_aside = %place.display(), "the jobs are lost: their database is damaged");
                        Database::create(&path)?
                    }
                }
            }
        };
        let rows = database.rows().map_err(io::Error::other)?;
        let database = Arc::new(database);
        let writer = Arc::new(Writer::start(Arc::clone(&database))?);
        Ok((Self(Place::Own { database, writer }), rows))
    }

    /// Uses the jobs on Redis. Jobs that this gateway turns out not to own come out of the receiver.
    pub(super) fn share(redis: Redis, accounts: Vec<String>) -> io::Result<(Self, mpsc::UnboundedReceiver<JobId>)> {
        let (shared, lost) = Shared::open(redis, accounts)?;
        Ok((Self(Place::Shared(shared)), lost))
    }

    pub(super) fn shared(&self) -> Option<&Shared> {
        match &self.0 {
            Place::Own { .. } => None,
            Place::Shared(shared) => Some(shared),
        }
    }

    /// Makes a change. It takes its place in the order at once, and is durable when the future resolves.
    pub(super) fn write(&self, change: Change) -> Written {
        match &self.0 {
            Place::Own { writer, .. } => writer.write(change),
            Place::Shared(shared) => shared.write(change),
        }
    }

    /// Makes a change for which nobody waits. It is tried again until it is durable.
    pub(super) fn write_later(&self, change: Change) {
        match &self.0 {
            Place::Own { writer, .. } => writer.write_later(change),
            Place::Shared(shared) => shared.write_later(change),
        }
    }

    /// The kept answer of a job.
    pub(super) async fn answer(&self, account: &str, id: JobId) -> Result<Option<Vec<u8>>, Unavailable> {
        let database = match &self.0 {
            Place::Own { database, .. } => Arc::clone(database),
            Place::Shared(shared) => return shared.answer(account, id).await,
        };
        if database.is_in_memory() {
            return database.answer(id).map_err(|_| Unavailable);
        }
        let read = tokio::task::spawn_blocking(move || database.answer(id)).await;
        read.map_err(|_| Unavailable)?.map_err(|error| {
            tracing::error!(%error, "the database of the jobs cannot be read");
            Unavailable
        })
    }

    /// Why the store cannot be written, if it cannot.
    pub(super) fn failure(&self) -> Option<String> {
        match &self.0 {
            Place::Own { writer, .. } => writer.failure(),
            Place::Shared(shared) => shared.failure(),
        }
    }

    /// Writes what is left, and closes the store.
    pub(super) async fn close(&self) {
        let writer = match &self.0 {
            Place::Own { writer, .. } => Arc::clone(writer),
            Place::Shared(shared) => return shared.close().await,
        };
        // It ends with its current write.
        let _ = tokio::task::spawn_blocking(move || writer.close()).await;
    }
}

/// The last change of each job, in the order of the last changes: what is left to do after several.
fn newest(changes: Vec<Change>) -> Vec<Change> {
    let mut last: HashMap<JobId, usize> = HashMap::new();
    let mut merged: Vec<Option<Change>> = Vec::new();
    for change in changes {
        let before = last.insert(change.id, merged.len()).and_then(|at| merged[at].take());
        merged.push(Some(match before {
            Some(before) => change.after(before),
            None => change,
        }));
    }
    merged.into_iter().flatten().collect()
}

impl Change {
    /// Both changes as one.
    fn after(mut self, before: Self) -> Self {
        if let (Some(put), Some(earlier)) = (&mut self.put, before.put) {
            put.request = std::mem::replace(&mut put.request, Part::Unchanged).after(earlier.request);
            put.answer = std::mem::replace(&mut put.answer, Part::Unchanged).after(earlier.answer);
        }
        self
    }
}

impl Part {
    fn after(self, before: Self) -> Self {
        match self {
            Self::Unchanged => before,
            changed => changed,
        }
    }
}
