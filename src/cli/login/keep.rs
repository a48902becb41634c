//! The file of a refresh token: replaced as a whole or not at all, and for its owner's eyes only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::random;
use crate::secret::Secret;

/// A file that a refresh token is to stand in.
#[derive(Debug)]
pub struct Shelf(PathBuf);

impl Shelf {
    /// Finds the place and tries it, so that no token is asked for that could not be kept.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn at(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // A link goes on leading to the token.
        let shelf = Self(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
        let (draft, _) = shelf.draft()?;
        fs::remove_file(draft)?;
        Ok(shelf)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Puts the token there; at every moment the file holds the old one or the new one.
    ///
    /// # Errors
    /// When it cannot be written; then the old one is still there.
    pub fn put(&self, token: &Secret) -> io::Result<()> {
        let (draft, mut file) = self.draft()?;
        let written = file
            .write_all(token.expose().as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&draft, &self.0));
        if let Err(error) = written {
            // It may hold a token by now.
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        self.sync_folder()
    }

    /// Removes what is there.
    ///
    /// # Errors
    /// When it is not to be removed.
    pub fn clear(&self) -> io::Result<()> {
        fs::remove_file(&self.0)?;
        self.sync_folder()
    }

    /// A new file beside the place.
    fn draft(&self) -> io::Result<(PathBuf, File)> {
        let mut name = self.0.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(".new-");
        name.push(&random::hex().map_err(io::Error::other)?[..16]);
        let path = self.0.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((path, file))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn replaces_what_was_there_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "an older and longer token\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let shelf = Shelf::at(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "an older and longer token\n", "trying changes nothing");
        shelf.put(&Secret::from("1000.new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1000.new\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        shelf.clear().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        fs::write(&target, "old").unwrap();
        symlink("target", &link).unwrap();
        Shelf::at(&link).unwrap().put(&Secret::from("1000.new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "1000.new\n");
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_known_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Shelf::at(&folder.path().join("nowhere/token")).is_err());
        assert!(Shelf::at(folder.path()).is_err());
    }
}
