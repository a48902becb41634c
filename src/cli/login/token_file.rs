//! The file of a refresh token: replaced as a whole or not at all, and readable by its owner alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    os::{atomic_file, writable},
    secret::{Secret, random},
};

/// The file that holds a refresh token.
#[derive(Debug)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// Tests whether the file can be written, so that no token is requested that cannot be kept.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn at(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // The file behind a link is replaced, and the link stays.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        writable::file_in(atomic_file::folder_of(&path))?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes the token; at every moment the file holds the old one or the new one.
    ///
    /// # Errors
    /// When the file cannot be written; then it still holds the old token.
    pub fn write(&self, token: &Secret) -> io::Result<()> {
        let id = random::hex().map_err(io::Error::other)?;
        let draft = self.0.with_file_name(format!(".zoho-gateway-{}", &id.expose()[..16]));
        let line = Secret::new([token.expose(), "\n"].concat());
        atomic_file::replace(&self.0, &draft, line.expose().as_bytes())
    }

    /// Removes the file.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.0)?;
        atomic_file::sync_folder_of(&self.0)
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
        let file = TokenFile::at(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "an older and longer token\n", "the test changes nothing");
        file.write(&Secret::from("1000.new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1000.new\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        file.remove().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        fs::write(&target, "old").unwrap();
        symlink("target", &link).unwrap();
        TokenFile::at(&link).unwrap().write(&Secret::from("1000.new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "1000.new\n");
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_known_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        assert!(TokenFile::at(&folder.path().join("nowhere/token")).is_err());
        assert!(TokenFile::at(folder.path()).is_err());
    }
}
