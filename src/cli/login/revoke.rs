//! Revokes a refresh token.

use std::time::Duration;

use crate::{
    problem::{Cause, respond},
    secret::Secret,
    upstream::{Client, Fetch},
    zoho::{
        account::Account,
        accounts_server::{LARGEST_ANSWER, revocation, revoked},
        endpoint::Endpoint,
    },
};

/// The token may not be revoked.
#[derive(Debug, thiserror::Error)]
#[error("{server} did not revoke the refresh token: {words}")]
pub struct NotRevoked {
    server: Endpoint,
    words: String,
}

/// Revokes a refresh token, and with it its access tokens.
///
/// # Errors
/// [`NotRevoked`], also if the answer is unclear.
pub async fn revoke(client: &Client, timeout: Duration, account: &Account, token: &Secret) -> Result<(), NotRevoked> {
    let server = &account.endpoints.accounts;
    let failed = |words: String| NotRevoked { server: server.clone(), words };
    let request = revocation(server, token).ok_or_else(|| failed(respond::for_operators(&Cause::Internal)))?;
    let fetch = Fetch { client, server: server.authority().as_str(), timeout, max_body: LARGEST_ANSWER };
    let answer = fetch.send(request, |_| true).await;
    let (head, body) = answer.map_err(|failure| failed(respond::for_operators(&failure.cause)))?;
    revoked(head.status, &body).map_err(failed)
}
