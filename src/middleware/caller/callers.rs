//! The configured callers and their credentials.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use super::{
    Registered,
    keys::{KeyHash, Keys},
};
use crate::{
    call::peer::{Peer, SubjectName},
    ledger::{Caller, Reserves, Terms},
    zoho::{account::AccountName, catalogue::Route},
};

/// The callers, with the keys, certificate names and token subjects that identify them. Clones share the keys, which may
/// change.
#[derive(Debug, Clone, Default)]
pub struct Callers {
    all: Vec<Arc<Registered>>,
    keys: Keys,
    names: HashMap<SubjectName, Arc<Registered>>,
    /// By the issuer's name in the configuration, and by subject.
    subjects: HashMap<String, HashMap<String, Arc<Registered>>>,
}

/// The names in a certificate belong to more than one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeveralCallers;

impl Callers {
    /// Adds a caller, without credentials.
    pub fn add(&mut self, caller: &Arc<Registered>) {
        self.all.push(Arc::clone(caller));
    }

    /// Adds a key of a caller; `false` when another key entry holds it already.
    pub fn add_key(&mut self, hash: KeyHash, caller: &Arc<Registered>) -> bool {
        self.keys.add(hash, caller)
    }

    /// Adds the keys in a caller's file; `false` when one of them exists already.
    pub fn add_key_file(&mut self, file: PathBuf, hashes: Vec<KeyHash>, caller: &Arc<Registered>) -> bool {
        self.keys.add_file(file, hashes, caller)
    }

    /// Adds a certificate name of a caller; `false` when it exists already.
    pub fn add_name(&mut self, name: SubjectName, caller: &Arc<Registered>) -> bool {
        insert_new(self.names.entry(name), caller)
    }

    /// Adds a token subject of a caller; `false` when it exists already.
    pub fn add_subject(&mut self, issuer: &str, subject: String, caller: &Arc<Registered>) -> bool {
        insert_new(self.subjects.entry(issuer.to_owned()).or_default().entry(subject), caller)
    }

    /// All callers.
    pub fn callers(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.all.iter()
    }

    /// Whether no caller is configured, so that every request is anonymous.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The caller that has this key.
    #[must_use]
    pub fn by_key(&self, key: &[u8]) -> Option<Arc<Registered>> {
        self.keys.caller(key)
    }

    /// The caller that a connection's certificate names.
    ///
    /// # Errors
    /// [`SeveralCallers`], when it names more than one.
    pub fn by_certificate(&self, peer: &Peer) -> Result<Option<&Arc<Registered>>, SeveralCallers> {
        let mut known = peer.names.iter().filter_map(|name| self.names.get(name));
        let Some(caller) = known.next() else { return Ok(None) };
        // One caller may have several names, and its certificate may hold all of them.
        if known.all(|other| Arc::ptr_eq(other, caller)) { Ok(Some(caller)) } else { Err(SeveralCallers) }
    }

    /// The caller of an issuer's tokens with this subject.
    #[must_use]
    pub fn by_subject(&self, issuer: &str, subject: &str) -> Option<&Arc<Registered>> {
        self.subjects.get(issuer)?.get(subject)
    }

    /// Reads the key files again.
    pub(super) fn reread(&self) {
        self.keys.reread();
    }
}

impl Reserves for Callers {
    fn limited_callers(&self, account: &AccountName, route: &Route) -> Vec<Caller> {
        let is_limited = |terms: Terms| terms.reserve > 0 || terms.max_share.is_some();
        let limited = self.all.iter().filter(|own| is_limited(own.who.terms()));
        limited.filter(|own| own.permissions.permit(account, route)).map(|own| own.who.clone()).collect()
    }
}

fn insert_new<K>(entry: Entry<'_, K, Arc<Registered>>, caller: &Arc<Registered>) -> bool {
    match entry {
        Entry::Vacant(entry) => {
            entry.insert(Arc::clone(caller));
            true
        }
        Entry::Occupied(_) => false,
    }
}
