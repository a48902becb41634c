//! The database of the jobs: one redb file. Every commit is synced before it returns (`Durability::Immediate`, redb's
//! default). redb may panic on a file that other programs changed; such a panic counts as damage.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use parking_lot::RwLock;
use redb::{
    Builder, ReadableDatabase, ReadableTable, TableDefinition,
    backends::{FileBackend, InMemoryBackend},
};

use super::{Change, Part, Put, Row};
use crate::{middleware::jobs::id::JobId, os::atomic_file::sync_folder_of, secret::file_watch};

/// By id: the account, the end of its use in seconds, the sealed record.
const JOBS: TableDefinition<'_, &str, (&str, u64, &[u8])> = TableDefinition::new("jobs");
/// By id: the sealed request, until the job has ended.
const REQUESTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("requests");
/// By id: the sealed answer.
const ANSWERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("answers");
/// The format of the file.
const ABOUT: TableDefinition<'_, (), u32> = TableDefinition::new("about");

/// Changes with the meaning of the stored values, so that an older program does not misread them.
const FORMAT: u32 = 1;

/// Requests and answers are read once; the rest is small.
const CACHE: usize = 4 * 1024 * 1024;

/// How many damaged databases are kept for examination.
const SET_ASIDE: u32 = 3;

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    /// `None` after a failure, until it is opened again.
    inner: RwLock<Option<redb::Database>>,
    /// `None` in memory.
    path: Option<PathBuf>,
}

/// What is at the path of a database.
pub(super) enum Found {
    Intact(Database),
    Damaged(String),
}

impl Database {
    pub(super) fn in_memory() -> io::Result<Self> {
        let inner = builder().create_with_backend(InMemoryBackend::new()).map_err(io::Error::other)?;
        let database = Self { inner: RwLock::new(Some(inner)), path: None };
        database.make_tables().map_err(io::Error::other)?;
        Ok(database)
    }

    /// Opens the file, or creates it.
    pub(super) fn open(path: &Path) -> io::Result<Found> {
        if !path.try_exists()? {
            return Self::create(path).map(Found::Intact);
        }
        // Not a pipe or a device, which could block.
        file_watch::open_regular(OpenOptions::new().read(true), path)?;
        let opened = guarded(|| {
            let inner = builder().open(path).map_err(text)?;
            let database = Self { inner: RwLock::new(Some(inner)), path: Some(path.to_owned()) };
            database.check_format()?;
            database.rows()?;
            Ok(database)
        });
        Ok(opened.map_or_else(Found::Damaged, Found::Intact))
    }

    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let made = guarded(|| {
            let backend = FileBackend::new(file).map_err(text)?;
            let inner = builder().create_with_backend(backend).map_err(text)?;
            let database = Self { inner: RwLock::new(Some(inner)), path: Some(path.to_owned()) };
            database.make_tables()?;
            sync_folder_of(path).map_err(text)?;
            Ok(database)
        });
        made.map_err(|reason| {
            // Half a database would count as damaged.
            let _ = fs::remove_file(path);
            io::Error::other(reason)
        })
    }

    /// Makes all changes in one commit. After a failure the database is closed until [`reopen`](Self::reopen).
    pub(super) fn commit(&self, changes: &[Change]) -> Result<(), String> {
        let done = guarded(|| {
            let inner = self.inner.read();
            let transaction = inner.as_ref().ok_or("it is closed")?.begin_write().map_err(text)?;
            {
                let mut jobs = transaction.open_table(JOBS).map_err(text)?;
                let mut requests = transaction.open_table(REQUESTS).map_err(text)?;
                let mut answers = transaction.open_table(ANSWERS).map_err(text)?;
                for Change { id, put } in changes {
                    let id = id.to_string();
                    let (request, answer) = match put {
                        None => {
                            jobs.remove(&*id).map_err(text)?;
                            (&Part::Removed, &Part::Removed)
                        }
                        Some(Put { account, until, record, request, answer, .. }) => {
                            jobs.insert(&*id, (account.as_str(), *until, record.as_slice())).map_err(text)?;
                            (request, answer)
                        }
                    };
                    for (table, part) in [(&mut requests, request), (&mut answers, answer)] {
                        match part {
                            Part::Unchanged => {}
                            Part::Set(bytes) => drop(table.insert(&*id, bytes.as_slice()).map_err(text)?),
                            Part::Removed => drop(table.remove(&*id).map_err(text)?),
                        }
                    }
                }
            }
            transaction.commit().map_err(text)
        });
        if done.is_err() {
            self.close();
        }
        done
    }

    /// Opens the file again after a failure.
    pub(super) fn reopen(&self) -> Result<(), String> {
        let Some(path) = &self.path else { return Err("it was in memory".to_owned()) };
        match Self::open(path).map_err(text)? {
            Found::Intact(database) => {
                *self.inner.write() = database.inner.into_inner();
                Ok(())
            }
            Found::Damaged(reason) => Err(reason),
        }
    }

    pub(super) fn is_in_memory(&self) -> bool {
        self.path.is_none()
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.inner.read().is_some()
    }

    /// Closes the file. Closing writes too; the check at the next opening detects a failure.
    pub(super) fn close(&self) {
        let inner = self.inner.write().take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(inner)));
    }

    /// All jobs, in the order of their ids.
    pub(super) fn rows(&self) -> Result<Vec<Row>, String> {
        guarded(|| {
            let inner = self.inner.read();
            let transaction = inner.as_ref().ok_or("it is closed")?.begin_read().map_err(text)?;
            let requests = transaction.open_table(REQUESTS).map_err(text)?;
            let mut rows = Vec::new();
            for entry in transaction.open_table(JOBS).map_err(text)?.iter().map_err(text)? {
                let (id, value) = entry.map_err(text)?;
                let (account, until, record) = value.value();
                let request = requests.get(id.value()).map_err(text)?.map(|request| request.value().to_owned());
                rows.push(Row {
                    id: id.value().parse().map_err(text)?,
                    account: account.to_owned(),
                    until,
                    record: record.to_owned(),
                    request,
                    reserved: false,
                    doubtful: false,
                });
            }
            Ok(rows)
        })
    }

    pub(super) fn answer(&self, id: JobId) -> Result<Option<Vec<u8>>, String> {
        guarded(|| {
            let inner = self.inner.read();
            let transaction = inner.as_ref().ok_or("it is closed")?.begin_read().map_err(text)?;
            let table = transaction.open_table(ANSWERS).map_err(text)?;
            let answer = table.get(&*id.to_string()).map_err(text)?;
            Ok(answer.map(|answer| answer.value().to_owned()))
        })
    }

    fn make_tables(&self) -> Result<(), String> {
        let inner = self.inner.read();
        let transaction = inner.as_ref().ok_or("it is closed")?.begin_write().map_err(text)?;
        transaction.open_table(JOBS).map_err(text)?;
        transaction.open_table(REQUESTS).map_err(text)?;
        transaction.open_table(ANSWERS).map_err(text)?;
        transaction.open_table(ABOUT).map_err(text)?.insert((), FORMAT).map_err(text)?;
        transaction.commit().map_err(text)
    }

    fn check_format(&self) -> Result<(), String> {
        let inner = self.inner.read();
        let transaction = inner.as_ref().ok_or("it is closed")?.begin_read().map_err(text)?;
        let format = transaction.open_table(ABOUT).map_err(text)?.get(()).map_err(text)?.map(|format| format.value());
        match format {
            Some(FORMAT) => Ok(()),
            other => Err(format!("it has format {other:?}, and this program knows format {FORMAT}")),
        }
    }
}

/// Renames a damaged file, so that an operator can examine it.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let named = |number: u32| path.with_added_extension(format!("damaged-{number}"));
    for number in (1..SET_ASIDE).rev() {
        if named(number).exists() {
            fs::rename(named(number), named(number + 1))?;
        }
    }
    fs::rename(path, named(1))?;
    sync_folder_of(path)?;
    Ok(named(1))
}

fn builder() -> Builder {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Turns a panic into an error. The panic's message still appears on stderr: the hook belongs to the process.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("reading or writing it panicked".to_owned()))
}
