//! The copy of the locks, for the case that the database is lost.
//!
//! A lost charge costs a window's wait, a lost lock may cost hours of refusals: calls that arrive during a lock can
//! prolong it. Locks are rare, so their copy is a small file of its own, in a form that people can read too.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{files, row::Stored, timeline::Timeline};
use crate::{ledger::Key, secret::file_watch};

/// Room for every route of a thousand accounts.
const LONGEST_COPY: u64 = 64 * 1024 * 1024;

/// The locks in force, as this era's numbers, and the file they are copied to.
#[derive(Debug)]
pub(super) struct LockCopy {
    path: PathBuf,
    locks: BTreeMap<Key, i64>,
    /// Whether the file says something else.
    stale: bool,
}

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Sheet {
    /// The field has an older name on the disk.
    #[serde(rename = "era")]
    boot_id: Option<String>,
    written: i64,
    locks: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
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

    /// The locks that the file has, as this era's numbers; `None` when there is no file.
    pub(super) fn read(path: &Path, timeline: &Timeline) -> io::Result<Option<BTreeMap<Key, i64>>> {
        let text = match file_watch::read_regular(path, LONGEST_COPY) {
            Ok(text) => text,
            Err(unread) if unread.is_absent() => return Ok(None),
            Err(unread) => return Err(unread.into()),
        };
        let Sheet { boot_id, written, locks } = serde_json::from_slice(&text)?;
        let shift = timeline.shift(boot_id.as_deref(), written);
        let lock = |Line { account, limit, until }| (Key { account, limit }, until.saturating_add(shift));
        Ok(Some(locks.into_iter().map(lock).collect()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file is gone, so it is to be written again.
    pub(super) fn forget_what_is_saved(&mut self) {
        self.stale = true;
    }

    /// Takes over what these rows say of locks.
    pub(super) fn note(&mut self, rows: &[(Key, Stored)]) {
        for (key, row) in rows {
            let before = match row.lock {
                Some(until) => self.locks.insert(key.clone(), until),
                None => self.locks.remove(key),
            };
            self.stale |= before != row.lock;
        }
    }

    /// Writes the file, unless it says all this already.
    pub(super) fn save(&mut self, timeline: &Timeline) -> io::Result<()> {
        if !self.stale {
            return Ok(());
        }
        let line =
            |(key, until): (&Key, &i64)| Line { account: key.account.clone(), limit: key.limit.clone(), until: *until };
        let locks = self.locks.iter().map(line).collect();
        let sheet = Sheet { boot_id: timeline.boot_id().map(str::to_owned), written: timeline.now(), locks };
        files::replace(&self.path, &serde_json::to_vec(&sheet)?)?;
        self.stale = false;
        Ok(())
    }
}
