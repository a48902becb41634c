//! `[callers.NAME]`: who may call, what, and with what share.

use std::{num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{accounts, defaults, reader::Section};
use crate::{
    account::{Account, AccountName},
    caller::{CallerLimit, KeyHash, Keys, Registered},
    ledger::Caller,
    permissions::{Permissions, RouteGlob},
};

/// Shares beyond a thousand to one are none any more.
const WEIGHTS: RangeInclusive<u32> = 1..=1000;

/// A caller with more than this has no limit worth the name.
const REQUESTS: RangeInclusive<u32> = 1..=1_000_000;

const WINDOWS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

/// Reads every caller. `accounts` are those there are; none if they could not be read.
pub(super) fn read(root: &mut Section<'_>, accounts: &[Account]) -> Keys {
    let mut keys: Vec<(KeyHash, Arc<Registered>)> = Vec::new();
    root.sections("callers", |name, section| {
        if !accounts::is_a_name(name) {
            section.refuse("expected a caller's name of 1 to 64 letters, digits, _ and -");
        }
        let weight = section.integer("weight", WEIGHTS).and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let caller = Arc::new(Registered {
            caller: Caller::new(name, weight),
            permissions: Arc::new(permissions(section, accounts)),
            limit: limit(section),
        });
        let hash = "the SHA-256 of an API key in hexadecimal digits";
        if section.whereabouts("key_sha256").is_none() {
            section.missing("key_sha256", &format!("is missing; expected {hash}"));
        }
        for found in section.list("key_sha256", hash, str::parse::<KeyHash>).into_iter().flatten() {
            if keys.iter().any(|(other, _)| *other == found.value) {
                section.wrong("key_sha256", &found.origin, "stands there twice: whose key would it be?");
            }
            keys.push((found.value, Arc::clone(&caller)));
        }
    });
    Keys::new(keys)
}

fn permissions(section: &mut Section<'_>, accounts: &[Account]) -> Permissions {
    let account = |name: &str| {
        let name = AccountName::new(name);
        let known = accounts.is_empty() || accounts.iter().any(|account| account.name == name);
        known.then_some(name).ok_or("names no account of this configuration")
    };
    let accounts = section.list("accounts", "the name of an account", account).into_iter().flatten();
    let accounts = accounts.map(|found| found.value).collect();
    let globs = section.list("allow", "a route's id, such as \"people.lms.*\"", str::parse::<RouteGlob>);
    let allow = globs.into_iter().flatten().map(|found| found.value).collect();
    Permissions { accounts, allow, read_only: section.boolean("read_only").unwrap_or(defaults::READ_ONLY) }
}

fn limit(section: &mut Section<'_>) -> Option<CallerLimit> {
    section.whereabouts("limit")?;
    section.section("limit", |section| {
        let given = section.whereabouts("requests").is_some();
        let requests = section.integer("requests", REQUESTS).and_then(NonZeroU32::new);
        if !given {
            section.missing("requests", "is missing; expected how many requests there may be in each window");
        }
        let window = section.duration("window", WINDOWS).unwrap_or(Duration::from_secs(60));
        Some(CallerLimit { requests: requests?, window })
    })
}
