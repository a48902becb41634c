//! API keys, known by their hashes only.

use std::{str::FromStr, sync::Arc};

use aws_lc_rs::{constant_time, digest};

use super::CallerLimit;
use crate::{ledger::Caller, permissions::Permissions};

/// The SHA-256 of an API key. Keys are long and random, so a fast hash does: nobody can try them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; digest::SHA256_OUTPUT_LEN]);

/// Text that is no hash.
#[derive(Debug, thiserror::Error)]
#[error("expected a SHA-256 in 64 hexadecimal digits: printf %s KEY | sha256sum")]
pub struct NoKeyHash;

/// A configured caller.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its name and weight.
    pub caller: Caller,
    /// What it may do.
    pub permissions: Arc<Permissions>,
    /// How often it may ask.
    pub limit: Option<CallerLimit>,
}

/// Who shows which key.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<(KeyHash, Arc<Registered>)>);

impl KeyHash {
    /// Of a key as the caller sends it.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest::digest(&digest::SHA256, key).as_ref());
        Self(hash)
    }
}

impl FromStr for KeyHash {
    type Err = NoKeyHash;

    fn from_str(text: &str) -> Result<Self, NoKeyHash> {
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        if !text.is_ascii() || text.len() != 2 * hash.len() {
            return Err(NoKeyHash);
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| NoKeyHash)?;
            // `from_str_radix` alone would take a plus sign.
            let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(digits, 16).ok().filter(|_| hex).ok_or(NoKeyHash)?;
        }
        Ok(Self(hash))
    }
}

impl Keys {
    /// These keys of these callers.
    #[must_use]
    pub fn new(keys: Vec<(KeyHash, Arc<Registered>)>) -> Self {
        Self(keys)
    }

    /// Every caller, once for each of its keys.
    pub fn callers(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.0.iter().map(|(_, caller)| caller)
    }

    /// Whether nobody has a key, so that all are anonymous.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose key it is. Every hash is compared, and each in constant time, so that the time taken tells nothing.
    #[must_use]
    pub fn caller(&self, key: &[u8]) -> Option<&Arc<Registered>> {
        let shown = KeyHash::of(key);
        let same = |hash: &KeyHash| constant_time::verify_slices_are_equal(&hash.0, &shown.0).is_ok();
        self.0.iter().fold(None, |found, (hash, caller)| if same(hash) { Some(caller) } else { found })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn reads_a_hash_as_sha256sum_writes_it() {
        let hash = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
        assert_eq!(hash.parse::<KeyHash>().unwrap(), KeyHash::of(b"key"));
        assert_eq!(hash.to_uppercase().parse::<KeyHash>().unwrap(), KeyHash::of(b"key"));
        for text in ["", "key", &hash[1..], &format!("{hash}0"), &hash.replace('2', "g"), &hash.replacen("2c", "+c", 1)]
        {
            assert!(text.parse::<KeyHash>().is_err(), "{text}");
        }
    }

    #[test]
    fn knows_callers_by_any_of_their_keys() {
        let caller = |name| {
            let caller = Caller::new(name, NonZeroU32::MIN);
            Arc::new(Registered { caller, permissions: Arc::default(), limit: None })
        };
        let keys = Keys::new(vec![
            (KeyHash::of(b"old"), caller("payroll")),
            (KeyHash::of(b"new"), caller("payroll")),
            (KeyHash::of(b"other"), caller("reports")),
        ]);
        for (key, name) in [("old", Some("payroll")), ("new", Some("payroll")), ("other", Some("reports")), ("x", None)]
        {
            assert_eq!(keys.caller(key.as_bytes()).map(|found| found.caller.name()), name, "{key}");
        }
    }
}
