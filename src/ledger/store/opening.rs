//! Opening of the folder: its files decide what the gateway remembers.

use std::{collections::BTreeMap, fs::OpenOptions, io, path::Path};

use super::{
    Opened, Store,
    commit_mark::CommitMark,
    copy::LockCopy,
    database::{Contents, Database, Found, MISSING, StoredToken},
    dir_lock::DirLock,
    error::OpenError,
    files,
    row::StoredRow,
    timeline::Timeline,
};
use crate::{
    ledger::{KeptToken, Key, StartState},
    os::writable,
    secret::file_watch,
};

impl Store {
    /// Opens the folder, creates it if it is missing, and reads its content.
    ///
    /// # Errors
    /// [`OpenError`] when another process uses the folder or the system fails. A damaged database is reported as
    /// [`StartState::Lost`] instead.
    pub fn open(dir: &Path) -> Result<Opened, OpenError> {
        Self::open_in(dir, Timeline::current())
    }

    /// Checks whether the folder can be opened, without creating or locking it: a gateway may be using it.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot.
    pub fn probe(dir: &Path) -> Result<(), OpenError> {
        writable::folder(dir).map_err(OpenError::unusable("write to the folder", dir))?;
        let files =
            [("holder", true), ("newest", true), ("ledger.redb", true), ("jobs.redb", true), ("locks.json", false)];
        for (name, writes) in files {
            let path = dir.join(name);
            match file_watch::open_regular(OpenOptions::new().read(true).write(writes), &path) {
                Err(unread) if !unread.is_absent() => return Err(OpenError::unusable("open", &path)(unread.into())),
                // A database is created only where nothing exists, not even a link.
                Err(_) if name.ends_with(".redb") && path.is_symlink() => {
                    let error =
                        io::Error::other("it is a link that leads nowhere: restore what it leads to, or remove it");
                    return Err(OpenError::unusable("make", &path)(error));
                }
                Err(_) if writes && path.is_symlink() => {
                    writable::file_at(&path).map_err(OpenError::unusable("make", &path))?
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// [`Store::open`] with the time as a parameter.
    pub(super) fn open_in(dir: &Path, timeline: Timeline) -> Result<Opened, OpenError> {
        files::make_folder(dir).map_err(OpenError::unusable("make the folder", dir))?;
        if files::is_open_to_others(dir).map_err(OpenError::unusable("look at", dir))? {
            tracing::warn!(dir = %dir.display(), "other users may write to state.dir and could change what the gateway remembers; chmod go-w it");
        }
        let mut lock = DirLock::take(dir)?;
        let [path, copy, mark] = ["ledger.redb", "locks.json", "newest"].map(|name| dir.join(name));
        let newest = CommitMark::open(mark.clone()).map_err(OpenError::unusable("open", &mark))?;
        let copied = match LockCopy::read(&copy, &timeline) {
            // The gateway did not create it, so a person has to decide what happens to it.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(OpenError::unusable("read", &copy)(error));
            }
            copied => copied,
        };
        if let Err(error) = &copied {
            tracing::warn!(file = %copy.display(), %error, "the copy of the locks cannot be used and is written again");
        }
        let unused = !lock.used() && newest.number() == 0 && matches!(copied, Ok(None));
        let copied = copied.ok().flatten().unwrap_or_default();

        let create = |lost| Database::create(&path, newest.number(), lost).map_err(OpenError::unusable("make", &path));
        let lost = |reason: String, set_aside| {
            let locks = copied.iter().map(|(key, until)| (key.clone(), timeline.instant(*until))).collect();
            StartState::Lost { reason, set_aside, locks }
        };
        let mut tokens = BTreeMap::new();
        // The last part has to be written back.
        let (database, start_state, incidents, rows) =
            match Database::look(&path, newest.number()).map_err(OpenError::unusable("open", &path))? {
                Found::Missing if unused => (create(None)?, StartState::Fresh, Vec::new(), Vec::new()),
                Found::Missing => (create(Some(MISSING))?, lost(MISSING.to_owned(), None), Vec::new(), Vec::new()),
                Found::Damaged(reason) => {
                    let place = files::set_aside(&path).map_err(OpenError::unusable("rename", &path))?;
                    (create(Some(&reason))?, lost(reason, Some(place)), Vec::new(), Vec::new())
                }
                Found::Intact(database, Contents { lost: Some(reason), incidents, .. }) => {
                    (database, lost(reason, None), incidents, Vec::new())
                }
                Found::Intact(database, Contents { boot_id, rows, incidents, tokens: kept, .. }) => {
                    tokens = live_tokens(kept, &timeline);
                    let (mut rows, moved) = converted(rows, boot_id.as_deref(), &timeline);
                    // The copy is written before the rows, so a kill in between leaves a lock only in the copy.
                    for (key, until) in &copied {
                        match rows.iter_mut().find(|(other, _)| other == key) {
                            Some((_, row)) => row.lock = row.lock.max(Some(*until)),
                            None => rows.push((key.clone(), StoredRow::only_locked(*until, &timeline))),
                        }
                    }
                    let kept = rows.iter().map(|(key, row)| (key.clone(), row.row(&timeline))).collect();
                    (database, StartState::Kept(kept), incidents, if moved { rows } else { Vec::new() })
                }
            };

        let locks = match &start_state {
            StartState::Fresh => BTreeMap::new(),
            StartState::Kept(rows) => {
                rows.iter().filter_map(|(key, row)| Some((key.clone(), timeline.nanos(row.lock?)))).collect()
            }
            StartState::Lost { .. } => copied,
        };
        let locks = LockCopy::new(copy, locks);
        lock.settle();
        let mut store = Self { database: Some(database), dir: dir.to_owned(), path, newest, locks, timeline, lock };
        // Converted rows are written at once: if each start converted them again, they would never end.
        store.put(&rows)?;
        Ok(Opened { store, start_state, incidents, tokens })
    }
}

/// The tokens of this boot that have not expired.
fn live_tokens(tokens: Vec<StoredToken>, timeline: &Timeline) -> BTreeMap<String, KeptToken> {
    let here = |token: &StoredToken| {
        token.boot_id.is_some()
            && token.boot_id.as_deref() == timeline.boot_id()
            && token.expires > timeline.beginning()
    };
    let kept = |token: StoredToken| {
        let expires_at = timeline.instant(token.expires);
        (token.account, KeptToken { sealed: token.sealed, expires_at })
    };
    tokens.into_iter().filter(here).map(kept).collect()
}

/// Rows with the times of this boot, and whether any had to be converted.
fn converted(rows: Vec<(Key, StoredRow)>, boot_id: Option<&str>, timeline: &Timeline) -> (Vec<(Key, StoredRow)>, bool) {
    let mut moved = false;
    let bring = |(key, row): (Key, StoredRow)| {
        let shift = timeline.shift(boot_id, row.written);
        moved |= shift != 0;
        (key, row.shifted(shift))
    };
    (rows.into_iter().map(bring).collect(), moved)
}
