//! Issuers: whose tokens the gateway accepts, and the keys that verify them.

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
    fetch::{FETCH_TIMEOUT, Fetch, NewerKeys, NoKeys, Published},
    jwks::{KeyChoice, KeySet},
    key_set_file::KeySetFile,
    token::Token,
};
use crate::{
    os::shutdown::Shutdown,
    problem::BadToken,
    telemetry::Metrics,
    upstream::{self, Egress, ExtraRoots},
};

/// The configuration of an issuer.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// Its name in the configuration.
    pub name: String,
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// The audiences, one of which a token's `aud` must hold.
    pub audiences: Vec<String>,
    /// The algorithms that its tokens may use.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are.
    pub keys: KeySource,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The issuer publishes them.
    Url {
        /// Their address: https, or http on this machine.
        url: Uri,
        /// Trusted roots in addition to the public ones.
        extra_roots: ExtraRoots,
        /// How often they are fetched.
        refresh: Duration,
    },
    /// A file holds them.
    File {
        /// Its path.
        path: PathBuf,
        /// What it held when the configuration was read.
        keys: KeySet,
    },
}

/// All issuers, by their `iss`. Clones share the keys.
#[derive(Debug, Clone, Default)]
pub struct Issuers(Arc<BTreeMap<String, Issuer>>);

/// An issuer and its known keys.
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
    InFile(KeySetFile),
}

/// The result of checking a token.
#[derive(Debug)]
pub(super) enum TokenCheck {
    /// The token is valid.
    Good,
    /// The token is invalid.
    Bad(BadToken),
    /// Unknown until this fetch of keys has ended.
    Pending(Fetch),
    /// Unknown, because there are no keys.
    Unavailable {
        /// The time until the next fetch.
        retry_after: Duration,
    },
}

// === impl Issuers ===

impl Issuers {
    /// The issuers, with the keys from files. Other keys are fetched later, through `egress`.
    #[must_use]
    pub fn new(settings: Vec<IssuerSettings>, egress: &Egress, metrics: &Arc<Metrics>) -> Self {
        let issuer = |IssuerSettings { name, issuer, audiences, algorithms, keys }| {
            let keys = match keys {
                KeySource::Url { url, extra_roots, refresh } => Keys::Published(Published::new(
                    &name,
                    url,
                    upstream::client(upstream::tls(&extra_roots), egress, FETCH_TIMEOUT),
                    refresh,
                    metrics,
                )),
                KeySource::File { path, keys } => Keys::InFile(KeySetFile::new(&name, path, keys)),
            };
            (issuer, Issuer { name, audiences, algorithms, keys })
        };
        Self(Arc::new(settings.into_iter().map(issuer).collect()))
    }

    /// Whether no issuer is configured, so that no token is accepted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The health of each issuer's keys, by its name in the configuration; `ok` when they are usable.
    pub fn health(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.values().map(|issuer| (issuer.name(), issuer.keys.health()))
    }

    pub(super) fn of(&self, iss: &str) -> Option<&Issuer> {
        self.0.get(iss)
    }

    /// Reads the files again.
    pub(super) fn reread(&self) {
        for issuer in self.0.values() {
            if let Keys::InFile(file) = &issuer.keys {
                file.reread();
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
    // Dropping the set ends the tasks.
    shutdown.draining().await;
}

// === impl Issuer ===

impl Issuer {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Checks a token that names this issuer. Its claims are checked before its key is looked up, so that an expired token
    /// does not cause a fetch.
    pub(super) fn check(&self, token: &Token<'_>, now: SystemTime) -> TokenCheck {
        if !self.algorithms.contains(&token.algorithm()) {
            return TokenCheck::Bad(BadToken::Algorithm);
        }
        if let Err(bad) = token.check_claims(&self.audiences, now) {
            return TokenCheck::Bad(bad);
        }
        loop {
            let keys = match self.keys.known() {
                Ok(keys) => keys,
                Err(NoKeys::Pending(fetch)) => return TokenCheck::Pending(fetch),
                Err(NoKeys::Unavailable { retry_after }) => return TokenCheck::Unavailable { retry_after },
            };
            return match keys.choose(token.key_id(), token.algorithm()) {
                KeyChoice::Key(key) => token.verify(key).map_or_else(TokenCheck::Bad, |()| TokenCheck::Good),
                KeyChoice::Unfit => TokenCheck::Bad(BadToken::Algorithm),
                KeyChoice::Several => TokenCheck::Bad(BadToken::AmbiguousKey),
                KeyChoice::Unknown => match self.keys.newer_than(&keys) {
                    NewerKeys::Fetched => continue,
                    NewerKeys::Pending(fetch) => TokenCheck::Pending(fetch),
                    NewerKeys::None => TokenCheck::Bad(BadToken::UnknownKey),
                },
            };
        }
    }
}

impl Keys {
    fn known(&self) -> Result<Arc<KeySet>, NoKeys> {
        match self {
            Self::Published(published) => published.keys(),
            Self::InFile(file) => Ok(file.keys()),
        }
    }

    fn newer_than(&self, known: &Arc<KeySet>) -> NewerKeys {
        match self {
            Self::Published(published) => published.newer_than(known),
            Self::InFile(_) => NewerKeys::None,
        }
    }

    fn health(&self) -> String {
        match self {
            Self::Published(published) => published.health(),
            Self::InFile(file) => file.health(),
        }
    }
}
