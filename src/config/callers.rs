//! `[callers.NAME]`: who may call, and with what share.

use std::{num::NonZeroU32, ops::RangeInclusive};

use super::{accounts, reader::Section};
use crate::{
    caller::{KeyHash, Keys},
    ledger::Caller,
};

/// Shares beyond a thousand to one are none any more.
const WEIGHTS: RangeInclusive<u32> = 1..=1000;

/// Reads every caller.
pub(super) fn read(root: &mut Section<'_>) -> Keys {
    let mut keys: Vec<(KeyHash, Caller)> = Vec::new();
    root.sections("callers", |name, section| {
        if !accounts::is_a_name(name) {
            section.refuse("expected a caller's name of 1 to 64 letters, digits, _ and -");
        }
        let weight = section.integer("weight", WEIGHTS).and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let caller = Caller::new(name, weight);
        let hash = "the SHA-256 of an API key in hexadecimal digits";
        if section.whereabouts("key_sha256").is_none() {
            section.missing("key_sha256", &format!("is missing; expected {hash}"));
        }
        for found in section.list("key_sha256", hash, str::parse::<KeyHash>).into_iter().flatten() {
            if keys.iter().any(|(other, _)| *other == found.value) {
                section.wrong("key_sha256", &found.origin, "stands there twice: whose key would it be?");
            }
            keys.push((found.value, caller.clone()));
        }
    });
    Keys::new(keys)
}
