//! Seals what a job is, asks and gets: payloads and answers are personal data.
//!
//! The key is derived from the account's client secret, and not from its refresh token as for access tokens: after a new
//! login, the jobs that wait must still be readable. It has to be the same for every gateway of the login and after every
//! restart, so it comes from the configuration; a key in the state folder would be stolen together with it.

use serde::{Deserialize, Serialize};

use super::{
    id::JobId,
    job::{Ending, Facts},
};
use crate::{secret::sealer::Sealer, zoho::account::Account};

/// Changes with the format of the sealed texts, so that an old text is never misread.
const PURPOSE: &[u8] = b"zoho-gateway job 1";

/// What the store has of a job, besides request and answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) facts: Facts,
    pub(super) asked: bool,
    pub(super) sending: bool,
    pub(super) ending: Option<Ending>,
}

/// The parts of a job, so that none can be exchanged for another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Record,
    Request,
    Answer,
}

/// Seals a text; empty only if the cryptographic library fails, which no input causes.
pub(super) fn seal(account: &Account, id: JobId, kind: Kind, text: Vec<u8>) -> Vec<u8> {
    sealer(account).and_then(|sealer| sealer.seal(text, &place(id, kind))).unwrap_or_default()
}

/// Opens a text; `None` if the client secret has changed since, or the text.
pub(super) fn open(account: &Account, id: JobId, kind: Kind, sealed: &[u8]) -> Option<Vec<u8>> {
    sealer(account)?.open(sealed, &place(id, kind))
}

fn place(id: JobId, kind: Kind) -> String {
    let kind = match kind {
        Kind::Record => "record",
        Kind::Request => "request",
        Kind::Answer => "answer",
    };
    format!("{id} {kind}")
}

fn sealer(account: &Account) -> Option<Sealer> {
    let server = account.endpoints.accounts.authority().as_str();
    let info = [account.name.as_str(), &account.client_id, server].join("\n");
    Sealer::derive(PURPOSE, &account.client_secret.current(), &info)
}
