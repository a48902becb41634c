//! The file of the audit, which log rotation may rename or remove.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::os::{atomic_file::sync_folder_of, writable};

/// Checks whether the file can be opened, without creating it.
///
/// # Errors
/// When it cannot.
pub fn probe(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return append_to(path, false).map(drop);
    }
    writable::file_at(path)
}

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    file: Option<File>,
    /// Whether lines and a new file's name must survive a power failure.
    fsync: bool,
    /// The file may end in an incomplete line.
    incomplete_line: bool,
}

impl AuditFile {
    /// Opens the file at this path; creates it readable only by its owner if it is missing.
    pub(super) fn open(path: &Path, fsync: bool) -> io::Result<Self> {
        let file = append_to(path, fsync)?;
        Ok(Self { path: path.to_owned(), file: Some(file), fsync, incomplete_line: false })
    }

    /// Appends a line; a file that was renamed or removed is opened again first.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let outcome = self.try_append(line);
        if outcome.is_err() {
            self.file = None;
            self.incomplete_line = true;
        }
        outcome
    }

    /// Syncs the appended lines, if `fsync` is set.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match &self.file {
            // A device cannot be synced and would return an error.
            Some(file) if self.fsync && file.metadata()?.is_file() => file.sync_data(),
            _ => Ok(()),
        }
    }

    fn try_append(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.file.as_ref().is_some_and(|file| is_at(file, &self.path)) {
            // Lines of this batch may be in the file that was renamed or removed.
            self.sync()?;
            self.file = Some(append_to(&self.path, self.fsync)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.incomplete_line {
            file.write_all(b"\n")?;
            self.incomplete_line = false;
        }
        file.write_all(line)
    }
}

fn append_to(path: &Path, fsync: bool) -> io::Result<File> {
    // Opening a pipe waits for its reader, and a folder cannot be opened at all.
    if path.metadata().is_ok_and(|there| !there.is_file() && !there.file_type().is_char_device()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if fsync {
        sync_folder_of(path)?;
    }
    Ok(file)
}

/// Whether the path still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: &Metadata| (meta.dev(), meta.ino());
    matches!((file.metadata(), path.metadata()), (Ok(open), Ok(there)) if identity(&open) == identity(&there))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_renamed_or_removed_file_is_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        for fsync in [false, true] {
            let mut file = AuditFile::open(&path, fsync).unwrap();
            file.append(b"one\n").unwrap();
            fs::rename(&path, folder.path().join("audit.log.1")).unwrap();
            file.append(b"two\n").unwrap();
            file.sync().unwrap();
            assert_eq!(fs::read(folder.path().join("audit.log.1")).unwrap(), b"one\n");
            assert_eq!(fs::read(&path).unwrap(), b"two\n");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_device_counts_as_synced() {
        let mut file = AuditFile::open(Path::new("/dev/null"), true).unwrap();
        file.append(b"one\n").unwrap();
        file.sync().unwrap();
    }

    /// A complete line after an incomplete one must stay readable.
    #[test]
    fn a_line_after_an_incomplete_one_starts_on_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut file = AuditFile::open(&path, false).unwrap();
        fs::rename(&path, folder.path().join("gone")).unwrap();
        fs::create_dir(&path).unwrap();
        file.append(b"one\n").unwrap_err();
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "on").unwrap();
        file.append(b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"on\ntwo\n");
    }
}
