//! Exchanges with the accounts server. Calls use the refresh grant (RFC 6749 section 6), which the token ledger counts. The
//! command line uses the authorisation code grant (section 4.1.3) and a trial refresh, which the ledger does not count.

use std::{future::Future, pin::Pin, time::Duration};

use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet, RedirectUrl,
    RefreshToken, RequestTokenError, TokenResponse, TokenUrl,
    basic::{BasicClient, BasicRequestTokenError, BasicTokenResponse},
};
use tokio::time::Instant;

use crate::{
    ledger::Attempt,
    message::{body::Body, retry_after},
    os::clock,
    problem::Cause,
    secret::Secret,
    upstream::{Client, Failure, Fetch},
    zoho::{
        account::Account,
        accounts_server::{self, LARGEST_ANSWER, TokenAnswer},
        endpoint::Endpoint,
    },
};

/// Exchanges refresh tokens for access tokens, and codes for refresh tokens.
#[derive(Debug, Clone)]
pub struct Grants {
    client: Client,
    timeout: Duration,
}

/// An access token as granted.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) access_token: Secret,
    /// Counted from before the request was sent, so it is never too late.
    pub(super) expires_at: Instant,
    pub(super) lifetime: Duration,
    /// Its scopes, separated by spaces; `None` if the answer does not name them.
    pub(super) scope: Option<String>,
}

/// An authorisation code, which can be exchanged for a refresh token for a short time.
#[derive(Debug)]
pub struct Code {
    /// The code from the redirect or the API console.
    pub code: Secret,
    /// The address to which it was sent; `None` for the code of a self client.
    pub redirect_uri: Option<String>,
}

/// The tokens that a code was exchanged for.
#[derive(Debug)]
pub struct Admission {
    /// `None` if Zoho returned only an access token.
    pub refresh_token: Option<Secret>,
    /// Its scopes, separated by spaces.
    pub scope: Option<String>,
}

impl Granted {
    /// The same token with at least this lifetime. If the token ends sooner, Zoho rejects it and it is replaced.
    pub(super) fn at_least(self, life: Duration) -> Self {
        let more = life.saturating_sub(self.lifetime);
        Self { expires_at: self.expires_at + more, lifetime: self.lifetime + more, ..self }
    }
}

impl Grants {
    /// Makes the exchanges with this client, each within `timeout`.
    #[must_use]
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// Makes one refresh grant, as one attempt of the token ledger.
    pub(super) async fn refresh(&self, account: &Account, attempt: Attempt) -> Result<Granted, Cause> {
        self.refresh_under(account, Some(attempt)).await
    }

    /// Makes one authorisation code grant at `server`, which may differ from the account's: the login may belong to another
    /// data centre.
    ///
    /// # Errors
    /// Why there is no token.
    pub async fn redeem(&self, account: &Account, server: &Endpoint, code: &Code) -> Result<Admission, Cause> {
        let authority = server.authority().as_str();
        let wrong = |error: oauth2::url::ParseError| invalid(authority, error.to_string());
        let mut client = oauth_client(account, server).map_err(wrong)?;
        if let Some(uri) = &code.redirect_uri {
            client = client.set_redirect_uri(RedirectUrl::new(uri.clone()).map_err(wrong)?);
        }
        let exchange = Exchange { grants: self, server: authority, attempt: None };
        let code = AuthorizationCode::new(code.code.expose().to_owned());
        let answer = without_wrapping(authority, client.exchange_code(code).request_async(&exchange).await)?;
        let refresh_token = answer.refresh_token().map(|token| Secret::from(token.secret().as_str()));
        Ok(Admission { refresh_token, scope: scope(&answer) })
    }

    pub(super) async fn refresh_under(&self, account: &Account, attempt: Option<Attempt>) -> Result<Granted, Cause> {
        let server = account.endpoints.accounts.authority().as_str();
        let client =
            oauth_client(account, &account.endpoints.accounts).map_err(|error| invalid(server, error.to_string()))?;
        let sent_at = clock::now();
        let exchange = Exchange { grants: self, server, attempt: attempt.map(parking_lot::Mutex::new) };
        let refresh_token = RefreshToken::new(account.refresh_token.current().expose().to_owned());
        let answer =
            without_wrapping(server, client.exchange_refresh_token(&refresh_token).request_async(&exchange).await)?;
        let lifetime = answer.expires_in().unwrap_or_default();
        let access_token = Secret::new(answer.access_token().secret().clone());
        Ok(Granted { access_token, expires_at: sent_at + lifetime, lifetime, scope: scope(&answer) })
    }
}

/// The outcome of an exchange, without the error types of the crate.
fn without_wrapping<T>(server: &str, answer: Result<T, BasicRequestTokenError<Failed>>) -> Result<T, Cause> {
    answer.map_err(|error| match error {
        RequestTokenError::Request(Failed(cause)) => cause,
        // Not formatted, because the crate's parse error contains the body.
        _ => invalid(server, "an answer that the OAuth client cannot read".into()),
    })
}

fn scope(answer: &BasicTokenResponse) -> Option<String> {
    let scopes: Vec<&str> = answer.scopes()?.iter().map(|scope| scope.as_str()).collect();
    Some(scopes.join(" "))
}

type OAuthClient = BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

fn oauth_client(account: &Account, server: &Endpoint) -> Result<OAuthClient, oauth2::url::ParseError> {
    let token_url = TokenUrl::new(accounts_server::token_url(server))?;
    Ok(BasicClient::new(ClientId::new(account.client_id.clone()))
        .set_client_secret(ClientSecret::new(account.client_secret.current().expose().to_owned()))
        // In the body: Zoho does not support HTTP Basic, and a query would appear in logs.
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(token_url))
}

/// The HTTP exchange of one grant. Normalises the answer and reports each step to the ledger.
struct Exchange<'a> {
    grants: &'a Grants,
    server: &'a str,
    /// `None` if the ledger does not count the exchange.
    attempt: Option<parking_lot::Mutex<Attempt>>,
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
        if let Some(Err(until)) = self.attempt(Attempt::sending) {
            return Err(Cause::TokenThrottled { retry_after: until.saturating_duration_since(clock::now()) });
        }
        let Grants { client, timeout } = self.grants;
        let fetch = Fetch { client, server: self.server, timeout: *timeout, max_body: LARGEST_ANSWER };
        let answer = fetch.send(request, |head| {
            self.attempt(|attempt| attempt.answered(head.status));
            !accounts_server::is_throttling(head.status)
        });
        let (head, body) = answer.await.map_err(|failure| {
            if failure.never_sent {
                self.attempt(Attempt::not_sent);
            }
            failure.cause
        })?;
        let answer = accounts_server::read(head.status, &body);
        if !matches!(answer, TokenAnswer::Throttled) {
            // A call that goes alone after a loss has shown that the accounts server does not block.
            self.attempt(|attempt| attempt.judged(true));
        }
        match answer {
            TokenAnswer::Granted(clean) => {
                let mut response = Response::new(clean);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(response)
            }
            TokenAnswer::Unauthorised(reason) => Err(Cause::AccountUnauthorised { reason: reason.to_owned() }),
            TokenAnswer::Throttled => {
                let blocked = accounts_server::block(retry_after::read(&head.headers, clock::wall()));
                let hit = self.attempt(|attempt| attempt.locked(Some(blocked))).flatten();
                let left = hit.map(|hit| hit.until.saturating_duration_since(clock::now()));
                Err(Cause::TokenThrottled { retry_after: left.unwrap_or(blocked) })
            }
            TokenAnswer::Unusable(words) => Err(invalid(self.server, words)),
        }
    }

    /// Reports a step to the attempt, if there is one.
    fn attempt<T>(&self, report: impl FnOnce(&mut Attempt) -> T) -> Option<T> {
        self.attempt.as_ref().map(|attempt| report(&mut attempt.lock()))
    }
}

pub(super) fn invalid(server: &str, log: String) -> Cause {
    Failure::invalid(server, "http_protocol_error", log).cause.before_the_call()
}
