//! Everybody who may call, and what each of them shows.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use super::{
    CallerLimit,
    keys::{KeyHash, Keys},
};
use crate::{
    call::peer::{Peer, SubjectName},
    call::permissions::Permissions,
    ledger::Caller,
};

/// A configured caller.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its name and weight.
    pub who: Caller,
    /// What it may do.
    pub permissions: Arc<Permissions>,
    /// How often it may ask.
    pub limit: Option<CallerLimit>,
}

/// The callers, and by which keys, certificates and tokens they are known. Clones share the keys, which may change.
#[derive(Debug, Clone, Default)]
pub struct Callers {
    all: Vec<Arc<Registered>>,
    keys: Keys,
    names: HashMap<SubjectName, Arc<Registered>>,
    /// By issuer, as the configuration names it, and subject.
    subjects: HashMap<String, HashMap<String, Arc<Registered>>>,
}

/// The names of a certificate are those of several callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeveralCallers;

impl Callers {
    /// Adds a caller, who is known by nothing yet.
    pub fn add(&mut self, caller: &Arc<Registered>) {
        self.all.push(Arc::clone(caller));
    }

    /// Adds a key of a caller; `false` when somebody has it already.
    pub fn add_key(&mut self, hash: KeyHash, caller: &Arc<Registered>) -> bool {
        self.keys.add(hash, caller)
    }

    /// Adds the keys of a caller that stand in a file; `false` when another caller has one of them already.
    pub fn add_key_file(&mut self, file: PathBuf, hashes: Vec<KeyHash>, caller: &Arc<Registered>) -> bool {
        self.keys.add_file(file, hashes, caller)
    }

    /// Adds a name that a caller's certificate gives it; `false` when somebody has it already.
    pub fn add_name(&mut self, name: SubjectName, caller: &Arc<Registered>) -> bool {
        added(self.names.entry(name), caller)
    }

    /// Adds a subject of an issuer's tokens that stands for a caller; `false` when somebody has it already.
    pub fn add_subject(&mut self, issuer: &str, subject: String, caller: &Arc<Registered>) -> bool {
        added(self.subjects.entry(issuer.to_owned()).or_default().entry(subject), caller)
    }

    /// Every caller.
    pub fn callers(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.all.iter()
    }

    /// Whether there are none, so that all are anonymous.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whose key it is.
    #[must_use]
    pub fn by_key(&self, key: &[u8]) -> Option<Arc<Registered>> {
        self.keys.caller(key)
    }

    /// Whose certificate it is that a connection showed.
    ///
    /// # Errors
    /// [`SeveralCallers`] when its names are those of more than one.
    pub fn by_certificate(&self, peer: &Peer) -> Result<Option<&Arc<Registered>>, SeveralCallers> {
        let mut known = peer.names.iter().filter_map(|name| self.names.get(name));
        let Some(caller) = known.next() else { return Ok(None) };
        // One caller may have several names, and its certificate may hold all of them.
        if known.all(|other| Arc::ptr_eq(other, caller)) { Ok(Some(caller)) } else { Err(SeveralCallers) }
    }

    /// For whom a token of this issuer speaks.
    #[must_use]
    pub fn by_subject(&self, issuer: &str, subject: &str) -> Option<&Arc<Registered>> {
        self.subjects.get(issuer)?.get(subject)
    }

    /// Reads the key files again.
    pub(super) fn reread(&self) {
        self.keys.reread();
    }
}

fn added<K>(entry: Entry<'_, K, Arc<Registered>>, caller: &Arc<Registered>) -> bool {
    match entry {
        Entry::Vacant(place) => {
            place.insert(Arc::clone(caller));
            true
        }
        Entry::Occupied(_) => false,
    }
}
