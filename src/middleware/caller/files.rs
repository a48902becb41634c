//! Files of callers that may change while the gateway runs: key hashes and key sets.

use std::{path::PathBuf, sync::Arc};

use parking_lot::{Mutex, RwLock};

use super::{Callers, Issuers, KeySet};
use crate::{
    os::shutdown::Shutdown,
    secret::file_watch::{self, Reread, Trouble},
};

/// The keys of an issuer that stand in a file.
#[derive(Debug)]
pub(super) struct SetInFile {
    /// The issuer, by its name in the configuration.
    issuer: String,
    path: PathBuf,
    keys: RwLock<Arc<KeySet>>,
    trouble: Mutex<Trouble>,
}

/// Follows the files of all callers and issuers until the drain begins.
pub async fn follow_files(callers: Callers, issuers: Issuers, shutdown: Shutdown) {
    file_watch::until_draining(shutdown, move || {
        callers.reread();
        issuers.reread();
    })
    .await;
}

impl SetInFile {
    /// With what the file held when the configuration was read.
    pub(super) fn new(issuer: &str, path: PathBuf, keys: KeySet) -> Self {
        let (keys, trouble) = (RwLock::new(Arc::new(keys)), Mutex::default());
        Self { issuer: issuer.to_owned(), path, keys, trouble }
    }

    /// As they are now.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read())
    }

    /// How the file stands; `ok` is good.
    pub(super) fn standing(&self) -> String {
        let fine = if self.keys().is_empty() { "it holds no key any more" } else { "ok" };
        self.trouble.lock().words().unwrap_or(fine).to_owned()
    }

    /// Reads the file again. While it cannot be used, the keys before go on.
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
                tracing::warn!(issuer, %file, "an issuer's key file holds no key; none of its tokens is believed until it does");
            }
            Reread::Replaced => {
                tracing::info!(issuer, %file, keys = self.keys().len(), "the keys of an issuer have changed");
            }
            Reread::Unusable(error) => {
                tracing::warn!(issuer, %file, %error, "an issuer's key file cannot be used; the keys before go on until it is mended");
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
    fn keys_are_replaced_when_the_file_holds_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks");
        fs::write(&path, set("one")).unwrap();
        let file = SetInFile::new("ours", path.clone(), KeySet::in_file(&path).unwrap());
        let first = file.keys();
        file.reread();
        assert!(Arc::ptr_eq(&first, &file.keys()), "nothing has changed");
        fs::write(&path, "nonsense").unwrap();
        file.reread();
        assert!(Arc::ptr_eq(&first, &file.keys()) && file.standing().starts_with("is no JWK Set"));
        fs::write(&path, set("two")).unwrap();
        file.reread();
        assert_eq!((&*file.keys(), file.standing().as_str()), (&KeySet::in_file(&path).unwrap(), "ok"));
        assert_ne!(*file.keys(), *first);
        fs::write(&path, r#"{"keys":[]}"#).unwrap();
        file.reread();
        assert!(file.keys().is_empty(), "all are withdrawn");
        assert_eq!(file.standing(), "it holds no key any more");
    }
}
