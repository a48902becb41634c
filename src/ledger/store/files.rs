//! The store's files: readable by the gateway's user alone, and durable.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::os::{atomic_file, clock};

pub(super) use crate::os::atomic_file::sync_folder_of;

/// How many damaged databases are kept for examination.
pub(super) const SET_ASIDE: usize = 3;

/// Makes the folder where it is missing.
pub(super) fn make_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Whether others than the gateway's user may put files into the folder, a ledger of their making among them.
pub(super) fn is_open_to_others(dir: &Path) -> io::Result<bool> {
    Ok(fs::metadata(dir)?.mode() & 0o022 != 0)
}

/// How files are opened for reading and writing, and made for the gateway's user alone.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// A file itself, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Whether a name still leads to this file, and not to another one or to none.
    pub(super) fn is_at(self, path: &Path) -> io::Result<()> {
        let found = Self::of(&fs::metadata(path)?);
        if found == self { Ok(()) } else { Err(io::Error::other("it was replaced by another file")) }
    }
}

/// Replaces a whole file. Its draft has one name, since only one process writes into the folder.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    atomic_file::replace(path, &path.with_extension("new"), text)
}

/// Renames a damaged file, so that it is out of the way and can be looked into; only the last few are kept.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let named = |number: u64| path.with_added_extension(format!("damaged-{number}"));
    // The names have to be free and in order; they need not be right about the time.
    let seconds = clock::wall().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let earlier = earlier(path)?;
    let number = earlier.last().map_or(seconds, |last| seconds.max(last.saturating_add(1)));
    let place = named(number);
    fs::rename(path, &place)?;
    let surplus = (earlier.len() + 1).saturating_sub(SET_ASIDE);
    for number in earlier.into_iter().take(surplus) {
        // A file that stays takes room, no more.
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
