//! Exchanges with the accounts server: the refresh grant (RFC 6749 section 6) for calls, under the token ledger; and for
//! a person at the command line, whom no ledger counts, the authorisation code grant (section 4.1.3) and a trial refresh.

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
    /// Counted from before the request was sent, so never too late.
    pub(super) expires_at: Instant,
    pub(super) lifetime: Duration,
    /// What it may be used for, separated by spaces; older answers do not say.
    pub(super) scope: Option<String>,
}

/// An authorisation code, which is worth a refresh token for a moment.
#[derive(Debug)]
pub struct Code {
    /// As the redirect or the API console gave it.
    pub code: Secret,
    /// Where it was sent; `None` for a self client's.
    pub redirect_uri: Option<String>,
}

/// What a code was exchanged for.
#[derive(Debug)]
pub struct Admission {
    /// `None` where Zoho gave an access token only.
    pub refresh_token: Option<Secret>,
    /// What it may be used for, separated by spaces.
    pub scope: Option<String>,
}

impl Granted {
    /// The same token, good for at least this long: Zoho refuses it when it dies sooner.
    pub(super) fn at_least(self, life: Duration) -> Self {
        let more = life.saturating_sub(self.lifetime);
        Self { expires_at: self.expires_at + more, lifetime: self.lifetime + more, ..self }
    }
}

impl Grants {
    /// Over this client, each exchange within `timeout`.
    #[must_use]
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// One refresh grant, as one attempt of the token ledger.
    pub(super) async fn refresh(&self, account: &Account, attempt: Attempt) -> Result<Granted, Cause> {
        self.refresh_under(account, Some(attempt)).await
    }

    /// One authorisation code grant at `server`, which need not be the account's: a login may turn out to live in
    /// another data centre.
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
        let answer = plain(authority, client.exchange_code(code).request_async(&exchange).await)?;
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
        let answer = plain(server, client.exchange_refresh_token(&refresh_token).request_async(&exchange).await)?;
        let lifetime = answer.expires_in().unwrap_or_default();
        let access_token = Secret::new(answer.access_token().secret().clone());
        Ok(Granted { access_token, expires_at: sent_at + lifetime, lifetime, scope: scope(&answer) })
    }
}

/// The outcome of an exchange without the crate's wrapping.
fn plain<T>(server: &str, answer: Result<T, BasicRequestTokenError<Failed>>) -> Result<T, Cause> {
    answer.map_err(|error| match error {
        RequestTokenError::Request(Failed(cause)) => cause,
        // Not formatted: a parse error of the crate carries the answer's body.
        _ => invalid(server, "an answer that the OAuth client does not take".into()),
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
        // In the body: Zoho does not read HTTP Basic, and a query would end up in logs.
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(token_url))
}

/// The HTTP side of one grant: normalises the answer, keeps the ledger's books.
struct Exchange<'a> {
    grants: &'a Grants,
    server: &'a str,
    /// `None` where no ledger counts.
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
        match accounts_server::read(head.status, &body) {
            TokenAnswer::Granted(clean) => {
                let mut response = Response::new(clean);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(response)
            }
            TokenAnswer::Unauthorised(reason) => Err(Cause::AccountUnauthorised { reason: reason.to_owned() }),
            TokenAnswer::Throttled => {
                let blocked = accounts_server::block(retry_after::read(&head.headers, clock::wall()));
                let met = self.attempt(|attempt| attempt.locked(Some(blocked))).flatten();
                let left = met.map(|met| met.until.saturating_duration_since(clock::now()));
                Err(Cause::TokenThrottled { retry_after: left.unwrap_or(blocked) })
            }
            TokenAnswer::Unusable(words) => Err(invalid(self.server, words)),
        }
    }

    /// Tells the attempt, where there is one.
    fn attempt<T>(&self, tell: impl FnOnce(&mut Attempt) -> T) -> Option<T> {
        self.attempt.as_ref().map(|attempt| tell(&mut attempt.lock()))
    }
}

fn invalid(server: &str, log: String) -> Cause {
    Failure::invalid(server, "http_protocol_error", log).cause.before_the_call()
}
