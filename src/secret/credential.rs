//! A secret of an account, from the configuration, the environment, or a file that may change while the gateway runs.

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

/// Longer than any credential.
const LONGEST_FILE: u64 = 64 * 1024;

/// A credential; clones share it, so that all see its changes.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

struct Inner {
    file: Option<PathBuf>,
    current: RwLock<Secret>,
    trouble: Mutex<Trouble>,
}

/// Why a text or a file is not a credential.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// RFC 6749, appendix A: visible ASCII characters, no spaces.
    #[error("holds white space or other characters that no credential has; a stray newline is the usual mistake")]
    Characters,
    /// Another account has it too.
    #[error("holds the refresh token of accounts.{0} too; two accounts with one login would exceed its thresholds")]
    Grant(String),
    /// The file cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
}

impl Credential {
    /// A credential from the configuration or the environment.
    ///
    /// # Errors
    /// [`Unusable`] if the text is not a credential.
    pub fn written(secret: Secret) -> Result<Self, Unusable> {
        check(&secret)?;
        Ok(Self::new(None, secret))
    }

    /// A credential from a file, with or without a trailing newline.
    ///
    /// # Errors
    /// [`Unusable`] if the file does not hold a credential.
    pub fn in_file(path: PathBuf) -> Result<Self, Unusable> {
        let secret = read(&path)?;
        Ok(Self::new(Some(path), secret))
    }

    /// A credential that does not exist yet, and the file, if any, that will hold it.
    #[must_use]
    pub fn awaited(path: Option<PathBuf>) -> Self {
        Self::new(path, Secret::new(String::new()))
    }

    /// The current secret; empty while the credential does not exist yet.
    #[must_use]
    pub fn current(&self) -> Secret {
        self.0.current.read().clone()
    }

    /// The file that holds it.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Reads its file again, if it has one. The old secret stays in use while the file is unusable, or holds a secret
    /// for which `taken` names another owner.
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

    /// The secret in its file, if there is a usable one; otherwise the current secret.
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

fn check(secret: &Secret) -> Result<(), Unusable> {
    match secret.expose() {
        "" => Err(Unusable::Empty),
        text if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(()),
        _ => Err(Unusable::Characters),
    }
}

/// A file's text without the trailing newline that editors add.
fn read(path: &Path) -> Result<Secret, Unusable> {
    let contents = file_watch::read(path, LONGEST_FILE)?;
    let text = str::from_utf8(contents.expose()).map_err(|_| Unusable::Characters)?;
    let secret = Secret::from(text.trim_end_matches(['\r', '\n']));
    check(&secret)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// No other account has the secret.
    fn free(_: &Secret) -> Option<String> {
        None
    }

    #[test]
    fn a_secret_of_another_account_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first").unwrap();
        let credential = Credential::in_file(path.clone()).unwrap();
        fs::write(&path, "second").unwrap();
        let taken = |secret: &Secret| (secret.expose() == "second").then(|| "other".to_owned());
        assert!(matches!(credential.reread(taken), Reread::Quiet));
        let Reread::Unusable(error) = credential.reread(taken) else { panic!("reported the second time") };
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
        assert!(matches!(credential.reread(free), Reread::Quiet), "a file may be missing for a moment");
        assert!(matches!(shared.reread(free), Reread::Unusable(Unusable::Empty)));
        fs::write(&path, b"\xff").unwrap();
        assert!(matches!(credential.reread(free), Reread::Quiet));
        assert!(matches!(credential.reread(free), Reread::Unusable(Unusable::Characters)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(credential.reread(free), Reread::Quiet));
        assert!(matches!(credential.reread(free), Reread::Unusable(Unusable::Unread(_))));
        assert_eq!(shared.current().expose(), "second", "the old secret stays in use");
    }

    #[test]
    fn a_credential_without_a_file_does_not_change() {
        let credential = Credential::written(Secret::from("abc")).unwrap();
        assert!(matches!(credential.reread(free), Reread::Quiet));
        assert_eq!(format!("{credential:?} {}", credential.current().expose()), "[redacted] abc");
        assert!(Credential::written(Secret::from("a b")).is_err() && Credential::written(Secret::from("")).is_err());
    }
}
