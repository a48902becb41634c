//! `[callers.NAME]`: who may call, what, and with what share.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    accounts,
    credential::Surroundings,
    keys::Kind,
    reader::{Located, Section, some_text},
    reserves::LocatedTerms,
};
use crate::{
    call::peer::SubjectName,
    call::permissions::Permissions,
    ledger::{Caller, Terms},
    middleware::caller::{CallerLimit, Callers, KeyHash, Registered},
    zoho::{
        account::{Account, AccountName},
        catalogue::RouteGlob,
    },
};

/// The key with the hashes.
const KEY: &str = "key_sha256";

/// Reads every caller, and where the terms of some are written. `accounts` is empty if they could not be read; `issuers`
/// has all names; `mutual` says whether the listener asks for client certificates.
pub(super) fn read(
    root: &mut Section<'_>,
    accounts: &[Account],
    issuers: &[String],
    mutual: bool,
    around: &Surroundings<'_>,
) -> (Callers, Vec<LocatedTerms>) {
    let (mut callers, mut located) = (Callers::default(), Vec::new());
    root.sections("callers", |name, section| {
        if !accounts::is_a_name(name) {
            section.refuse("expected a caller's name of 1 to 64 letters, digits, _ and -");
        }
        let terms = terms(section, name, &mut located);
        let caller = Arc::new(Registered {
            who: Caller::with_terms(name, terms),
            permissions: Arc::new(permissions(section, accounts)),
            limit: limit(section),
        });
        callers.add(&caller);
        if ["key_sha256", "san", "jwt"].iter().all(|key| section.whereabouts(key).is_none()) {
            section.refuse(
                "nothing identifies the caller; expected key_sha256 (the hash of an API key), san (a name in its client \
                 certificate) or jwt (the subject of its tokens)",
            );
        }
        keys(section, &mut callers, &caller, around);
        if !mutual && let Some(origin) = section.whereabouts("san") {
            section.wrong("san", &origin, "no caller can present a certificate: proxy.tls has no client_ca");
        }
        names(section, &mut callers, &caller);
        subjects(section, &mut callers, &caller, issuers);
    });
    (callers, located)
}

/// Reads the keys of those who may operate the gateway; none if `key_sha256` is not there.
pub(super) fn operators(section: &mut Section<'_>, around: &Surroundings<'_>) -> Callers {
    let mut operators = Callers::default();
    if section.whereabouts(KEY).is_some() {
        let who = Caller::new("operator", NonZeroU32::MIN);
        let operator = Arc::new(Registered { who, permissions: Arc::default(), limit: None });
        operators.add(&operator);
        keys(section, &mut operators, &operator, around);
    }
    operators
}

/// Reads `weight`, `reserve`, `max_share` and `max_wait`.
fn terms(section: &mut Section<'_>, name: &str, located: &mut Vec<LocatedTerms>) -> Terms {
    let reserve = section.whereabouts("reserve");
    let terms = Terms {
        weight: section.value("weight"),
        reserve: section.value("reserve"),
        max_share: section.given("max_share"),
        max_wait: section.given("max_wait"),
    };
    located.push(LocatedTerms { caller: name.to_owned(), terms, reserve });
    terms
}

/// Reads `key_sha256`: hashes, or a file of them.
fn keys(section: &mut Section<'_>, callers: &mut Callers, caller: &Arc<Registered>, around: &Surroundings<'_>) {
    if section.is_table(KEY) {
        return section.section(KEY, |section| key_file(section, callers, caller, around));
    }
    for found in section.list(KEY, str::parse::<KeyHash>).into_iter().flatten() {
        if !callers.add_key(found.value, caller) {
            section.wrong(KEY, &found.origin, "is used twice: whose key is it?");
        }
    }
}

fn key_file(section: &mut Section<'_>, callers: &mut Callers, caller: &Arc<Registered>, around: &Surroundings<'_>) {
    if section.whereabouts("file").is_none() {
        let hash = Kind::Hashes.expected();
        section.refuse(format!("expected {hash}, a list of them, or {{ file = \"PATH\" }} with one a line"));
    }
    let found = section.path("file", |path| around.in_file(path, KeyHash::in_file));
    if let Some(Located { value: (file, hashes), origin }) = found
        && !callers.add_key_file(file, hashes, caller)
    {
        section.wrong("file", &origin, "holds a hash that another caller has too");
    }
}

/// Reads `san`: the names in the caller's certificates.
fn names(section: &mut Section<'_>, callers: &mut Callers, caller: &Arc<Registered>) {
    for found in section.list("san", str::parse::<SubjectName>).into_iter().flatten() {
        if !callers.add_name(found.value, caller) {
            section.wrong("san", &found.origin, "is used twice: whose certificate is it?");
        }
    }
}

/// Reads `jwt`: the subjects of an issuer's tokens that belong to the caller.
fn subjects(section: &mut Section<'_>, callers: &mut Callers, caller: &Arc<Registered>, issuers: &[String]) {
    section.optional("jwt", |section| {
        let issuer = section.parsed("issuer", |name| {
            let known = issuers.iter().find(|issuer| *issuer == name);
            known.cloned().ok_or("names no issuer of this configuration: expected the NAME of an [issuers.NAME]")
        });
        let subjects = section.list("subject", some_text);
        let issuer = issuer?;
        for found in subjects? {
            if !callers.add_subject(&issuer.value, found.value, caller) {
                section.wrong("subject", &found.origin, "is used twice: which caller does it name?");
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
    let accounts = section.list("accounts", account).into_iter().flatten();
    let accounts = accounts.map(|found| found.value).collect();
    let globs = section.list("allow", str::parse::<RouteGlob>);
    let allow = globs.into_iter().flatten().map(|found| found.value).collect();
    Permissions { accounts, allow, read_only: section.value("read_only") }
}

fn limit(section: &mut Section<'_>) -> Option<CallerLimit> {
    section.optional("limit", |section| {
        let (requests, window) = (section.given("requests"), section.value("window"));
        Some(CallerLimit { requests: requests?, window })
    })
}
