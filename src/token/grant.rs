//! The refresh grant (RFC 6749 section 6): one exchange with the accounts server.

use std::{future::Future, pin::Pin, time::Duration};

use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, RefreshToken, RequestTokenError,
    TokenResponse, TokenUrl, basic::BasicClient,
};
use tokio::time::Instant;

use super::answer::{self, TokenAnswer};
use crate::{
    account::Account,
    body::Body,
    clock,
    ledger::Permit,
    refusal::{Cause, UpstreamFault},
    secret::Secret,
    upstream::{Client, Failure},
};

/// Zoho's token answers are a few hundred bytes; a larger one is not one of them.
const LARGEST_ANSWER: usize = 64 * 1024;

/// How long Zoho blocks a refresh token after too many token requests (accounts: "access token expiry").
pub(super) const BLOCKED: Duration = Duration::from_secs(10 * 60);

/// Exchanges refresh tokens for access tokens.
#[derive(Debug, Clone)]
pub struct Grants {
    client: Client,
    timeout: Duration,
}

/// An access token as granted.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) access_token: Secret,
    /// Counted from before the request was sent, so never too late.
    pub(super) expires_at: Instant,
    pub(super) lifetime: Duration,
}

impl Grants {
    /// Over this client, each exchange within `timeout`.
    #[must_use]
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// One refresh grant, under one permit of the token ledger.
    pub(super) async fn refresh(&self, account: &Account, permit: Permit) -> Result<Granted, Cause> {
        let server = account.endpoints.accounts.authority().to_string();
        let client = oauth_client(account).map_err(|error| invalid(&server, error.to_string()))?;
        let sent_at = clock::now();
        let exchange = Exchange { grants: self, server: &server, permit: parking_lot::Mutex::new(permit) };
        let refresh_token = RefreshToken::new(account.refresh_token.current().expose().to_owned());
        let answer = client.exchange_refresh_token(&refresh_token).request_async(&exchange).await;
        match answer {
            Ok(answer) => {
                let lifetime = answer.expires_in().unwrap_or_default();
                let access_token = Secret::new(answer.access_token().secret().clone());
                Ok(Granted { access_token, expires_at: sent_at + lifetime, lifetime })
            }
            Err(RequestTokenError::Request(Failed(cause))) => Err(cause),
            // Not formatted: a parse error of the crate carries the answer's body.
            Err(_) => Err(invalid(&server, "an answer that the OAuth client does not take".into())),
        }
    }
}

type OAuthClient = BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

fn oauth_client(account: &Account) -> Result<OAuthClient, oauth2::url::ParseError> {
    let accounts = &account.endpoints.accounts;
    let token_url = TokenUrl::new(format!("{}://{}/oauth/v2/token", accounts.scheme(), accounts.authority()))?;
    Ok(BasicClient::new(ClientId::new(account.client_id.clone()))
        .set_client_secret(ClientSecret::new(account.client_secret.current().expose().to_owned()))
        // In the body: Zoho does not read HTTP Basic, and a query would end up in logs.
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(token_url))
}

/// The HTTP side of one grant: normalises the answer, keeps the ledger's books.
struct Exchange<'a> {
    grants: &'a Grants,
    server: &'a str,
    permit: parking_lot::Mutex<Permit>,
}

/// The exchange brought no token.
#[derive(Debug, thiserror::Error)]
#[error("no token was granted")]
struct Failed(Cause);

impl<'c> AsyncHttpClient<'c> for Exchange<'_> {
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, Failed>> + Send + 'c>>;

    fn call(&'c self, request: Request<Vec<u8>>) -> Self::Future {
        Box::pin(async move { self.exchange(request).await.map_err(Failed) })
    }
}

impl Exchange<'_> {
    async fn exchange(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Cause> {
        let request = request.map(Body::full);
        if let Err(until) = self.permit.lock().sending() {
            return Err(Cause::TokenThrottled { retry_after: until.saturating_duration_since(clock::now()) });
        }
        let (status, body) = tokio::time::timeout(self.grants.timeout, self.answer(request))
            .await
            .map_err(|_| Failure::timeout(self.server).cause)??;
        match answer::read(status, &body) {
            TokenAnswer::Granted(clean) => {
                let mut response = Response::new(clean);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(response)
            }
            TokenAnswer::Unauthorised(reason) => Err(Cause::AccountUnauthorised { reason }),
            TokenAnswer::Throttled => {
                let met = self.permit.lock().locked(Some(BLOCKED));
                let left = met.map(|met| met.until.saturating_duration_since(clock::now()));
                Err(Cause::TokenThrottled { retry_after: left.unwrap_or(BLOCKED) })
            }
            TokenAnswer::Unintelligible(words) => Err(invalid(self.server, words)),
        }
    }

    async fn answer(&self, request: Request<Body>) -> Result<(StatusCode, bytes::Bytes), Cause> {
        let response = self.grants.client.request(request).await.map_err(|error| {
            let failure = Failure::of(&error, self.server, u64::MAX);
            if failure.never_sent {
                self.permit.lock().not_sent();
            }
            failure.cause
        })?;
        self.permit.lock().answered();
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| {
            Failure::invalid(self.server, "http_response_incomplete", format!("reading the token answer: {error}"))
                .cause
        })?;
        Ok((status, body.to_bytes()))
    }
}

fn invalid(server: &str, log: String) -> Cause {
    Cause::UpstreamInvalidResponse(UpstreamFault { error: "http_protocol_error", server: server.to_owned(), log })
}
