//! API keys, known by their hashes only.

use std::str::FromStr;

use aws_lc_rs::{constant_time, digest};

use crate::ledger::Caller;

/// The SHA-256 of an API key. Keys are long and random, so a fast hash does: nobody can try them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; digest::SHA256_OUTPUT_LEN]);

/// Text that is no hash.
#[derive(Debug, thiserror::Error)]
#[error("expected a SHA-256 in 64 hexadecimal digits: printf %s KEY | sha256sum")]
pub struct NoKeyHash;

/// Who shows which key.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<(KeyHash, Caller)>);

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
    pub fn new(keys: Vec<(KeyHash, Caller)>) -> Self {
        Self(keys)
    }

    /// Whether nobody has a key, so that all are anonymous.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose key it is. Every hash is compared, and each in constant time, so that the time taken tells nothing.
    #[must_use]
    pub fn caller(&self, key: &[u8]) -> Option<&Caller> {
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
        let caller = |name| Caller::new(name, NonZeroU32::MIN);
        let keys = Keys::new(vec![
            (KeyHash::of(b"old"), caller("payroll")),
            (KeyHash::of(b"new"), caller("payroll")),
            (KeyHash::of(b"other"), caller("reports")),
        ]);
        for (key, name) in [("old", Some("payroll")), ("new", Some("payroll")), ("other", Some("reports")), ("x", None)]
        {
            assert_eq!(keys.caller(key.as_bytes()).map(Caller::name), name, "{key}");
        }
    }
}
