//! The lock on the folder: one process at a time uses it.

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

/// The lock on a folder; it is released when this is dropped.
///
/// The system releases the lock however the process ends. The file itself is never removed: two processes could then
/// each lock a file of this name.
#[derive(Debug)]
pub(super) struct DirLock {
    file: File,
    used: bool,
    settled: bool,
}

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    version: String,
    since: String,
    host: Option<String>,
}

impl DirLock {
    /// Locks the folder.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("holder");
        let file = file_watch::open_regular(files::private().create(true).truncate(false), &path);
        let mut file = file.map_err(|unread| OpenError::unusable("open", &path)(unread.into()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Held { dir: dir.to_owned(), by: Owner::read(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(OpenError::unusable("lock", &path)(source)),
        }
        let used = file.metadata().map_err(OpenError::unusable("read", &path))?.len() > 0;
        let lock = Self { file, used, settled: false };
        lock.write_owner(&path).map_err(OpenError::unusable("write", &path))?;
        Ok(lock)
    }

    /// Which file is locked.
    pub(super) fn file_id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&self.file.metadata()?))
    }

    /// Fails when the path no longer leads to the locked file: another process can then lock the folder.
    pub(super) fn check_path(&self, dir: &Path) -> io::Result<()> {
        self.file_id()?.is_at(&dir.join("holder"))
    }

    /// Whether the folder was used before.
    pub(super) fn used(&self) -> bool {
        self.used
    }

    /// From now on the folder counts as used.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// Overwrites the content and truncates afterwards: a full disk must not leave the file empty, which would make a
    /// used folder a new one.
    fn write_owner(&self, path: &Path) -> io::Result<()> {
        let owner = serde_json::to_vec(&Owner::own())?;
        self.file.write_all_at(&owner, 0)?;
        self.file.set_len(owner.len() as u64)?;
        self.file.sync_all()?;
        files::sync_folder_of(path)
    }
}

impl Drop for DirLock {
    /// After a first start that failed, the folder counts as new again.
    fn drop(&mut self) {
        if !self.used && !self.settled {
            // If this fails, the next start takes the database for lost, and waits needlessly.
            let _ = self.file.set_len(0);
        }
    }
}

impl Owner {
    fn own() -> Self {
        let since = jiff::Timestamp::try_from(clock::wall()).map_or_else(|_| "unknown".to_owned(), |at| at.to_string());
        let host = fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
        Self { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned(), since, host }
    }

    /// A description of the process that the file names.
    fn read(file: &mut File) -> String {
        let read = |file: &mut File| {
            let mut text = String::new();
            file.take(LONGEST_OWNER).read_to_string(&mut text)?;
            Ok::<Self, io::Error>(serde_json::from_str(&text)?)
        };
        match read(file) {
            Ok(Self { pid, version, since, host }) => {
                let host = host.map(|host| format!(" on {host}")).unwrap_or_default();
                format!("process {pid}{host} (zoho-gateway {version}) since {since}")
            }
            Err(_) => "another process, which has not written its id yet".to_owned(),
        }
    }
}

/// Far longer than the content.
const LONGEST_OWNER: u64 = 4096;
