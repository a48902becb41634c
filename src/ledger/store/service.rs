//! The store itself: one folder under one hold, opened whole and written durably.

use std::{io, path::PathBuf};

use super::{
    commit_mark::CommitMark,
    copy::LockCopy,
    database::{Database, Fault, StoredToken},
    dir_lock::DirLock,
    error::WriteError,
    files,
    opening::{Found, MISSING, look},
    row::Stored,
    timeline::Timeline,
};
use crate::ledger::{KeptToken, Key, Row};

/// What the gateway remembers, on the disk. One process holds it at a time.
#[derive(Debug)]
pub struct Store {
    /// `None` after a failure, until it is reopened. Declared first, so that it is closed before the hold ends.
    pub(super) database: Option<Database>,
    pub(super) dir: PathBuf,
    pub(super) path: PathBuf,
    pub(super) newest: CommitMark,
    pub(super) locks: LockCopy,
    pub(super) timeline: Timeline,
    pub(super) holder: DirLock,
}

impl Store {
    /// Writes rows; they are on the disk when it returns. A row that is empty is removed.
    ///
    /// # Errors
    /// [`WriteError`]; then it is not known what is on the disk, and the store is closed until [`Store::reopen`].
    pub fn write(&mut self, rows: &[(Key, Row)]) -> Result<(), WriteError> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = rows.iter().map(|(key, row)| (key.clone(), Stored::new(row, &self.timeline))).collect();
        self.put(&rows)
    }

    /// Closes the database and opens it again, under the same hold, after a failure.
    ///
    /// Whoever calls this writes everything it knows next, rows that became empty included. So a file that turns out
    /// damaged is set aside and replaced by a new one.
    ///
    /// # Errors
    /// [`WriteError`] when the system still fails; it may be tried again.
    pub fn reopen(&mut self) -> Result<(), WriteError> {
        self.database = None;
        if self.holder.still_stands(&self.dir).is_err() {
            self.take_again()?;
        }
        let damage = match look(&self.path, &self.newest).map_err(WriteError::at(&self.path))? {
            Found::Whole(database, _) => {
                self.database = Some(database);
                return Ok(());
            }
            Found::Nothing => MISSING.to_owned(),
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

    /// Keeps a JSON text for operators, the last 32 of them.
    ///
    /// # Errors
    /// [`WriteError`], as for [`Store::write`].
    pub fn keep_incident(&mut self, text: &str) -> Result<(), WriteError> {
        self.commit(|database, _| database.keep_incident(text))
    }

    /// Keeps an account's token in place of the one before. It is forgotten in another era: nobody knows how long it
    /// lives there.
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

    /// Writes the locks' copy first: a lock too many after a crash does no harm, one too few might.
    pub(super) fn put(&mut self, rows: &[(Key, Stored)]) -> Result<(), WriteError> {
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

    /// The folder is gone, or another one stands in its place.
    fn take_again(&mut self) -> Result<(), WriteError> {
        tracing::warn!(dir = %self.dir.display(), "the state folder was removed or replaced; it is made anew");
        files::make_folder(&self.dir).map_err(WriteError::at(&self.dir))?;
        let grant = DirLock::take(&self.dir).map_err(|error| WriteError::at(&self.dir)(io::Error::other(error)))?;
        self.holder = grant;
        self.holder.settle();
        let number = self.newest.number();
        self.newest = CommitMark::open(self.newest.path().to_owned()).map_err(WriteError::at(self.newest.path()))?;
        self.newest.note(number).map_err(WriteError::at(self.newest.path()))?;
        self.locks.forget_what_is_saved();
        Ok(())
    }

    fn commit(&mut self, work: impl FnOnce(&Database, Option<&str>) -> Result<u64, Fault>) -> Result<(), WriteError> {
        // Grant out, and put back only when all went well.
        let Some(database) = self.database.take() else {
            return Err(WriteError::at(&self.path)(io::Error::other("closed by an earlier failure")));
        };
        // A file that no name leads to any more takes writes, and forgets them with its process.
        self.holder.still_stands(&self.dir).map_err(WriteError::at(&self.dir))?;
        database.still_stands(&self.path).map_err(WriteError::at(&self.path))?;
        let commit =
            work(&database, self.timeline.boot_id()).map_err(|fault| WriteError::at(&self.path)(fault.into_io()))?;
        self.newest.note(commit).map_err(WriteError::at(self.newest.path()))?;
        self.database = Some(database);
        Ok(())
    }
}
