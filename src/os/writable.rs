//! Tests whether files and folders can be created, by creating and removing them: permissions, read-only mounts and
//! quotas have too many forms to predict the result.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use super::atomic_file::folder_of;

/// How many links Linux follows on one path.
const MOST_LINKS: usize = 40;

/// Creates a file in an existing folder and removes it.
///
/// # Errors
/// The system's error, also when the path does not lead to a folder.
pub fn file_in(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".zoho-gateway-check-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    match made {
        Ok(_) => fs::remove_file(&path),
        // A process with the same id, in another container, tests the same folder.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Tests whether a file can be created at a path where none exists. A link that leads nowhere is followed, as the
/// system follows it when it creates the file.
///
/// # Errors
/// The system's error.
pub fn file_at(path: &Path) -> io::Result<()> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let folder = folder_of(&path);
        match path.read_link() {
            Ok(target) => path = folder.join(target),
            Err(_) => return file_in(folder),
        }
    }
    Err(io::Error::other("too many links lead to each other"))
}

/// Creates a missing folder with its parents and a file in it, and removes all of them.
///
/// # Errors
/// The system's error.
pub fn folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return file_in(path);
    }
    let mut missing: Vec<&Path> =
        path.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.is_dir()).collect();
    let mut made = Vec::new();
    let mut outcome = Ok(());
    while let (Ok(()), Some(path)) = (&outcome, missing.pop()) {
        outcome = DirBuilder::new().mode(0o700).create(path);
        made.extend(outcome.is_ok().then_some(path));
    }
    let outcome = outcome.and_then(|()| file_in(path));
    for path in made.into_iter().rev() {
        // A folder that is not empty belongs to a gateway that has started meanwhile.
        let _ = fs::remove_dir(path);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn leaves_nothing_behind() {
        let place = tempfile::tempdir().unwrap();
        folder(&place.path().join("a/b/c")).unwrap();
        folder(&place.path().join("a")).unwrap();
        folder(place.path()).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn follows_links_that_lead_nowhere() {
        let place = tempfile::tempdir().unwrap();
        for (name, target) in [
            ("good", "to-be-made"),
            ("chained", "good"),
            ("bad", "no-folder/file"),
            ("worse", "bad"),
            ("round", "round"),
        ] {
            symlink(target, place.path().join(name)).unwrap();
        }
        for name in ["good", "chained", "no-link"] {
            file_at(&place.path().join(name)).unwrap();
        }
        for name in ["bad", "worse", "round"] {
            assert!(file_at(&place.path().join(name)).is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 5);
    }

    #[test]
    fn says_what_keeps_a_folder_from_being_made() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        for path in ["file", "file/below", "file/far/below"] {
            assert!(folder(&place.path().join(path)).is_err(), "{path}");
        }
        for path in ["/proc/nowhere", "/proc/nowhere/below"] {
            assert!(folder(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
