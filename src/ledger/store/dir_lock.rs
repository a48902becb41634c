//! Who uses the folder: one process at a time.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    error::OpenError,
    files::{self, FileId},
};
use crate::{os::clock, secret::file_watch};

/// The hold on a folder, for as long as it lives.
///
/// The system lets go of the lock however the process ends, so none is ever left behind. The file itself is never
/// removed: two processes could then each lock a file of this name.
#[derive(Debug)]
pub(super) struct DirLock {
    file: File,
    used: bool,
    settled: bool,
}

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Card {
    pid: u32,
    version: String,
    since: String,
    host: Option<String>,
}

impl DirLock {
    /// Takes hold of the folder.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("holder");
        let file = file_watch::open_regular(files::private().create(true).truncate(false), &path);
        let mut file = file.map_err(|unread| OpenError::unusable("open", &path)(unread.into()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Held { dir: dir.to_owned(), by: Card::read(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(OpenError::unusable("lock", &path)(source)),
        }
        let used = file.metadata().map_err(OpenError::unusable("read", &path))?.len() > 0;
        let holder = Self { file, used, settled: false };
        holder.sign(&path).map_err(OpenError::unusable("write", &path))?;
        Ok(holder)
    }

    /// Whether the hold is one still: a folder that was removed or replaced can be held by somebody else.
    pub(super) fn still_stands(&self, dir: &Path) -> io::Result<()> {
        FileId::of(&self.file.metadata()?).is_at(&dir.join("holder"))
    }

    /// Whether the folder was used before.
    pub(super) fn used(&self) -> bool {
        self.used
    }

    /// From now on the folder counts as used.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// Written over what is there and cut afterwards: a full disk must not leave the file empty, which would make a
    /// used folder a new one.
    fn sign(&self, path: &Path) -> io::Result<()> {
        let card = serde_json::to_vec(&Card::own())?;
        self.file.write_all_at(&card, 0)?;
        self.file.set_len(card.len() as u64)?;
        self.file.sync_all()?;
        files::sync_folder_of(path)
    }
}

impl Drop for DirLock {
    /// After a first start that came to nothing, the folder is as new as before.
    fn drop(&mut self) {
        if !self.used && !self.settled {
            // If it fails, the next start takes the database for lost, and waits without need.
            let _ = self.file.set_len(0);
        }
    }
}

impl Card {
    fn own() -> Self {
        let since = jiff::Timestamp::try_from(clock::wall()).map_or_else(|_| "unknown".to_owned(), |at| at.to_string());
        let host = fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
        Self { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned(), since, host }
    }

    /// Who the file says it is, in words.
    fn read(file: &mut File) -> String {
        let read = |file: &mut File| {
            let mut text = String::new();
            file.take(MAX_CARD).read_to_string(&mut text)?;
            Ok::<Self, io::Error>(serde_json::from_str(&text)?)
        };
        match read(file) {
            Ok(Self { pid, version, since, host }) => {
                let host = host.map(|host| format!(" on {host}")).unwrap_or_default();
                format!("process {pid}{host} (zoho-gateway {version}) since {since}")
            }
            Err(_) => "another process, which has not said yet who it is".to_owned(),
        }
    }
}

/// Far more than a card has.
const MAX_CARD: u64 = 4096;
