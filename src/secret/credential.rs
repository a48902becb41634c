//! A secret of an account, and where it comes from: the configuration, the environment, or a file that may change while
//! the gateway runs.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};

use crate::secret::{
    Secret,
    file_watch::{self, Reread, Trouble, Unread},
};

/// More than any credential takes.
const LONGEST_FILE: u64 = 64 * 1024;

/// A credential; clones share it, so that all see it change.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

struct Inner {
    file: Option<PathBuf>,
    current: RwLock<Secret>,
    trouble: Mutex<Trouble>,
}

/// Text or a file that holds no credential.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Nothing stands there.
    #[error("is empty")]
    Empty,
    /// RFC 6749, appendix A: visible ASCII characters, no spaces.
    #[error("holds white space or other characters that no credential has; a stray newline is the usual mistake")]
    Characters,
    /// It is somebody else's too.
    #[error("holds the refresh token of accounts.{0} too; two accounts with one login would exceed its thresholds")]
    Grant(String),
    /// The file cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
}

impl Credential {
    /// One that is written down, in the configuration or the environment.
    ///
    /// # Errors
    /// [`Unusable`] for text that is none.
    pub fn written(secret: Secret) -> Result<Self, Unusable> {
        sound(&secret)?;
        Ok(Self::new(None, secret))
    }

    /// One that stands in a file, with or without a newline behind it.
    ///
    /// # Errors
    /// [`Unusable`] for a file that holds none.
    pub fn in_file(path: PathBuf) -> Result<Self, Unusable> {
        let secret = read(&path)?;
        Ok(Self::new(Some(path), secret))
    }

    /// One that is still to be had, and in which file, if any, it is to stand then.
    #[must_use]
    pub fn awaited(path: Option<PathBuf>) -> Self {
        Self::new(path, Secret::new(String::new()))
    }

    /// As it is now; empty while it is awaited.
    #[must_use]
    pub fn current(&self) -> Secret {
        self.0.current.read().clone()
    }

    /// The file that it stands in.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Reads its file again, if it stands in one. While that cannot be used, or holds what `taken` knows as somebody
    /// else's, what was there before goes on.
    pub fn reread(&self, taken: impl FnOnce(&Secret) -> Option<String>) -> Reread<Unusable> {
        let Some(path) = &self.0.file else { return Reread::Quiet };
        let replaced = read(path).and_then(|secret| {
            if secret.expose() == self.current().expose() {
                return Ok(false);
            }
            if let Some(owner) = taken(&secret) {
                return Err(Unusable::Grant(owner));
            }
            *self.0.current.write() = secret;
            Ok(true)
        });
        self.0.trouble.lock().judge(replaced)
    }

    /// As its file has it now, where it stands in one that can be used; otherwise as it is.
    #[must_use]
    pub fn newest(&self) -> Secret {
        self.0.file.as_deref().and_then(|path| read(path).ok()).unwrap_or_else(|| self.current())
    }

    fn new(file: Option<PathBuf>, secret: Secret) -> Self {
        Self(Arc::new(Inner { file, current: RwLock::new(secret), trouble: Mutex::default() }))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn sound(secret: &Secret) -> Result<(), Unusable> {
    match secret.expose() {
        "" => Err(Unusable::Empty),
        text if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(()),
        _ => Err(Unusable::Characters),
    }
}

/// A file's text without the newline that editors leave at its end.
fn read(path: &Path) -> Result<Secret, Unusable> {
    let contents = file_watch::read(path, LONGEST_FILE)?;
    let text = str::from_utf8(contents.expose()).map_err(|_| Unusable::Characters)?;
    let secret = Secret::from(text.trim_end_matches(['\r', '\n']));
    sound(&secret)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Nobody else has it.
    fn free(_: &Secret) -> Option<String> {
        None
    }

    #[test]
    fn what_is_somebody_elses_is_not_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first").unwrap();
        let credential = Credential::in_file(path.clone()).unwrap();
        fs::write(&path, "second").unwrap();
        let taken = |secret: &Secret| (secret.expose() == "second").then(|| "other".to_owned());
        assert!(matches!(credential.reread(taken), Reread::Quiet));
        let Reread::Unusable(error) = credential.reread(taken) else { panic!("told when it stays") };
        assert!(error.to_string().contains("accounts.other") && !error.to_string().contains("second"), "{error}");
        assert_eq!((credential.current().expose(), credential.newest().expose()), ("first", "second"));
        assert!(matches!(credential.reread(free), Reread::Replaced));
    }

    #[test]
    fn a_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first\n").unwrap();
        let credential = Credential::in_file(path.clone()).unwrap();
        let shared = credential.clone();
        assert_eq!((credential.current().expose(), credential.file()), ("first", Some(path.as_path())));
        assert!(matches!(credential.reread(free), Reread::Quiet));
        fs::write(&path, "second").unwrap();
        assert!(matches!(credential.reread(free), Reread::Replaced));
        assert_eq!(shared.current().expose(), "second");
        fs::write(&path, "").unwrap();
        assert!(matches!(credential.reread(free), Reread::Quiet), "a moment without one is no event");
        assert!(matches!(shared.reread(free), Reread::Unusable(Unusable::Empty)));
        fs::write(&path, b"\xff").unwrap();
        assert!(matches!(credential.reread(free), Reread::Quiet));
        assert!(matches!(credential.reread(free), Reread::Unusable(Unusable::Characters)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(credential.reread(free), Reread::Quiet));
        assert!(matches!(credential.reread(free), Reread::Unusable(Unusable::Unread(_))));
        assert_eq!(shared.current().expose(), "second", "what was there before goes on");
    }

    #[test]
    fn what_is_written_down_does_not_change() {
        let credential = Credential::written(Secret::from("abc")).unwrap();
        assert!(matches!(credential.reread(free), Reread::Quiet));
        assert_eq!(format!("{credential:?} {}", credential.current().expose()), "[redacted] abc");
        assert!(Credential::written(Secret::from("a b")).is_err() && Credential::written(Secret::from("")).is_err());
    }
}
