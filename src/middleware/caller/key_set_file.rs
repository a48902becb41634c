//! An issuer's keys in a file, which may change while the gateway runs.

use std::{path::PathBuf, sync::Arc};

use parking_lot::{Mutex, RwLock};

use super::KeySet;
use crate::secret::file_watch::{Reread, Trouble};

/// The keys of an issuer that a file holds.
#[derive(Debug)]
pub(super) struct KeySetFile {
    /// The issuer, by its name in the configuration.
    issuer: String,
    path: PathBuf,
    keys: RwLock<Arc<KeySet>>,
    trouble: Mutex<Trouble>,
}

impl KeySetFile {
    /// The file, with its content when the configuration was read.
    pub(super) fn new(issuer: &str, path: PathBuf, keys: KeySet) -> Self {
        let (keys, trouble) = (RwLock::new(Arc::new(keys)), Mutex::default());
        Self { issuer: issuer.to_owned(), path, keys, trouble }
    }

    /// The present keys.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read())
    }

    /// What is wrong with the file; `ok` when nothing is.
    pub(super) fn health(&self) -> String {
        let fine = if self.keys().is_empty() { "it no longer holds a key" } else { "ok" };
        self.trouble.lock().words().unwrap_or(fine).to_owned()
    }

    /// Reads the file again. While it cannot be used, the previous keys stay valid.
    pub(super) fn reread(&self) {
        let replaced = KeySet::in_file(&self.path).map(|keys| {
            let replaced = keys != *self.keys();
            if replaced {
                *self.keys.write() = Arc::new(keys);
            }
            replaced
        });
        let (issuer, file) = (&self.issuer, self.path.display());
        match self.trouble.lock().judge(replaced) {
            Reread::Quiet => {}
            Reread::Replaced if self.keys().is_empty() => {
                tracing::warn!(issuer, %file, "an issuer's key file holds no key; its tokens are rejected until it does");
            }
            Reread::Replaced => {
                tracing::info!(issuer, %file, keys = self.keys().len(), "the keys of an issuer have changed");
            }
            Reread::Unusable(error) => {
                tracing::warn!(issuer, %file, %error, "an issuer's key file cannot be used; the previous keys stay valid until it is fixed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn set(id: &str) -> String {
        let key = json!({ "kty": "RSA", "kid": id, "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4", "e": "AQAB" });
        json!({ "keys": [key] }).to_string()
    }

    #[test]
    fn keys_follow_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks");
        fs::write(&path, set("one")).unwrap();
        let file = KeySetFile::new("ours", path.clone(), KeySet::in_file(&path).unwrap());
        let first = file.keys();
        file.reread();
        assert!(Arc::ptr_eq(&first, &file.keys()), "nothing has changed");
        fs::write(&path, "nonsense").unwrap();
        file.reread();
        assert!(Arc::ptr_eq(&first, &file.keys()) && file.health().starts_with("is not a JWK Set"));
        fs::write(&path, set("two")).unwrap();
        file.reread();
        assert_eq!((&*file.keys(), file.health().as_str()), (&KeySet::in_file(&path).unwrap(), "ok"));
        assert_ne!(*file.keys(), *first);
        fs::write(&path, r#"{"keys":[]}"#).unwrap();
        file.reread();
        assert!(file.keys().is_empty(), "all are withdrawn");
        assert_eq!(file.health(), "it no longer holds a key");
    }
}
