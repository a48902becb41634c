//! Files that are replaced as a whole: after a crash at any moment, a reader finds the old content or the new.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Replaces the file at `path`, readable only by its owner, and makes it durable. `draft` is a path in the same folder;
/// a file there is removed, since a process that died may have left it.
///
/// # Errors
/// When the file cannot be written. The old content is then still in place, unless only the sync of the folder failed.
pub fn replace(path: &Path, draft: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(draft, path));
    if written.is_err() {
        // It may hold a secret by now.
        let _ = fs::remove_file(draft);
    }
    written.and_then(|()| sync_folder_of(path))
}

/// Makes a new, renamed or removed name in the folder of `path` durable.
///
/// # Errors
/// The system's error.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder of a path; the current one for a bare name.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
