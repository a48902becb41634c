//! `[callers.NAME]`: who may call, what, and with what share.

use std::{num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{
    accounts,
    credential::Surroundings,
    defaults,
    reader::{Located, Section, some_text},
};
use crate::{
    call::peer::SubjectName,
    call::permissions::{Permissions, RouteGlob},
    ledger::Caller,
    middleware::caller::{CallerLimit, Callers, KeyHash, Registered},
    zoho::account::{Account, AccountName},
};

/// Shares beyond a thousand to one are none any more.
const WEIGHTS: RangeInclusive<u32> = 1..=1000;

/// A caller with more than this has no limit worth the name.
const REQUESTS: RangeInclusive<u32> = 1..=1_000_000;

const WINDOWS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

/// What stands in `key_sha256`, for messages.
const A_HASH: &str = "the SHA-256 of an API key in hexadecimal digits";

/// Reads every caller. `accounts` are those there are, none if they could not be read; `issuers` the names of all; `mutual`
/// says whether client certificates are asked for.
pub(super) fn read(
    root: &mut Section<'_>,
    accounts: &[Account],
    issuers: &[String],
    mutual: bool,
    around: &Surroundings<'_>,
) -> Callers {
    let mut callers = Callers::default();
    root.sections("callers", |name, section| {
        if !accounts::is_a_name(name) {
            section.refuse("expected a caller's name of 1 to 64 letters, digits, _ and -");
        }
        let weight = section.integer("weight", WEIGHTS).and_then(NonZeroU32::new).unwrap_or(defaults::WEIGHT);
        let caller = Arc::new(Registered {
            who: Caller::new(name, weight),
            permissions: Arc::new(permissions(section, accounts)),
            limit: limit(section),
        });
        callers.add(&caller);
        if ["key_sha256", "san", "jwt"].iter().all(|key| section.whereabouts(key).is_none()) {
            section.refuse(
                "nothing tells who it is; expected key_sha256 (the hash of an API key), san (a name in its client \
                 certificate) or jwt (the subject of its tokens)",
            );
        }
        keys(section, &mut callers, &caller, around);
        if !mutual && let Some(origin) = section.whereabouts("san") {
            section.wrong("san", &origin, "nobody can show a certificate: proxy.tls has no client_ca");
        }
        names(section, &mut callers, &caller);
        subjects(section, &mut callers, &caller, issuers);
    });
    callers
}

/// Reads `key_sha256`: hashes, or the file where they stand.
fn keys(section: &mut Section<'_>, callers: &mut Callers, caller: &Arc<Registered>, around: &Surroundings<'_>) {
    const KEY: &str = "key_sha256";
    if section.is_table(KEY) {
        return section.section(KEY, |section| key_file(section, callers, caller, around));
    }
    for found in section.list(KEY, A_HASH, str::parse::<KeyHash>).into_iter().flatten() {
        if !callers.add_key(found.value, caller) {
            section.wrong(KEY, &found.origin, "stands there twice: whose key would it be?");
        }
    }
}

fn key_file(section: &mut Section<'_>, callers: &mut Callers, caller: &Arc<Registered>, around: &Surroundings<'_>) {
    if section.whereabouts("file").is_none() {
        section.refuse(format!("expected {A_HASH}, a list of them, or {{ file = \"PATH\" }} with one a line"));
    }
    let found = section.path("file", "a path", |path| around.in_file(path, KeyHash::in_file));
    if let Some(Located { value: (file, hashes), origin }) = found
        && !callers.add_key_file(file, hashes, caller)
    {
        section.wrong("file", &origin, "holds a hash that another caller has: whose key would it be?");
    }
}

/// Reads `san`: the names that the caller's certificates give it.
fn names(section: &mut Section<'_>, callers: &mut Callers, caller: &Arc<Registered>) {
    let expected = "a name in the caller's client certificate";
    for found in section.list("san", expected, str::parse::<SubjectName>).into_iter().flatten() {
        if !callers.add_name(found.value, caller) {
            section.wrong("san", &found.origin, "stands there twice: whose certificate would it be?");
        }
    }
}

/// Reads `jwt`: the subjects of an issuer's tokens that stand for the caller.
fn subjects(section: &mut Section<'_>, callers: &mut Callers, caller: &Arc<Registered>, issuers: &[String]) {
    section.optional("jwt", "a table: { issuer = \"NAME\", subject = \"SUB\" }", |section| {
        section.required("issuer", "the NAME of an [issuers.NAME]");
        section.required("subject", "the sub of its tokens, or a list of them");
        let issuer = section.parsed("issuer", "the name of an issuer", |name| {
            let known = issuers.iter().find(|issuer| *issuer == name);
            known.cloned().ok_or("names no issuer of this configuration: expected the NAME of an [issuers.NAME]")
        });
        let subjects = section.list("subject", "the sub of its tokens", some_text);
        let issuer = issuer?;
        for found in subjects? {
            if !callers.add_subject(&issuer.value, found.value, caller) {
                section.wrong("subject", &found.origin, "stands there twice: for whom would it speak?");
            }
        }
        Some(())
    });
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
    section.optional("limit", "a table: { requests = 600, window = \"60s\" }", |section| {
        section.required("requests", "how many requests there may be in each window");
        let requests = section.integer("requests", REQUESTS).and_then(NonZeroU32::new);
        let window = section.duration("window", WINDOWS).unwrap_or(defaults::CALLER_WINDOW);
        Some(CallerLimit { requests: requests?, window })
    })
}
