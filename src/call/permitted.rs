//! The stages of a call that has a slot.

use http::{HeaderMap, HeaderValue, uri::PathAndQuery};
use tokio::time::Instant;

use super::{Call, Payload};
use crate::ledger::Attempt;

/// A call that may be sent now: the ledger made an attempt for it.
#[derive(Debug)]
pub struct Permitted {
    call: Call,
    attempt: Attempt,
}

impl Permitted {
    /// Proof of permission: only the ledger makes attempts.
    #[must_use]
    pub fn new(call: Call, attempt: Attempt) -> Self {
        Self { call, attempt }
    }

    /// The call.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The same permission for the same call, composed with the payloads of others.
    #[must_use]
    pub fn composed(self, target: PathAndQuery, headers: HeaderMap, payload: Payload) -> Self {
        Self { call: self.call.composed(target, headers, payload), ..self }
    }

    /// Adds a token that Zoho accepts.
    #[must_use]
    pub fn signed(self, token: Token) -> Signed {
        Signed { call: self.call, attempt: self.attempt, token }
    }
}

/// A call that may be sent now, with a token that Zoho accepts.
#[derive(Debug)]
pub struct Signed {
    call: Call,
    attempt: Attempt,
    token: Token,
}

impl Signed {
    /// The call, the permission to send it, and its token.
    #[must_use]
    pub fn into_parts(self) -> (Call, Attempt, Token) {
        (self.call, self.attempt, self.token)
    }
}

/// An access token, ready for the `Authorization` header.
#[derive(Debug, Clone)]
pub struct Token {
    /// `Zoho-oauthtoken ...`, marked sensitive.
    pub header: HeaderValue,
    /// The number of the token within its account, so that the same dead token is reported once.
    pub generation: u64,
    /// Until then it is too young to have expired: half of its life.
    pub fresh_until: Instant,
}
