//! The token of an account as operators see it.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    limits::TokenLedger,
    source::Source,
    state::{State, TokenHealth},
};
use crate::{
    os::clock,
    problem::{Cause, respond},
};

/// An account's token and its requests. Spans count from the moment of the status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// Whether calls can be sent with it.
    pub condition: TokenCondition,
    /// What is wrong, in words, as `/readyz` has it.
    pub problem: Option<String>,
    /// When the present token was granted.
    pub granted_seconds_ago: Option<f64>,
    /// When it expires.
    pub expires_in_seconds: Option<f64>,
    /// When the gateway fetches the next one, if this one is used.
    pub renews_in_seconds: Option<f64>,
    /// Since when Zoho rejects the credentials.
    pub rejected_seconds_ago: Option<f64>,
    /// Why the last request failed, if it did.
    pub last_error: Option<LastTokenError>,
    /// When the next request may be made, if that is not now.
    pub next_request_in_seconds: Option<f64>,
    /// The requests in the window of the accounts server.
    pub requests: TokenRequests,
}

/// Whether calls can be sent with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenCondition {
    /// No token was needed yet.
    Unused,
    /// A token is valid.
    Valid,
    /// No token is valid; the next call fetches one.
    Expired,
    /// No token is valid, and the last request for one failed. The gateway tries again.
    Failing,
    /// Zoho rejects the credentials until a person corrects them.
    Rejected,
}

/// Why a token request failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastTokenError {
    /// The name of the problem.
    pub problem: String,
    /// Its detail.
    pub detail: String,
    /// When it happened.
    pub seconds_ago: f64,
}

/// The requests that count in the window of the accounts server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenRequests {
    /// How many are allowed in the window.
    pub requests: u32,
    /// How many are used now.
    pub used: u32,
    /// The window.
    pub window_seconds: f64,
    /// When the next one is free again.
    pub next_slot_in_seconds: Option<f64>,
}

impl Source {
    /// The token and its requests, for operators.
    #[must_use]
    pub fn status(&self) -> TokenStatus {
        TokenStatus::of(&self.state.lock(), &self.ledger, clock::now())
    }
}

impl TokenStatus {
    fn of(state: &State, ledger: &TokenLedger, now: Instant) -> Self {
        let until = |at: Instant| at.saturating_duration_since(now).as_secs_f64();
        let since = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
        let serving = state.serving(now);
        let rejected = state.bad_credentials(now).and(state.bad_credentials.as_ref());
        let last_error = state.last_error.as_ref().map(|(cause, at)| LastTokenError::of(cause, since(*at)));
        let paused = state.paused(now).and(state.pause.as_ref()).map(|pause| until(pause.until));
        let (used, next_slot) = ledger.used();
        let limits = ledger.limits();
        Self {
            condition: match (serving, rejected, &last_error, &state.current) {
                (Some(_), ..) => TokenCondition::Valid,
                (None, Some(_), ..) => TokenCondition::Rejected,
                (None, None, Some(_), _) => TokenCondition::Failing,
                (None, None, None, Some(_)) => TokenCondition::Expired,
                (None, None, None, None) => TokenCondition::Unused,
            },
            problem: match state.health(now) {
                TokenHealth::Good => None,
                TokenHealth::Degraded(words) | TokenHealth::Rejected(words) => Some(words),
            },
            granted_seconds_ago: serving.map(|current| since(current.granted_at)),
            expires_in_seconds: serving.map(|current| until(current.expires_at)),
            renews_in_seconds: serving.map(|current| until(current.renew_at)),
            rejected_seconds_ago: rejected.map(|bad| since(bad.since)),
            last_error,
            next_request_in_seconds: ledger.blocked().map(|blocked| blocked.as_secs_f64()).or(paused),
            requests: TokenRequests {
                requests: limits.requests.get(),
                used,
                window_seconds: limits.window.as_secs_f64(),
                next_slot_in_seconds: next_slot.map(|next| next.as_secs_f64()),
            },
        }
    }
}

impl LastTokenError {
    fn of(cause: &Cause, seconds_ago: f64) -> Self {
        Self { problem: respond::name(cause).to_owned(), detail: respond::for_operators(cause), seconds_ago }
    }
}
