//! The store's files: readable only by the gateway's user, and durable.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::os::{atomic_file, clock};

pub(super) use crate::os::atomic_file::sync_folder_of;

/// How many damaged databases are kept for examination.
pub(super) const SET_ASIDE: usize = 3;

/// Creates the folder if it is missing.
pub(super) fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Whether users other than the gateway's may put files into the folder, for example a forged ledger.
pub(super) fn is_open_to_others(dir: &Path) -> io::Result<bool> {
    Ok(fs::metadata(dir)?.mode() & 0o022 != 0)
}

/// Options to open a file for reading and writing, or to create it for the gateway's user only.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Identifies a file independently of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Fails when the path leads to another file or to none.
    pub(super) fn is_at(self, path: &Path) -> io::Result<()> {
        let found = Self::of(&fs::metadata(path)?);
        if found == self { Ok(()) } else { Err(io::Error::other("it was replaced by another file")) }
    }
}

/// Replaces a whole file. The temporary file has a fixed name, since only one process writes into the folder.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    atomic_file::replace(path, &path.with_extension("new"), text)
}

/// Renames a damaged file, so that an operator can examine it; only the last few are kept.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let named = |number: u64| path.with_added_extension(format!("damaged-{number}"));
    // The names must be free and in order; their time may be wrong.
    let seconds = clock::wall().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let earlier = earlier(path)?;
    let number = earlier.last().map_or(seconds, |last| seconds.max(last.saturating_add(1)));
    let place = named(number);
    fs::rename(path, &place)?;
    let surplus = (earlier.len() + 1).saturating_sub(SET_ASIDE);
    for number in earlier.into_iter().take(surplus) {
        // A file that stays costs only disk space.
        let _ = fs::remove_file(named(number));
    }
    sync_folder_of(path)?;
    Ok(place)
}

/// The numbers of the files set aside so far, in order.
fn earlier(path: &Path) -> io::Result<Vec<u64>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let number = |file: &str| file.strip_prefix(name)?.strip_prefix(".damaged-")?.parse::<u64>().ok();
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(entry?.file_name().to_str().and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
