//! Keeps an account's token for the next process, so that a restart costs no token request.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    grant::Granted,
    seal::{Seal, Unsealed},
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
}

impl TokenStorage {
    pub(super) fn new(account: Arc<Account>, journal: Journal) -> Self {
        Self { account, journal }
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
            self.journal.keep_token(self.account.name.as_str(), KeptToken { sealed, expires_at });
        }
    }

    /// Waits until everything is on disk. If the store fails, calls go out all the same: the loss costs one request.
    pub(super) async fn recorded(&self) {
        let _ = self.journal.recorded().await;
    }
}
