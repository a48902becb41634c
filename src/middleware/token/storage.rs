//! Keeps the outcome of an account's last token request for the next process and for other gateways, so that neither a
//! restart nor another gateway costs a token request.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    grant::Granted,
    seal::{Seal, Unsealed, credentials_name},
};
use crate::{
    ledger::{Journal, KeptToken},
    zoho::account::Account,
};

/// Writes the outcome of an account's last token request to the store.
#[derive(Debug)]
pub(super) struct TokenStorage {
    account: Arc<Account>,
    journal: Journal,
    last: Mutex<Option<KeptToken>>,
}

impl TokenStorage {
    pub(super) fn new(account: Arc<Account>, journal: Journal) -> Self {
        Self { account, journal, last: Mutex::new(None) }
    }

    /// A name for the account's present credentials.
    pub(super) fn credentials(&self) -> Option<String> {
        credentials_name(&self.account)
    }

    /// The kept outcome, unless the credentials have changed since.
    pub(super) fn open(&self, kept: &KeptToken) -> Option<Unsealed> {
        Seal::of(&self.account)?.open(&kept.sealed)
    }

    /// Keeps a token.
    pub(super) fn keep(&self, granted: &Granted) {
        self.write(Seal::of(&self.account).and_then(|seal| seal.seal(granted)), granted.expires_at);
    }

    /// Keeps the reason why Zoho rejected the credentials. The next process believes it until `expires_at`.
    pub(super) fn keep_rejection(&self, reason: &str, expires_at: Instant) {
        self.write(Seal::of(&self.account).and_then(|seal| seal.seal_rejection(reason)), expires_at);
    }

    fn write(&self, sealed: Option<Vec<u8>>, expires_at: Instant) {
        if let Some(sealed) = sealed {
            self.take_over(KeptToken { sealed, expires_at });
        }
    }

    /// Keeps an outcome that an earlier process or another gateway has sealed.
    pub(super) fn take_over(&self, kept: KeptToken) {
        *self.last.lock() = Some(kept.clone());
        self.journal.keep_token(self.account.name.as_str(), kept);
    }

    /// What was kept last.
    pub(super) fn last(&self) -> Option<KeptToken> {
        self.last.lock().clone()
    }

    /// Waits until everything is on disk. If the store fails, calls go out all the same: the loss costs one request.
    pub(super) async fn recorded(&self) {
        let _ = self.journal.recorded().await;
    }
}
