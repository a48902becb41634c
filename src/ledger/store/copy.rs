//! The copy of the locks, used when the database is lost.
//!
//! A lost charge costs one window of waiting; a lost lock may cost hours of refusals, because calls that arrive during
//! a lock can prolong it. Locks are rare, so their copy is a small file of its own, in a form that people can read too.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{files, row::StoredRow, timeline::Timeline};
use crate::{ledger::Key, secret::file_watch};

/// Enough for every route of a thousand accounts.
const LONGEST_COPY: u64 = 64 * 1024 * 1024;

/// The locks in force, as numbers of this boot's clock, and the file they are copied to.
#[derive(Debug)]
pub(super) struct LockCopy {
    path: PathBuf,
    locks: BTreeMap<Key, i64>,
    /// Whether the file differs from `locks`.
    stale: bool,
}

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
struct LockFile {
    /// The file uses an older name for this field.
    #[serde(rename = "era")]
    boot_id: Option<String>,
    written: i64,
    locks: Vec<LockEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LockEntry {
    account: String,
    #[serde(rename = "meter")]
    limit: String,
    until: i64,
}

impl LockCopy {
    /// A copy of these locks, not yet written.
    pub(super) fn new(path: PathBuf, locks: BTreeMap<Key, i64>) -> Self {
        Self { path, locks, stale: true }
    }

    /// The locks in the file, as numbers of this boot's clock; `None` when the file does not exist.
    pub(super) fn read(path: &Path, timeline: &Timeline) -> io::Result<Option<BTreeMap<Key, i64>>> {
        let text = match file_watch::read_regular(path, LONGEST_COPY) {
            Ok(text) => text,
            Err(unread) if unread.is_absent() => return Ok(None),
            Err(unread) => return Err(unread.into()),
        };
        let LockFile { boot_id, written, locks } = serde_json::from_slice(&text)?;
        let shift = timeline.shift(boot_id.as_deref(), written);
        let lock = |LockEntry { account, limit, until }| (Key { account, limit }, until.saturating_add(shift));
        Ok(Some(locks.into_iter().map(lock).collect()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file is gone, so the next [`LockCopy::save`] writes it.
    pub(super) fn mark_stale(&mut self) {
        self.stale = true;
    }

    /// Takes over the locks of these rows.
    pub(super) fn note(&mut self, rows: &[(Key, StoredRow)]) {
        for (key, row) in rows {
            let before = match row.lock {
                Some(until) => self.locks.insert(key.clone(), until),
                None => self.locks.remove(key),
            };
            self.stale |= before != row.lock;
        }
    }

    /// Writes the file, unless it is up to date.
    pub(super) fn save(&mut self, timeline: &Timeline) -> io::Result<()> {
        if !self.stale {
            return Ok(());
        }
        let line = |(key, until): (&Key, &i64)| LockEntry {
            account: key.account.clone(),
            limit: key.limit.clone(),
            until: *until,
        };
        let locks = self.locks.iter().map(line).collect();
        let file = LockFile { boot_id: timeline.boot_id().map(str::to_owned), written: timeline.now(), locks };
        files::replace(&self.path, &serde_json::to_vec(&file)?)?;
        self.stale = false;
        Ok(())
    }
}
