//! The database: one redb file with the rows, the incidents, the tokens and a row about itself.
//!
//! Every commit is synced before it returns (`Durability::Immediate`, redb's default). Each opening verifies the
//! checksums of all pages, so that a flipped bit is detected. redb may still panic on a file that other programs
//! changed; such a panic counts as damage.

use std::{
    fs::{self, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use redb::{
    Builder, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
    backends::FileBackend,
};

use super::{
    files::{self, FileId},
    row::StoredRow,
};
use crate::{ledger::Key, secret::file_watch};

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    /// `None` only while it is being closed.
    inner: Option<redb::Database>,
    /// The identity of the file when it was opened; `None` for one without a path, in tests.
    file: Option<FileId>,
}

/// The content of a database.
#[derive(Debug)]
pub(super) struct Contents {
    /// The number of its last commit.
    pub(super) commit: u64,
    /// The boot whose clock the times of all rows use.
    pub(super) boot_id: Option<String>,
    /// Why the database before this one was lost; `None` after the first rows were written.
    pub(super) lost: Option<String>,
    pub(super) rows: Vec<(Key, StoredRow)>,
    /// Oldest first.
    pub(super) incidents: Vec<String>,
    pub(super) tokens: Vec<StoredToken>,
}

/// A token as the disk has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredToken {
    pub(super) account: String,
    /// Each token has its own: a token of another boot is worthless, and its times are not converted.
    pub(super) boot_id: Option<String>,
    pub(super) expires: i64,
    pub(super) sealed: Vec<u8>,
}

/// What is at the path of the database.
pub(super) enum Found {
    Missing,
    Intact(Database, Contents),
    Damaged(String),
}

/// Why a database cannot be used.
#[derive(Debug)]
pub(super) enum DatabaseError {
    /// The file differs from what was written.
    Damaged(String),
    /// The system failed; the file may be intact.
    Failed(io::Error),
}

// === impl Database ===

impl Database {
    /// Creates a database; its first commit has the number `commit` + 1.
    pub(super) fn create(path: &Path, commit: u64, lost: Option<&str>) -> io::Result<Self> {
        let file = files::private().create_new(true).open(path)?;
        let made = guarded(|| {
            let id = FileId::of(&file.metadata().map_err(DatabaseError::Failed)?);
            let backend = FileBackend::new(file).map_err(fault)?;
            let inner = builder().create_with_backend(backend).map_err(fault)?;
            let database = Self { inner: Some(inner), file: Some(id) };
            database.commit(|transaction| {
                transaction.open_table(ROWS).map_err(fault)?;
                transaction.open_table(INCIDENTS).map_err(fault)?;
                transaction.open_table(TOKENS).map_err(fault)?;
                let mut about = transaction.open_table(ABOUT).map_err(fault)?;
                about.insert((), (FORMAT, commit, None, lost)).map_err(fault)?;
                Ok(())
            })?;
            files::sync_folder_of(path).map_err(DatabaseError::Failed)?;
            Ok(database)
        });
        made.map_err(|fault| {
            // Half a database would count as damaged.
            let _ = fs::remove_file(path);
            fault.into_io()
        })
    }

    /// Opens a database, verifies it and reads all of it.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents), DatabaseError> {
        let file = file_watch::open_regular(OpenOptions::new().read(true), path)
            .map_err(|unread| DatabaseError::Failed(unread.into()))?;
        if file.metadata().map_err(DatabaseError::Failed)?.len() > LARGEST {
            return Err(DatabaseError::Damaged(format!("it is larger than {LARGEST} bytes")));
        }
        let (mut database, contents) = Self::open_by(|builder| builder.open(path))?;
        database.file = Some(FileId::of(&fs::metadata(path).map_err(DatabaseError::Failed)?));
        Ok((database, contents))
    }

    /// Opens the database at this path, which must not end before commit number `newest`.
    pub(super) fn look(path: &Path, newest: u64) -> io::Result<Found> {
        if !path.try_exists()? {
            return Ok(Found::Missing);
        }
        match Self::open(path) {
            Ok((_, Contents { commit, .. })) if commit < newest => {
                Ok(Found::Damaged(format!("it ends at commit {commit}, and commit {newest} was made")))
            }
            Ok((database, contents)) => Ok(Found::Intact(database, contents)),
            Err(DatabaseError::Damaged(reason)) => Ok(Found::Damaged(reason)),
            Err(DatabaseError::Failed(error)) => Err(error),
        }
    }

    /// Fails when the path no longer leads to the open file.
    pub(super) fn check_path(&self, path: &Path) -> io::Result<()> {
        self.file.map_or(Ok(()), |file| file.is_at(path))
    }

    /// [`Database::open`] with the disk as a parameter.
    pub(super) fn open_by(
        open: impl FnOnce(&Builder) -> Result<redb::Database, redb::DatabaseError>,
    ) -> Result<(Self, Contents), DatabaseError> {
        guarded(|| {
            let database = Self { inner: Some(open(&builder()).map_err(fault)?), file: None };
            let contents = database.read()?;
            Ok((database, contents))
        })
    }

    /// Writes rows. Their times belong to `boot_id`, and so must those of all other rows. Returns the commit's number.
    pub(super) fn write(&self, boot_id: Option<&str>, rows: &[(Key, StoredRow)]) -> Result<u64, DatabaseError> {
        self.commit(|transaction| {
            let mut table = transaction.open_table(ROWS).map_err(fault)?;
            for (Key { account, limit }, row) in rows {
                let key = (account.as_str(), limit.as_str());
                if row.is_empty() {
                    table.remove(key).map_err(fault)?;
                } else {
                    let value = (row.written, row.window, row.in_flight, row.unread, row.charges.clone(), row.lock);
                    table.insert(key, value).map_err(fault)?;
                }
            }
            let mut about = transaction.open_table(ABOUT).map_err(fault)?;
            let (_, commit, ..) = about_of(&about)?;
            let commit = commit.saturating_add(1);
            about.insert((), (FORMAT, commit, boot_id, None)).map_err(fault)?;
            Ok(commit)
        })
    }

    /// Keeps an incident and removes the oldest one. Returns the commit's number.
    pub(super) fn keep_incident(&self, text: &str) -> Result<u64, DatabaseError> {
        self.commit(|transaction| {
            let mut table = transaction.open_table(INCIDENTS).map_err(fault)?;
            let last = table.last().map_err(fault)?.map_or(0, |(number, _)| number.value());
            table.insert(last.saturating_add(1), text).map_err(fault)?;
            while table.len().map_err(fault)? > INCIDENTS_KEPT {
                table.pop_first().map_err(fault)?;
            }
            counted(transaction)
        })
    }

    /// Replaces an account's token. Returns the commit's number.
    pub(super) fn keep_token(&self, token: &StoredToken) -> Result<u64, DatabaseError> {
        self.commit(|transaction| {
            let mut table = transaction.open_table(TOKENS).map_err(fault)?;
            let value = (token.boot_id.as_deref(), token.expires, token.sealed.as_slice());
            table.insert(token.account.as_str(), value).map_err(fault)?;
            counted(transaction)
        })
    }

    fn commit<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        guarded(|| {
            let transaction = self.inner()?.begin_write().map_err(fault)?;
            let done = work(&transaction)?;
            transaction.commit().map_err(fault)?;
            Ok(done)
        })
    }

    fn read(&self) -> Result<Contents, DatabaseError> {
        let transaction = self.inner()?.begin_read().map_err(fault)?;
        let (format, commit, boot_id, lost) = about_of(&transaction.open_table(ABOUT).map_err(fault)?)?;
        if format != FORMAT {
            return Err(DatabaseError::Damaged(format!(
                "it has format {format}, and this program knows format {FORMAT}"
            )));
        }
        let mut rows = Vec::new();
        for entry in transaction.open_table(ROWS).map_err(fault)?.iter().map_err(fault)? {
            let (key, value) = entry.map_err(fault)?;
            let (account, limit) = key.value();
            let (written, window, in_flight, unread, charges, lock) = value.value();
            let key = Key { account: account.to_owned(), limit: limit.to_owned() };
            rows.push((key, StoredRow { written, window, in_flight, unread, charges, lock }));
        }
        let mut incidents = Vec::new();
        for entry in transaction.open_table(INCIDENTS).map_err(fault)?.iter().map_err(fault)? {
            incidents.push(entry.map_err(fault)?.1.value().to_owned());
        }
        let mut tokens = Vec::new();
        for entry in transaction.open_table(TOKENS).map_err(fault)?.iter().map_err(fault)? {
            let (account, value) = entry.map_err(fault)?;
            let (boot_id, expires, sealed) = value.value();
            let (account, boot_id) = (account.value().to_owned(), boot_id.map(str::to_owned));
            tokens.push(StoredToken { account, boot_id, expires, sealed: sealed.to_owned() });
        }
        Ok(Contents { commit, boot_id, lost, rows, incidents, tokens })
    }

    fn inner(&self) -> Result<&redb::Database, DatabaseError> {
        self.inner.as_ref().ok_or_else(|| DatabaseError::Failed(io::Error::other("the database is closed")))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let inner = self.inner.take();
        // Closing writes too. The check at the next opening detects a failure.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(inner)));
    }
}

// === impl DatabaseError ===

impl DatabaseError {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::Damaged(reason) => io::Error::new(io::ErrorKind::InvalidData, reason),
            Self::Failed(error) => error,
        }
    }
}

/// Sorts redb's errors into damage to the file and failures of the system.
fn fault(error: impl Into<redb::Error>) -> DatabaseError {
    use redb::Error as E;
    match error.into() {
        // The first is not a redb file, the second ends too early.
        E::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            DatabaseError::Damaged(error.to_string())
        }
        E::Io(error) => DatabaseError::Failed(error),
        E::DatabaseAlreadyOpen => DatabaseError::Failed(io::ErrorKind::ResourceBusy.into()),
        error @ (E::Corrupted(_)
        | E::UpgradeRequired(_)
        | E::RepairAborted
        | E::TableTypeMismatch { .. }
        | E::TableIsMultimap(_)
        | E::TableIsNotMultimap(_)
        | E::TypeDefinitionChanged { .. }
        | E::TableDoesNotExist(_)) => DatabaseError::Damaged(error.to_string()),
        error => DatabaseError::Failed(io::Error::other(error)),
    }
}

/// Turns a panic into damage. The panic's message still appears on stderr: the hook belongs to the process.
fn guarded<T>(work: impl FnOnce() -> Result<T, DatabaseError>) -> Result<T, DatabaseError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(DatabaseError::Damaged(format!("reading or writing it panicked: {text}")))
    })
}

fn builder() -> Builder {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

/// Increases the commit number and leaves the rows' boot and the loss as they are. Returns the number.
fn counted(transaction: &WriteTransaction) -> Result<u64, DatabaseError> {
    let mut about = transaction.open_table(ABOUT).map_err(fault)?;
    let (_, commit, boot_id, lost) = about_of(&about)?;
    let commit = commit.saturating_add(1);
    about.insert((), (FORMAT, commit, boot_id.as_deref(), lost.as_deref())).map_err(fault)?;
    Ok(commit)
}

/// The database's row about itself; a database without one was never finished.
fn about_of(
    table: &impl ReadableTable<(), About>,
) -> Result<(u32, u64, Option<String>, Option<String>), DatabaseError> {
    let Some(row) = table.get(()).map_err(fault)? else {
        return Err(DatabaseError::Damaged("it does not say what it is".to_owned()));
    };
    let (format, commit, boot_id, lost) = row.value();
    Ok((format, commit, boot_id.map(str::to_owned), lost.map(str::to_owned)))
}

const ROWS: TableDefinition<'_, (&str, &str), Columns> = TableDefinition::new("rows");

/// Written, window, calls in flight, whether answers are unread, charges, lock; the key is account and limit.
type Columns = (i64, u64, u32, bool, Vec<(i64, u32)>, Option<i64>);

const INCIDENTS: TableDefinition<'_, u64, &str> = TableDefinition::new("incidents");

/// By account: boot, end, and what only its owner can read.
const TOKENS: TableDefinition<'_, &str, (Option<&str>, i64, &[u8])> = TableDefinition::new("tokens");

const ABOUT: TableDefinition<'_, (), About> = TableDefinition::new("about");

/// Format, number of the commit, boot of the rows, why the database before was lost.
type About = (u32, u64, Option<&'static str>, Option<&'static str>);

/// Changes with the meaning of the stored values, so that an older program does not misread them.
const FORMAT: u32 = 1;

/// Enough for a post-mortem, few enough to read at each start.
const INCIDENTS_KEPT: u64 = 32;

/// A thousand times the size of a gateway's file. All of it is read at each start.
const LARGEST: u64 = 1024 * 1024 * 1024;

/// The whole file fits; redb's own default would allow a gigabyte.
const CACHE: usize = 4 * 1024 * 1024;

/// The reason for a loss when the file does not exist.
pub(super) const MISSING: &str = "the database is missing, though the folder was used before";
