//! The access token of one account: one request serves all callers that wait, and a token is renewed before it expires.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::{
    data_centers,
    grant::{self, Granted, Grants},
    limits::{Purpose, TokenLedger},
    rejections::{Rejection, Remedy},
    request::{self, AttemptOutcome, Progress},
    seal::Unsealed,
    state::{BadCredentials, State, TokenHealth},
    storage::TokenStorage,
    turns::Turns,
};
use crate::{
    call::Token,
    ledger::{Journal, KeptToken},
    middleware::single_flight::SingleFlight,
    os::clock,
    problem::{Cause, respond},
    telemetry::Metrics,
    upstream::Failure,
    zoho::{
        account::Account,
        accounts_server,
        catalogue::{Route, RouteId},
    },
};

/// How long the next processes believe that the credentials are rejected: as long as Zoho counts token requests.
const REJECTION_KEPT: Duration = Duration::from_secs(10 * 60);

/// Gets, renews and replaces one account's token.
#[derive(Debug)]
pub struct Source {
    account: Arc<Account>,
    grants: Grants,
    pub(super) ledger: TokenLedger,
    pub(super) storage: TokenStorage,
    /// With a shared ledger.
    turns: Option<Turns>,
    /// Another gateway makes the request, as far as this one knows.
    pub(super) waits_for_others: AtomicBool,
    pub(super) state: Mutex<State>,
    /// The token request in progress.
    requests: SingleFlight<(), Progress>,
    /// Whether the newest token was used. An unused token is not renewed.
    used: AtomicBool,
    metrics: Arc<Metrics>,
}

/// The result of a lookup that found no obstacle.
enum Lookup {
    Token(Token),
    Requested(watch::Receiver<Progress>),
}

/// Whether a rejected call can get another token.
enum Successor {
    None,
    /// Another token exists, or [`Source::token`] gets it.
    Available,
    Requested(watch::Receiver<Progress>),
}

impl Source {
    /// Starts with the token that an earlier process kept, if the credentials are still the same. Otherwise the first
    /// caller starts a request.
    #[must_use]
    pub fn new(
        account: Arc<Account>,
        grants: Grants,
        ledger: TokenLedger,
        journal: Journal,
        kept: Option<&KeptToken>,
        turns: Option<Turns>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let state = Mutex::new(State::new(&account.name, ledger.limits()));
        let storage = TokenStorage::new(Arc::clone(&account), journal);
        let (requests, used) = (SingleFlight::default(), AtomicBool::new(false));
        let waits_for_others = AtomicBool::new(false);
        let source = Arc::new(Self {
            account,
            grants,
            ledger,
            storage,
            turns,
            waits_for_others,
            state,
            requests,
            used,
            metrics,
        });
        if let Some(kept) = kept
            && source.take_over(kept).is_some()
        {
            source.storage.take_over(kept.clone());
        }
        source
    }

    /// Uses the outcome that an earlier process or another gateway kept. `None` if it is of no use: its credentials are
    /// others, or it ends too soon.
    pub(super) fn take_over(self: &Arc<Self>, kept: &KeptToken) -> Option<Result<Token, Cause>> {
        let unsealed = self.storage.open(kept)?;
        let (mut state, expires_at) = (self.state.lock(), kept.expires_at);
        match unsealed {
            Unsealed::Token { access_token, lifetime, scope } => {
                let granted = Granted { access_token, expires_at, lifetime, scope };
                state.is_better(&granted, clock::now()).then(|| self.adopt(&mut state, &granted))
            }
            // Earlier versions kept every error of the accounts server.
            Unsealed::Rejected(reason) if !accounts_server::is_unauthorised(&reason) => None,
            Unsealed::Rejected(reason) => {
                let cause = Cause::AccountUnauthorised { reason };
                let since = clock::now();
                state.bad_credentials = Some(BadCredentials { cause: cause.clone(), since, until: Some(expires_at) });
                Some(Err(cause))
            }
        }
    }

    /// A valid token. Waits for a request if necessary: for its first attempt, and until `deadline` for further ones if
    /// the accounts server is unreachable. The request continues when the caller leaves.
    ///
    /// # Errors
    /// Why there is no token.
    pub async fn token(self: &Arc<Self>, deadline: Instant) -> Result<Token, Cause> {
        self.used.store(true, Ordering::Relaxed);
        match self.lookup()? {
            Lookup::Token(token) => Ok(token),
            Lookup::Requested(request) => {
                let outcome = request::outcome(request, deadline, self.server()).await;
                outcome.unwrap_or_else(|| Err(aborted(self.server()))).map_err(|cause| self.timed_out(cause))
            }
        }
    }

    /// Zoho accepted a call of this route with the token of this generation; `second` as in [`Rejection`].
    pub(super) fn accepted(&self, route: &RouteId, generation: u64, second: bool) {
        self.state.lock().rejections.accepted(route, generation, second, clock::now());
    }

    /// Zoho rejected a call with its token. Repeated reports of the same token change nothing. Returns whether there is
    /// another token to try; if `waits`, waits for the request that gets it.
    pub(super) async fn rejected(self: &Arc<Self>, rejection: &Rejection<'_>, waits: bool) -> bool {
        let request = match self.successor(rejection) {
            Successor::None => return false,
            Successor::Available => return true,
            Successor::Requested(request) => request,
        };
        // The caller has an answer already, so it does not wait for a second attempt.
        let outcome = if waits { request::outcome(request, clock::now(), self.server()).await } else { None };
        matches!(outcome, Some(Ok(token)) if token.generation > rejection.generation)
    }

    fn successor(self: &Arc<Self>, rejection: &Rejection<'_>) -> Successor {
        let now = clock::now();
        let mut state = self.state.lock();
        // A report of an older token says nothing about the newest, but a second attempt may say something of its route.
        let of_the_route = rejection.second && rejection.fresh;
        if !state.is_newest(rejection.generation) && !of_the_route {
            return Successor::Available;
        }
        let remedy = state.rejections.remedy(rejection, now);
        if remedy != Remedy::Keep {
            tracing::info!(account = %self.account.name, route = %rejection.route, generation = rejection.generation, "Zoho answers 401; fetching another access token");
        }
        match remedy {
            Remedy::Keep => Successor::None,
            Remedy::Replace => {
                (state.current, state.replacing) = (None, true);
                Successor::Available
            }
            Remedy::Renew if state.bad_credentials(now).is_some() || state.paused(now).is_some() => Successor::None,
            Remedy::Renew => Successor::Requested(self.request()),
        }
    }

    /// Its last outcome, for a source of the same account with another configuration.
    #[must_use]
    pub fn kept(&self) -> Option<KeptToken> {
        self.storage.last()
    }

    /// The health of the account's login.
    #[must_use]
    pub fn health(&self) -> TokenHealth {
        self.state.lock().health(clock::now())
    }

    /// The age of the access token and the time until it is no longer used, if there is one.
    #[must_use]
    pub fn token_age(&self) -> Option<(Duration, Duration)> {
        self.state.lock().token_age(clock::now())
    }

    /// Whether the granted scopes, as far as they are known, allow a call of this route.
    ///
    /// # Errors
    /// [`Cause::ScopeMissing`], when they do not.
    pub fn authorises(&self, route: &Route) -> Result<(), Cause> {
        self.state.lock().scopes.check(route)
    }

    /// The login lacks the scope for this route.
    pub fn lacks_scope(&self, route: &RouteId, cause: &Cause) {
        if self.state.lock().scopes.lacks(route, cause) {
            let words = respond::for_operators(cause);
            tracing::warn!(account = %self.account.name, %route, problem = "scope-missing", cause = words, "the login lacks a scope");
        }
    }

    /// Zoho executed a call of this route, so the login has its scope.
    pub fn has_scope(&self, route: &RouteId) {
        self.state.lock().scopes.has(route);
    }

    /// The account of the token.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    fn lookup(self: &Arc<Self>) -> Result<Lookup, Cause> {
        let now = clock::now();
        let state = self.state.lock();
        let bad_credentials = state.bad_credentials(now);
        if let Some(current) = state.serving(now) {
            if now >= current.renew_at && bad_credentials.is_none() {
                self.request();
            }
            return Ok(Lookup::Token(current.token.clone()));
        }
        if let Some(cause) = bad_credentials {
            return Err(cause.clone());
        }
        if let Some(request) = self.requests.follow(&()) {
            return Ok(Lookup::Requested(request));
        }
        match state.paused(now) {
            Some(cause) => Err(cause),
            None => Ok(Lookup::Requested(self.request())),
        }
    }

    /// The request in progress, or a new one. The request does not own the source, so that dropping the source ends it.
    pub(super) fn request(self: &Arc<Self>) -> watch::Receiver<Progress> {
        let source = Arc::downgrade(self);
        let attempt = move || {
            let source = source.upgrade();
            async move {
                match source {
                    Some(source) => source.attempt().await,
                    None => std::future::pending().await,
                }
            }
        };
        self.requests.join((), Progress::Started, |leader| request::run(leader, attempt))
    }

    async fn attempt(self: Arc<Self>) -> AttemptOutcome {
        let outcome = match &self.turns {
            Some(turns) => self.fetch_in_turn(turns).await,
            None => self.fetch().await,
        };
        let pause_end = self.state.lock().pause.as_ref().map_or_else(clock::now, |pause| pause.until);
        AttemptOutcome { outcome, pause_end }
    }

    /// Makes one request, and applies its outcome.
    pub(super) async fn fetch(self: &Arc<Self>) -> Result<Token, Cause> {
        let (asked, granted) = self.ask().await;
        let adopted = {
            let mut state = self.state.lock();
            let adopted = granted.and_then(|granted| self.adopt(&mut state, &granted).map(|token| (token, granted)));
            match &adopted {
                Ok(_) => state.succeeded(),
                Err(cause) => state.failed(cause, asked, self.ledger.limits(), clock::now()),
            }
            adopted
        };
        match adopted {
            Ok((token, granted)) => {
                tracing::info!(account = %self.account.name, generation = token.generation, "fetched an access token");
                self.storage.keep(&granted);
                self.storage.recorded().await;
                Ok(token)
            }
            Err(cause) => {
                self.keep_rejection(&cause).await;
                let (words, problem) = (respond::for_operators(&cause), respond::name(&cause));
                tracing::warn!(account = %self.account.name, problem, cause = words, "could not fetch an access token");
                Err(cause)
            }
        }
    }

    /// Asks the accounts server for a token, if the ledger has a slot. Returns whether the server was asked.
    async fn ask(&self) -> (bool, Result<Granted, Cause>) {
        let purpose = if self.state.lock().replacing { Purpose::Replacement } else { Purpose::Renewal };
        let attempt = self.ledger.attempt(purpose).await;
        let asked = attempt.is_ok();
        let granted = match attempt {
            Ok(attempt) => self.grants.refresh(&self.account, attempt).await,
            Err(cause) => Err(self.state.lock().no_slot(cause, clock::now())),
        };
        let granted = match granted {
            // Tokens with a very short lifetime would use up all requests.
            Ok(granted) => Ok(granted.at_least(self.ledger.shortest_life())),
            Err(cause) => Err(self.grants.diagnose(&self.account, cause, &data_centers::others(&self.account)).await),
        };
        if asked {
            self.metrics.token_request(&self.account.name, granted.as_ref().err());
        }
        (asked, granted)
    }

    fn adopt(self: &Arc<Self>, state: &mut State, granted: &Granted) -> Result<Token, Cause> {
        let (token, renew_at) = state
            .adopt(granted)
            .ok_or_else(|| grant::invalid(self.server(), "an access token that does not fit into a header".into()))?;
        self.used.store(false, Ordering::Relaxed);
        let renewal = tokio::spawn(renew(Arc::downgrade(self), token.generation, renew_at));
        state.renewal = Some(AbortOnDropHandle::new(renewal));
        Ok(token)
    }

    /// Keeps the rejection of the credentials for the next process, which would otherwise use a request at each start,
    /// until none is left. A token that is still valid is worth more and stays.
    async fn keep_rejection(&self, cause: &Cause) {
        let now = clock::now();
        let has_token = self.state.lock().serving(now).is_some();
        if let Cause::AccountUnauthorised { reason } = cause
            && !has_token
        {
            self.storage.keep_rejection(reason, now + REJECTION_KEPT);
            self.storage.recorded().await;
        }
    }

    /// The process was told to stop. Before the next start an operator may change something at Zoho, so the next process
    /// tries rejected credentials at once; after a crash it does not.
    pub fn ended_on_purpose(&self) {
        let now = clock::now();
        let state = self.state.lock();
        if let Some(BadCredentials { cause: Cause::AccountUnauthorised { reason }, .. }) = &state.bad_credentials
            && state.serving(now).is_none()
        {
            self.storage.keep_rejection(reason, now);
        }
    }

    pub(super) fn server(&self) -> &str {
        self.account.endpoints.accounts.authority().as_str()
    }
}

/// Renews a token before it expires, if it is in use.
async fn renew(source: Weak<Source>, generation: u64, renew_at: Instant) {
    tokio::time::sleep_until(renew_at).await;
    let Some(source) = source.upgrade() else { return };
    let state = source.state.lock();
    let good_credentials = state.bad_credentials(clock::now()).is_none();
    if state.is_newest(generation) && good_credentials && source.used.load(Ordering::Relaxed) {
        source.request();
    }
}

fn aborted(server: &str) -> Cause {
    let log = "the token request was aborted".to_owned();
    Failure::invalid(server, "proxy_internal_error", log).without_connection().cause.before_the_call()
}

#[cfg(test)]
impl Source {
    pub(super) fn serves_at(&self, moment: Instant) -> bool {
        self.state.lock().serving(moment).is_some()
    }

    pub(super) fn make_renewal_due(&self) {
        if let Some(current) = &mut self.state.lock().current {
            current.renew_at = clock::now();
        }
    }

    pub(super) fn expire(&self) {
        self.state.lock().current = None;
    }

    pub(super) fn call_dead(&self) {
        let mut state = self.state.lock();
        (state.current, state.replacing) = (None, true);
    }
}
