//! Giving a refresh token back.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};

use crate::{
    problem::{Cause, respond},
    secret::Secret,
    upstream::{Client, Failure},
    zoho::{
        account::Account,
        accounts_server::{LARGEST_ANSWER, revocation, revoked},
        endpoint::Endpoint,
    },
};

/// The token is not known to be revoked.
#[derive(Debug, thiserror::Error)]
#[error("{server} did not revoke the refresh token: {words}")]
pub struct NotRevoked {
    server: Endpoint,
    words: String,
}

/// Revokes a refresh token, and with it the access tokens that came of it.
///
/// # Errors
/// [`NotRevoked`], also where the answer does not say.
pub async fn revoke(client: &Client, timeout: Duration, account: &Account, token: &Secret) -> Result<(), NotRevoked> {
    let server = &account.endpoints.accounts;
    let failed = |words: String| NotRevoked { server: server.clone(), words };
    let untold = |failure: Failure| failed(respond::for_operators(&failure.cause));
    let authority = server.authority().as_str();
    let exchange = async {
        let request = revocation(server, token).ok_or_else(|| failed(respond::for_operators(&Cause::Internal)))?;
        let response =
            client.request(request).await.map_err(|error| untold(Failure::of(&error, authority, u64::MAX)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let incomplete = |error| untold(Failure::invalid(authority, "http_response_incomplete", format!("{error}")));
        Ok((status, body.map_err(incomplete)?.to_bytes()))
    };
    let timed_out = |_| untold(Failure::timeout(authority));
    let (status, body) = tokio::time::timeout(timeout, exchange).await.map_err(timed_out)??;
    revoked(status, &body).map_err(failed)
}
