//! Issuers of tokens: whose tokens are believed, and by which keys.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Uri;
use jsonwebtoken::Algorithm;
use tokio::task::JoinSet;

use super::{
    fetch::{Beyond, Fetch, NoKeys, PATIENCE, Published},
    files::SetInFile,
    jwks::{Choice, KeySet},
    token::Token,
};
use crate::{
    os::shutdown::Shutdown,
    problem::BadToken,
    telemetry::Metrics,
    upstream::{self, Egress, ExtraRoots},
};

/// An issuer as it is configured.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// What the configuration calls it.
    pub name: String,
    /// Its tokens' `iss`, exactly.
    pub issuer: String,
    /// Of which a token's `aud` has to hold one.
    pub audiences: Vec<String>,
    /// What its tokens may be signed by.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are.
    pub keys: KeySource,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// It publishes them there.
    Url {
        /// https, or http on this machine.
        url: Uri,
        /// Trusted roots in addition to the public ones.
        extra_roots: ExtraRoots,
        /// How often they are fetched.
        refresh: Duration,
    },
    /// They stand in a file.
    File {
        /// Which one.
        path: PathBuf,
        /// What it held when the configuration was read.
        keys: KeySet,
    },
}

/// All issuers, by their `iss`. Clones share the keys.
#[derive(Debug, Clone, Default)]
pub struct Issuers(Arc<BTreeMap<String, Issuer>>);

/// One issuer and the keys that are known of it.
#[derive(Debug)]
pub(super) struct Issuer {
    name: String,
    audiences: Vec<String>,
    algorithms: Vec<Algorithm>,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Published(Arc<Published>),
    InFile(SetInFile),
}

/// What an issuer has to say to a token.
#[derive(Debug)]
pub(super) enum KeyChoice {
    /// It is good.
    Good,
    /// It is not.
    Bad(BadToken),
    /// That will be known once this fetch has ended.
    Later(Fetch),
    /// That cannot be known as long as there are no keys.
    Unavailable {
        /// Until they are fetched again.
        retry_after: Duration,
    },
}

// === impl Issuers ===

impl Issuers {
    /// With the keys that stand in files; the others are yet to be fetched, by the way of `egress`.
    #[must_use]
    pub fn new(settings: Vec<IssuerSettings>, egress: &Egress, metrics: &Arc<Metrics>) -> Self {
        let issuer = |IssuerSettings { name, issuer, audiences, algorithms, keys }| {
            let keys = match keys {
                KeySource::Url { url, extra_roots, refresh } => Keys::Published(Published::new(
                    &name,
                    url,
                    upstream::client(upstream::tls(&extra_roots), egress, PATIENCE),
                    refresh,
                    metrics,
                )),
                KeySource::File { path, keys } => Keys::InFile(SetInFile::new(&name, path, keys)),
            };
            (issuer, Issuer { name, audiences, algorithms, keys })
        };
        Self(Arc::new(settings.into_iter().map(issuer).collect()))
    }

    /// Whether no token is ever believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How each stands, by its name in the configuration; `ok` is good.
    pub fn standings(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.values().map(|issuer| (issuer.name(), issuer.keys.standing()))
    }

    pub(super) fn of(&self, iss: &str) -> Option<&Issuer> {
        self.0.get(iss)
    }

    /// Reads the files again.
    pub(super) fn reread(&self) {
        for issuer in self.0.values() {
            if let Keys::InFile(set) = &issuer.keys {
                set.reread();
            }
        }
    }
}

/// Fetches the keys of all issuers until the drain begins.
pub async fn fetch_keys(issuers: Issuers, shutdown: Shutdown) {
    let mut fetching = JoinSet::new();
    for issuer in issuers.0.values() {
        if let Keys::Published(published) = &issuer.keys {
            fetching.spawn(Arc::clone(published).keep_fetching());
        }
    }
    // Those who are still fetching end with the set.
    shutdown.draining().await;
}

// === impl Issuer ===

impl Issuer {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Judges a token that says it is of this issuer. What is wrong with its claims is told before its key is looked for,
    /// so that an old token does not make the gateway fetch.
    pub(super) fn judge(&self, token: &Token<'_>, now: SystemTime) -> KeyChoice {
        if !self.algorithms.contains(&token.algorithm()) {
            return KeyChoice::Bad(BadToken::Algorithm);
        }
        if let Err(bad) = token.is_for(&self.audiences, now) {
            return KeyChoice::Bad(bad);
        }
        loop {
            let keys = match self.keys.known() {
                Ok(keys) => keys,
                Err(NoKeys::Yet(fetch)) => return KeyChoice::Later(fetch),
                Err(NoKeys::Unavailable { retry_after }) => return KeyChoice::Unavailable { retry_after },
            };
            return match keys.choose(token.key_id(), token.algorithm()) {
                Choice::Key(key) => token.is_signed_by(key).map_or_else(KeyChoice::Bad, |()| KeyChoice::Good),
                Choice::Unfit => KeyChoice::Bad(BadToken::Algorithm),
                Choice::Several => KeyChoice::Bad(BadToken::AmbiguousKey),
                Choice::Unknown => match self.keys.beyond(&keys) {
                    Beyond::Newer => continue,
                    Beyond::Fetch(fetch) => KeyChoice::Later(fetch),
                    Beyond::Nothing => KeyChoice::Bad(BadToken::UnknownKey),
                },
            };
        }
    }
}

impl Keys {
    fn known(&self) -> Result<Arc<KeySet>, NoKeys> {
        match self {
            Self::Published(published) => published.keys(),
            Self::InFile(set) => Ok(set.keys()),
        }
    }

    fn beyond(&self, known: &Arc<KeySet>) -> Beyond {
        match self {
            Self::Published(published) => published.beyond(known),
            Self::InFile(_) => Beyond::Nothing,
        }
    }

    fn standing(&self) -> String {
        match self {
            Self::Published(published) => published.standing(),
            Self::InFile(set) => set.standing(),
        }
    }
}
