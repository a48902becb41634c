//! API keys, of which the gateway knows only the hashes.

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use aws_lc_rs::{constant_time, digest};
use parking_lot::RwLock;

use super::Registered;
use crate::secret::{
    Secret,
    file_watch::{self, Reread, Trouble, Unread},
    hex,
    random::{self, NoRandomness},
};

/// The prefix of every generated key, so that a search finds a key that leaked into a repository or a log.
const PREFIX: &str = "zgw_";

/// Enough for some ten thousand hashes, far more than a caller has.
const LONGEST_FILE: u64 = 1024 * 1024;

/// The SHA-256 of an API key. A fast hash is enough, because keys are long and random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; digest::SHA256_OUTPUT_LEN]);

/// The text is not a hash.
#[derive(Debug, thiserror::Error)]
#[error("expected a SHA-256 in 64 hexadecimal digits, as `zoho-gateway key` prints it")]
pub struct NoKeyHash;

/// Why a file of key hashes cannot be used. The error repeats nothing from the file, which may hold a key by mistake.
#[derive(Debug, thiserror::Error)]
pub enum UnusableKeys {
    /// The file cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// A line is neither a hash nor a comment.
    #[error("line {0}: {NoKeyHash}")]
    NotAHash(usize),
    /// The file holds no hash. Perhaps it is about to be written.
    #[error("holds no hash; expected one per line")]
    Empty,
    /// Another caller has the same hash.
    #[error("holds a hash that another caller has too")]
    Shared,
}

/// The keys of all callers. Clones share them and see every change.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(Arc<RwLock<Vec<KeyGroup>>>);

/// The keys of a caller that come from one entry or one file.
#[derive(Debug)]
struct KeyGroup {
    caller: Arc<Registered>,
    hashes: Vec<KeyHash>,
    file: Option<PathBuf>,
    trouble: Trouble,
}

// === impl KeyHash ===

impl KeyHash {
    /// The hash of a key as the caller sends it.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest::digest(&digest::SHA256, key).as_ref());
        Self(hash)
    }

    /// Reads a file with one hash per line; blank lines are ignored, and everything after a `#`.
    ///
    /// # Errors
    /// [`UnusableKeys`] for a file that has another form or holds no hash.
    pub fn in_file(path: &Path) -> Result<Vec<Self>, UnusableKeys> {
        let text = file_watch::read(path, LONGEST_FILE)?;
        let mut hashes = Vec::new();
        for (number, line) in text.expose().split(|byte| *byte == b'\n').enumerate() {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
            if !line.is_empty() {
                let hash = std::str::from_utf8(line).ok().and_then(|line| line.parse().ok());
                hashes.push(hash.ok_or(UnusableKeys::NotAHash(number + 1))?);
            }
        }
        if hashes.is_empty() { Err(UnusableKeys::Empty) } else { Ok(hashes) }
    }

    fn is(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl FromStr for KeyHash {
    type Err = NoKeyHash;

    fn from_str(text: &str) -> Result<Self, NoKeyHash> {
        hex::read(text).map(Self).ok_or(NoKeyHash)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::lower(&self.0))
    }
}

/// Makes a key: a prefix and 256 random bits in hexadecimal digits.
///
/// # Errors
/// [`NoRandomness`].
pub fn new_key() -> Result<Secret, NoRandomness> {
    Ok(Secret::new([PREFIX, random::hex()?.expose()].concat()))
}

// === impl Keys ===

impl Keys {
    /// Adds a key; `false` when it exists already.
    pub(super) fn add(&self, hash: KeyHash, caller: &Arc<Registered>) -> bool {
        self.push(KeyGroup { caller: Arc::clone(caller), hashes: vec![hash], file: None, trouble: Trouble::default() })
    }

    /// Adds the keys in a file; `false` when one of them exists already.
    pub(super) fn add_file(&self, file: PathBuf, hashes: Vec<KeyHash>, caller: &Arc<Registered>) -> bool {
        self.push(KeyGroup { caller: Arc::clone(caller), hashes, file: Some(file), trouble: Trouble::default() })
    }

    fn push(&self, group: KeyGroup) -> bool {
        let mut groups = self.0.write();
        let free = groups.iter().all(|other| !other.shares(&group.hashes));
        groups.push(group);
        free
    }

    /// The caller that has this key. Compares all hashes, each in constant time, so that the duration reveals nothing.
    pub(super) fn caller(&self, key: &[u8]) -> Option<Arc<Registered>> {
        let shown = KeyHash::of(key);
        let groups = self.0.read();
        let hashes = groups.iter().flat_map(|group| group.hashes.iter().map(move |hash| (hash, &group.caller)));
        hashes.fold(None, |found, (hash, caller)| if hash.is(&shown) { Some(caller) } else { found }).cloned()
    }

    /// Reads the files again. The keys of an unusable file stay as they were.
    pub(super) fn reread(&self) {
        let files: Vec<_> = {
            let groups = self.0.read();
            groups.iter().enumerate().filter_map(|(at, group)| Some((at, group.file.clone()?))).collect()
        };
        // Without the lock, because the disk may be slow.
        let read: Vec<_> = files.into_iter().map(|(at, file)| (at, KeyHash::in_file(&file), file)).collect();
        let mut groups = self.0.write();
        // All files together, because a key may have moved from one file to another.
        let mut wanted: Vec<_> = groups.iter().map(|group| group.hashes.clone()).collect();
        for (at, hashes, _) in &read {
            if let Ok(hashes) = hashes {
                wanted[*at].clone_from(hashes);
            }
        }
        let mut shared = HashSet::new();
        while let Some(at) =
            (0..groups.len()).find(|&at| wanted[at] != groups[at].hashes && is_used_by_another(at, &wanted))
        {
            wanted[at].clone_from(&groups[at].hashes);
            shared.insert(at);
        }
        for (at, hashes, file) in read {
            let hashes = if shared.contains(&at) { Err(UnusableKeys::Shared) } else { hashes };
            groups[at].replace(hashes, &file);
        }
    }
}

/// Whether another group is to have one of the same keys.
fn is_used_by_another(at: usize, wanted: &[Vec<KeyHash>]) -> bool {
    let others = wanted.iter().enumerate().filter(|(other, _)| *other != at);
    others.flat_map(|(_, hashes)| hashes).any(|hash| wanted[at].contains(hash))
}

impl KeyGroup {
    fn shares(&self, hashes: &[KeyHash]) -> bool {
        self.hashes.iter().any(|hash| hashes.contains(hash))
    }

    fn replace(&mut self, hashes: Result<Vec<KeyHash>, UnusableKeys>, file: &Path) {
        let (caller, file) = (self.caller.who.name(), file.display());
        let replaced = hashes.map(|hashes| {
            let replaced = hashes != self.hashes;
            self.hashes = hashes;
            replaced
        });
        match self.trouble.judge(replaced) {
            Reread::Quiet => {}
            Reread::Replaced => {
                tracing::info!(caller, %file, keys = self.hashes.len(), "the keys of a caller have changed");
            }
            Reread::Unusable(error) => {
                tracing::warn!(caller, %file, %error, "a key file cannot be used; the previous keys stay valid until it is fixed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, num::NonZeroU32};

    use super::*;
    use crate::ledger::Caller;

    fn caller(name: &str) -> Arc<Registered> {
        let who = Caller::new(name, NonZeroU32::MIN);
        Arc::new(Registered { who, permissions: Arc::default(), limit: None })
    }

    /// The caller of a key, by name.
    fn of(keys: &Keys, key: &str) -> Option<String> {
        keys.caller(key.as_bytes()).map(|found| found.who.name().to_owned())
    }

    #[test]
    fn reads_a_hash_as_sha256sum_writes_it() {
        let hash = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
        assert_eq!(hash.parse::<KeyHash>().unwrap(), KeyHash::of(b"key"));
        assert_eq!(hash.to_uppercase().parse::<KeyHash>().unwrap(), KeyHash::of(b"key"));
        assert_eq!(KeyHash::of(b"key").to_string(), hash);
        for text in ["", "key", &hash[1..], &format!("{hash}0"), &hash.replace('2', "g"), &hash.replacen("2c", "+c", 1)]
        {
            assert!(text.parse::<KeyHash>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_new_key_is_long_and_unique() {
        let (one, other) = (new_key().unwrap(), new_key().unwrap());
        let random = one.expose().strip_prefix("zgw_").unwrap();
        assert!(random.len() == 64 && random.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(one.expose(), other.expose());
    }

    #[test]
    fn identifies_callers_by_any_of_their_keys() {
        let keys = Keys::default();
        let (payroll, reports) = (caller("payroll"), caller("reports"));
        for (key, caller) in [("old", &payroll), ("new", &payroll), ("other", &reports)] {
            assert!(keys.add(KeyHash::of(key.as_bytes()), caller));
        }
        assert!(!keys.add(KeyHash::of(b"other"), &payroll), "another caller has it");
        for (key, name) in [("old", Some("payroll")), ("new", Some("payroll")), ("x", None)] {
            assert_eq!(of(&keys, key).as_deref(), name, "{key}");
        }
    }

    #[test]
    fn a_file_holds_one_hash_per_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let (old, new) = (KeyHash::of(b"old"), KeyHash::of(b"new"));
        for (text, expected) in [
            (format!("{old}"), vec![old]),
            (format!("# payroll\r\n\r\n  {old} # until May\r\n{new}\n"), vec![old, new]),
        ] {
            fs::write(&path, &text).unwrap();
            assert_eq!(KeyHash::in_file(&path).unwrap(), expected, "{text}");
        }
        for (text, expected) in [
            ("", "holds no hash"),
            ("# nothing\n", "holds no hash"),
            ("\nzgw_secret\n", "line 2: expected a SHA-256"),
            ("\n\n\u{e9}", "line 3: expected a SHA-256"),
        ] {
            fs::write(&path, text).unwrap();
            let told = KeyHash::in_file(&path).unwrap_err().to_string();
            assert!(told.contains(expected) && !told.contains("secret"), "{told}");
        }
        fs::remove_file(&path).unwrap();
        assert!(KeyHash::in_file(&path).unwrap_err().to_string().contains("cannot be read"));
        assert!(KeyHash::in_file(folder.path()).unwrap_err().to_string().contains("directory"));
        assert!(KeyHash::in_file(Path::new("/dev/zero")).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn an_unusable_file_keeps_its_previous_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let (payroll, reports) = (caller("payroll"), caller("reports"));
        let keys = Keys::default();
        assert!(keys.add(KeyHash::of(b"reports"), &reports));
        assert!(keys.add_file(path.clone(), vec![KeyHash::of(b"old")], &payroll));
        let shared = keys.clone();
        let all = || ["old", "new", "reports"].map(|key| of(&shared, key));
        let payroll = Some("payroll".to_owned());
        let reports = Some("reports".to_owned());
        for (text, old, new) in [
            (format!("{}\n{}", KeyHash::of(b"old"), KeyHash::of(b"new")), &payroll, &payroll),
            (KeyHash::of(b"new").to_string(), &None, &payroll),
            ("nonsense".to_owned(), &None, &payroll),
            // The second hash is another caller's.
            (format!("{}\n{}", KeyHash::of(b"old"), KeyHash::of(b"reports")), &None, &payroll),
            (KeyHash::of(b"old").to_string(), &payroll, &None),
        ] {
            fs::write(&path, &text).unwrap();
            keys.reread();
            assert_eq!(all(), [old.clone(), new.clone(), reports.clone()], "{text}");
        }
        fs::remove_file(&path).unwrap();
        keys.reread();
        assert_eq!(all(), [payroll, None, reports]);
    }

    #[test]
    fn keys_may_move_between_callers_but_are_never_shared() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let keys = Keys::default();
        for name in ["a", "b", "c"] {
            let hash = KeyHash::of(name.as_bytes());
            fs::write(path(name), hash.to_string()).unwrap();
            assert!(keys.add_file(path(name), vec![hash], &caller(name)));
        }
        let holds = |name: &str, key: &str| fs::write(path(name), KeyHash::of(key.as_bytes()).to_string()).unwrap();
        let all = || ["a", "b", "c", "new"].map(|key| of(&keys, key).unwrap_or_default());
        holds("a", "b");
        holds("b", "a");
        keys.reread();
        assert_eq!(all(), ["b", "a", "c", ""]);
        for (name, key) in [("a", "new"), ("b", "c"), ("c", "b")] {
            holds(name, key);
        }
        keys.reread();
        assert_eq!(all(), ["", "c", "b", "a"]);
        // `a` still holds `new`, so `c` keeps its key, and `b` does not get it.
        holds("c", "new");
        holds("b", "b");
        keys.reread();
        assert_eq!(all(), ["", "c", "b", "a"]);
    }
}
