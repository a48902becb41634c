//! The store: one locked folder, whose writes are durable.

use std::{io, path::PathBuf};

use super::{
    commit_mark::CommitMark,
    copy::LockCopy,
    database::{Database, DatabaseError, Found, MISSING, StoredToken},
    dir_lock::DirLock,
    error::WriteError,
    files,
    row::StoredRow,
    timeline::Timeline,
};
use crate::ledger::{KeptToken, Key, Row};

/// The store of the ledger. One process at a time has it open.
#[derive(Debug)]
pub struct Store {
    /// `None` after a failure, until it is reopened. Declared first, so that it is closed before the lock is released.
    pub(super) database: Option<Database>,
    pub(super) dir: PathBuf,
    pub(super) path: PathBuf,
    pub(super) newest: CommitMark,
    pub(super) locks: LockCopy,
    pub(super) timeline: Timeline,
    pub(super) lock: DirLock,
}

impl Store {
    /// Writes rows; they are on the disk when it returns. An empty row is removed.
    ///
    /// # Errors
    /// [`WriteError`]; then the content of the disk is unknown, and the store is closed until [`Store::reopen`].
    pub fn write(&mut self, rows: &[(Key, Row)]) -> Result<(), WriteError> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = rows.iter().map(|(key, row)| (key.clone(), StoredRow::new(row, &self.timeline))).collect();
        self.put(&rows)
    }

    /// Closes the database and opens it again after a failure, under the same lock.
    ///
    /// The caller must then write everything it knows, rows that became empty included. So a damaged file is set aside
    /// and replaced by a new one.
    ///
    /// # Errors
    /// [`WriteError`] while the system still fails; the caller may try again.
    pub fn reopen(&mut self) -> Result<(), WriteError> {
        self.database = None;
        if self.lock.check_path(&self.dir).is_err() {
            self.create_folder_again()?;
        }
        let damage = match Database::look(&self.path, self.newest.number()).map_err(WriteError::at(&self.path))? {
            Found::Intact(database, _) => {
                self.database = Some(database);
                return Ok(());
            }
            Found::Missing => MISSING.to_owned(),
            Found::Damaged(reason) => {
                let place = files::set_aside(&self.path).map_err(WriteError::at(&self.path))?;
                tracing::warn!(set_aside = %place.display(), "the damaged database was set aside");
                reason
            }
        };
        tracing::warn!(reason = damage, "the database is replaced by a new one, from what this process knows");
        let created = Database::create(&self.path, self.newest.number(), Some(&damage));
        self.database = Some(created.map_err(WriteError::at(&self.path))?);
        Ok(())
    }

    /// Keeps a JSON text for operators. The last 32 are kept.
    ///
    /// # Errors
    /// [`WriteError`], as for [`Store::write`].
    pub fn keep_incident(&mut self, text: &str) -> Result<(), WriteError> {
        self.commit(|database, _| database.keep_incident(text))
    }

    /// Replaces an account's token. It is forgotten after a reboot, since its remaining life is then unknown.
    ///
    /// # Errors
    /// [`WriteError`], as for [`Store::write`].
    pub fn keep_token(&mut self, account: &str, token: &KeptToken) -> Result<(), WriteError> {
        let stored = StoredToken {
            account: account.to_owned(),
            boot_id: self.timeline.boot_id().map(str::to_owned),
            expires: self.timeline.nanos(token.expires_at),
            sealed: token.sealed.clone(),
        };
        self.commit(|database, _| database.keep_token(&stored))
    }

    /// Writes the copy of the locks first: one lock too many after a crash is harmless, one too few is not.
    pub(super) fn put(&mut self, rows: &[(Key, StoredRow)]) -> Result<(), WriteError> {
        self.locks.note(rows);
        if let Err(error) = self.locks.save(&self.timeline) {
            self.database = None;
            return Err(WriteError::at(self.locks.path())(error));
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.commit(|database, boot_id| database.write(boot_id, rows))
    }

    /// The folder was removed or replaced by another one.
    fn create_folder_again(&mut self) -> Result<(), WriteError> {
        tracing::warn!(dir = %self.dir.display(), "the state folder was removed or replaced; it is created again");
        files::make_folder(&self.dir).map_err(WriteError::at(&self.dir))?;
        self.lock = DirLock::take(&self.dir).map_err(|error| WriteError::at(&self.dir)(io::Error::other(error)))?;
        self.lock.settle();
        let number = self.newest.number();
        self.newest = CommitMark::open(self.newest.path().to_owned()).map_err(WriteError::at(self.newest.path()))?;
        self.newest.note(number).map_err(WriteError::at(self.newest.path()))?;
        self.locks.mark_stale();
        Ok(())
    }

    fn commit(
        &mut self,
        work: impl FnOnce(&Database, Option<&str>) -> Result<u64, DatabaseError>,
    ) -> Result<(), WriteError> {
        // Taken out, and put back only after success.
        let Some(database) = self.database.take() else {
            return Err(WriteError::at(&self.path)(io::Error::other("closed by an earlier failure")));
        };
        // A file without a path accepts writes, and loses them when its process ends.
        self.lock.check_path(&self.dir).map_err(WriteError::at(&self.dir))?;
        database.check_path(&self.path).map_err(WriteError::at(&self.path))?;
        let commit =
            work(&database, self.timeline.boot_id()).map_err(|error| WriteError::at(&self.path)(error.into_io()))?;
        self.newest.note(commit).map_err(WriteError::at(self.newest.path()))?;
        self.database = Some(database);
        Ok(())
    }
}
