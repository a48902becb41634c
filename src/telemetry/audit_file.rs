//! The file of the audit, which somebody else may take away.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::os::{atomic_file::sync_folder_of, writable};

/// Whether the file could be opened, found out without making it.
///
/// # Errors
/// When it could not.
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
    /// Its folder is synced too when it is made, so that its name outlives a power failure.
    fsync: bool,
    /// A line may have left its beginning at the end of the file.
    torn: bool,
}

impl AuditFile {
    /// The file at this path, made if it is not there, for its owner alone.
    pub(super) fn open(path: &Path, fsync: bool) -> io::Result<Self> {
        let file = append_to(path, fsync)?;
        Ok(Self { path: path.to_owned(), file: Some(file), fsync, torn: false })
    }

    /// Appends a line; a file that was renamed or removed is opened anew first.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let outcome = self.try_append(line);
        if outcome.is_err() {
            self.file = None;
            self.torn = true;
        }
        outcome
    }

    /// Makes what was appended outlive a power failure.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match &self.file {
            // A device has nothing to be synced, and says so by an error.
            Some(file) if file.metadata()?.is_file() => file.sync_data(),
            Some(_) | None => Ok(()),
        }
    }

    fn try_append(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.file.as_ref().is_some_and(|file| is_at(file, &self.path)) {
            // Lines of this turn may have gone to the file that was taken away.
            if self.fsync {
                self.sync()?;
            }
            self.file = Some(append_to(&self.path, self.fsync)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.torn {
            file.write_all(b"\n")?;
            self.torn = false;
        }
        file.write_all(line)
    }
}

fn append_to(path: &Path, fsync: bool) -> io::Result<File> {
    // A pipe would be opened only when somebody reads it, and a folder not at all.
    if path.metadata().is_ok_and(|there| !there.is_file() && !there.file_type().is_char_device()) {
        return Err(io::Error::other("it is no regular file"));
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
    fn a_file_that_is_taken_away_is_made_anew() {
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
    fn a_device_is_taken_for_synced() {
        let mut file = AuditFile::open(Path::new("/dev/null"), true).unwrap();
        file.append(b"one\n").unwrap();
        file.sync().unwrap();
    }

    /// An intact line after a torn one has to stay readable.
    #[test]
    fn a_line_after_one_that_failed_begins_on_a_line_of_its_own() {
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
