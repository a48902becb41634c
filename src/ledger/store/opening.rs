//! How a folder is opened: what is found there decides what the gateway remembers.

use std::{collections::BTreeMap, fs::OpenOptions, io, path::Path};

use super::{
    Opened, Store,
    commit_mark::CommitMark,
    copy::LockCopy,
    database::{Contents, Database, Fault, StoredToken},
    dir_lock::DirLock,
    error::OpenError,
    files,
    row::Stored,
    timeline::Timeline,
};
use crate::{
    ledger::{KeptToken, Key, StartState},
    os::writable,
    secret::file_watch,
};

/// What stands in the database's place.
pub(super) enum Found {
    Nothing,
    Whole(Database, Contents),
    Damaged(String),
}

impl Store {
    /// Opens the folder, making it where it is missing, and reads what it remembers.
    ///
    /// # Errors
    /// [`OpenError`] when another process holds the folder or the system refuses. A damaged database is no error but
    /// [`StartState::Lost`].
    pub fn open(dir: &Path) -> Result<Opened, OpenError> {
        Self::open_in(dir, Timeline::current())
    }

    /// Whether the folder could be opened, found out without making it and without holding it: a gateway may use it.
    ///
    /// # Errors
    /// [`OpenError`] when it could not.
    pub fn probe(dir: &Path) -> Result<(), OpenError> {
        writable::folder(dir).map_err(OpenError::unusable("write to the folder", dir))?;
        for (name, writes) in [("holder", true), ("newest", true), ("ledger.redb", true), ("locks.json", false)] {
            let path = dir.join(name);
            match file_watch::open_regular(OpenOptions::new().read(true).write(writes), &path) {
                Err(unread) if !unread.is_absent() => return Err(OpenError::unusable("open", &path)(unread.into())),
                // The database is made only where nothing is, not even a link.
                Err(_) if name == "ledger.redb" && path.is_symlink() => {
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
        let mut holder = DirLock::take(dir)?;
        let [path, copy, beside] = ["ledger.redb", "locks.json", "newest"].map(|name| dir.join(name));
        let newest = CommitMark::open(beside.clone()).map_err(OpenError::unusable("open", &beside))?;
        let copied = match LockCopy::read(&copy, &timeline) {
            // The gateway did not make it, so a person has to decide what happens to it.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(OpenError::unusable("read", &copy)(error));
            }
            copied => copied,
        };
        if let Err(error) = &copied {
            tracing::warn!(file = %copy.display(), %error, "the copy of the locks cannot be used and is written anew");
        }
        let unused = !holder.used() && newest.number() == 0 && matches!(copied, Ok(None));
        let copied = copied.ok().flatten().unwrap_or_default();

        let create = |lost| Database::create(&path, newest.number(), lost).map_err(OpenError::unusable("make", &path));
        let lost = |reason: String, set_aside| {
            let locks = copied.iter().map(|(key, until)| (key.clone(), timeline.instant(*until))).collect();
            StartState::Lost { reason, set_aside, locks }
        };
        let mut tokens = BTreeMap::new();
        // The last part is what has to be written back.
        let (database, memory, incidents, rows) =
            match look(&path, &newest).map_err(OpenError::unusable("open", &path))? {
                Found::Nothing if unused => (create(None)?, StartState::Fresh, Vec::new(), Vec::new()),
                Found::Nothing => (create(Some(MISSING))?, lost(MISSING.to_owned(), None), Vec::new(), Vec::new()),
                Found::Damaged(reason) => {
                    let place = files::set_aside(&path).map_err(OpenError::unusable("rename", &path))?;
                    (create(Some(&reason))?, lost(reason, Some(place)), Vec::new(), Vec::new())
                }
                Found::Whole(database, Contents { lost: Some(reason), incidents, .. }) => {
                    (database, lost(reason, None), incidents, Vec::new())
                }
                Found::Whole(database, Contents { boot_id, rows, incidents, tokens: kept, .. }) => {
                    tokens = living(kept, &timeline);
                    let (mut rows, moved) = brought_here(rows, boot_id.as_deref(), &timeline);
                    // The copy is written first, so a process that died in between knew of a lock that no row has.
                    for (key, until) in &copied {
                        match rows.iter_mut().find(|(other, _)| other == key) {
                            Some((_, row)) => row.lock = row.lock.max(Some(*until)),
                            None => rows.push((key.clone(), Stored::only_locked(*until, &timeline))),
                        }
                    }
                    let kept = rows.iter().map(|(key, row)| (key.clone(), row.row(&timeline))).collect();
                    (database, StartState::Kept(kept), incidents, if moved { rows } else { Vec::new() })
                }
            };

        let locks = match &memory {
            StartState::Fresh => BTreeMap::new(),
            StartState::Kept(rows) => {
                rows.iter().filter_map(|(key, row)| Some((key.clone(), timeline.nanos(row.lock?)))).collect()
            }
            StartState::Lost { .. } => copied,
        };
        let locks = LockCopy::new(copy, locks);
        holder.settle();
        let mut store = Self { database: Some(database), dir: dir.to_owned(), path, newest, locks, timeline, holder };
        // What was moved is written at once: moved again at the next start, it would never come to an end.
        store.put(&rows)?;
        Ok(Opened { store, memory, incidents, tokens })
    }
}

/// Opens what stands in the database's place, and holds it against the number of the newest commit.
pub(super) fn look(path: &Path, newest: &CommitMark) -> io::Result<Found> {
    if !path.try_exists()? {
        return Ok(Found::Nothing);
    }
    match Database::open(path) {
        Ok((_, Contents { commit, .. })) if commit < newest.number() => {
            Ok(Found::Damaged(format!("it ends at commit {commit}, and commit {} was made", newest.number())))
        }
        Ok((database, contents)) => Ok(Found::Whole(database, contents)),
        Err(Fault::Damaged(reason)) => Ok(Found::Damaged(reason)),
        Err(Fault::Failed(error)) => Err(error),
    }
}

/// Tokens of this era that have not ended.
fn living(tokens: Vec<StoredToken>, timeline: &Timeline) -> BTreeMap<String, KeptToken> {
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

/// Rows in this process's time, and whether any had to be moved for it.
fn brought_here(rows: Vec<(Key, Stored)>, boot_id: Option<&str>, timeline: &Timeline) -> (Vec<(Key, Stored)>, bool) {
    let mut moved = false;
    let bring = |(key, row): (Key, Stored)| {
        let shift = timeline.shift(boot_id, row.written);
        moved |= shift != 0;
        (key, row.moved(shift))
    };
    (rows.into_iter().map(bring).collect(), moved)
}

/// The reason when there is no file at all.
pub(super) const MISSING: &str = "the database is missing, though the folder was used before";
