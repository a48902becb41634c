//! The access token of one account: fetched once for everybody who waits, renewed a little early.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::{
    elsewhere,
    grant::{Granted, Grants},
    limits::{Purpose, TokenLedger},
    rejections::{Rejection, Rejections, Remedy},
    request::{self, Attempt, Progress},
    seal::{Seal, Unsealed},
    state::{Current, State},
};
use crate::{
    call::Token,
    ledger::{Journal, KeptToken},
    middleware::single_flight::SingleFlight,
    os::clock,
    problem::{Cause, ScopeEvidence, UpstreamFault, respond},
    secret::{Secret, file_watch::Reread},
    telemetry::Metrics,
    zoho::{
        account::Account,
        accounts_server,
        catalogue::{Route, RouteId},
        scope::Scopes,
    },
};

/// A token this close to its end may die on the way to Zoho and is no longer handed out.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

/// For how long processes to come believe a refusal: as long as Zoho counts token requests.
const REFUSAL_KEPT: Duration = Duration::from_secs(10 * 60);

/// So many routes without a scope are named on one line.
const MOST_LACKING: usize = 10;

/// One account's token.
#[derive(Debug)]
pub struct Source {
    account: Arc<Account>,
    grants: Grants,
    ledger: TokenLedger,
    journal: Journal,
    state: Mutex<State>,
    /// The token request under way.
    requests: SingleFlight<(), Progress>,
    /// Somebody asked since the token was granted. What nobody uses need not be kept fresh.
    used: AtomicBool,
    metrics: Arc<Metrics>,
}

/// How an account stands, for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing speaks against it.
    Good,
    /// The last request brought no token, for this reason; it may be otherwise at the next.
    Troubled(String),
    /// Zoho does not take its credentials, for this reason, until a person changes something.
    Refused(String),
}

impl Source {
    /// Begins with the token that an earlier process kept, if it did and the credentials are still the same; otherwise
    /// the first caller has one fetched.
    #[must_use]
    pub fn new(
        account: Arc<Account>,
        grants: Grants,
        ledger: TokenLedger,
        journal: Journal,
        kept: Option<&KeptToken>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let state = Mutex::new(State::new(&account.name, ledger.limits()));
        let (requests, used) = (SingleFlight::default(), AtomicBool::new(false));
        let source = Arc::new(Self { account, grants, ledger, journal, state, requests, used, metrics });
        if let Some(kept) = kept
            && let Some(unsealed) = Seal::of(&source.account).and_then(|seal| seal.open(&kept.sealed))
        {
            let (mut state, expires_at) = (source.state.lock(), kept.expires_at);
            match unsealed {
                Unsealed::Token { access_token, lifetime, scope } => {
                    // What no header can carry was never kept.
                    let _ = source.adopt(&mut state, &Granted { access_token, expires_at, lifetime, scope });
                }
                // Earlier versions kept any word of the accounts server.
                Unsealed::Refused(reason) if !accounts_server::is_unauthorised(&reason) => {}
                Unsealed::Refused(reason) => {
                    state.refused = Some(Cause::AccountUnauthorised { reason });
                    state.refused_until = Some(expires_at);
                }
            }
        }
        source
    }

    /// A token that lives, waiting for one if need be: for as long as one attempt takes, and until `deadline` for
    /// further ones if the accounts server cannot be reached. The request goes on when the caller leaves.
    ///
    /// # Errors
    /// The cause that the caller is refused with.
    pub async fn token(self: &Arc<Self>, deadline: Instant) -> Result<Token, Cause> {
        self.used.store(true, Ordering::Relaxed);
        match self.look() {
            Look::Token(token) => Ok(token),
            Look::Refused(cause) => Err(cause),
            Look::Request(request) => {
                let server = self.account.endpoints.accounts.authority().as_str();
                request::outcome(request, deadline, server).await.unwrap_or_else(|| Err(self.interrupted()))
            }
        }
    }

    /// Zoho let a call of this route in with the token of this generation; `second`: after it had not with another.
    pub(super) fn accepted(&self, route: &RouteId, generation: u64, second: bool) {
        self.state.lock().rejections.accepted(route, generation, second, clock::now());
    }

    /// Zoho did not let a call in. Said of the same token again, it changes nothing. Returns whether there is another
    /// token to try; with `waits`, after one was fetched.
    pub(super) async fn rejected(self: &Arc<Self>, rejection: &Rejection<'_>, waits: bool) -> bool {
        let Some(request) = self.weigh(rejection) else { return false };
        let Some(request) = request else { return true };
        let server = self.account.endpoints.accounts.authority().as_str();
        // The caller has an answer already, so it waits for no second request.
        let outcome = if waits { request::outcome(request, clock::now(), server).await } else { None };
        matches!(outcome, Some(Ok(token)) if token.generation > rejection.generation)
    }

    /// `None`: no other token; `Some(None)`: one that is there or that [`Self::token`] waits for; or the request that
    /// brings it.
    fn weigh(self: &Arc<Self>, rejection: &Rejection<'_>) -> Option<Option<watch::Receiver<Progress>>> {
        let now = clock::now();
        let mut state = self.state.lock();
        let newest = state.current.as_ref().is_some_and(|current| current.token.generation == rejection.generation);
        // Said of an older token it changes nothing, unless it tells of the route.
        let of_the_route = rejection.second && rejection.fresh;
        if !newest && !of_the_route {
            return Some(None);
        }
        let remedy = state.rejections.weigh(rejection, now);
        if remedy != Remedy::Keep {
            tracing::info!(account = %self.account.name, route = %rejection.route, generation = rejection.generation, "Zoho answers 401: another access token is fetched");
        }
        match remedy {
            Remedy::Keep => None,
            Remedy::Replace => {
                state.current = None;
                state.replacing = true;
                Some(None)
            }
            Remedy::Renew if state.refusal(now).is_some() || state.paused(now).is_some() => None,
            Remedy::Renew => Some(Some(self.request())),
        }
    }

    /// How the account stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let (state, now) = (self.state.lock(), clock::now());
        let words = |cause: &Cause| format!("{}: {}", respond::name(cause), respond::for_operators(cause));
        // While a token lives, calls go: that no other could be had is a trouble to come.
        if let Some(cause) = state.refusal(now)
            && state.serving(now).is_none()
        {
            return Standing::Refused(words(cause));
        }
        let lacking = state.lacking.iter().map(|(route, cause)| format!("{route}: {}", words(cause)));
        let more = state.lacking.len().saturating_sub(MOST_LACKING);
        let more = (more > 0).then(|| format!("scope-missing: and {more} routes more"));
        let troubles: Vec<_> = state.trouble.iter().map(words).chain(lacking.take(MOST_LACKING)).chain(more).collect();
        if troubles.is_empty() { Standing::Good } else { Standing::Troubled(troubles.join("; ")) }
    }

    /// Whether a call of this route can be authorised, as far as is known: what was granted is known once there was a
    /// token whose answer told it.
    ///
    /// # Errors
    /// [`Cause::ScopeMissing`], when it cannot.
    pub fn authorises(&self, route: &Route) -> Result<(), Cause> {
        match &self.state.lock().granted {
            Some(granted) if !granted.suffice(&route.scopes) => {
                let evidence = ScopeEvidence::Granted(granted.clone());
                Err(Cause::ScopeMissing { scopes: route.scopes.clone(), evidence })
            }
            _ => Ok(()),
        }
    }

    /// The account's token lacks the scope for this route.
    pub fn lacks_scope(&self, route: &RouteId, cause: &Cause) {
        let before = self.state.lock().lacking.insert(route.clone(), cause.clone());
        if before.is_none() {
            let words = respond::for_operators(cause);
            tracing::warn!(account = %self.account.name, %route, problem = "scope-missing", cause = words, "the login lacks a scope");
        }
    }

    /// Zoho executed a call of this route.
    pub fn has_scope(&self, route: &RouteId) {
        let mut state = self.state.lock();
        if !state.lacking.is_empty() {
            state.lacking.remove(route);
        }
    }

    /// Whose token it is.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Reads the credentials' files again. A change is tried at once; until it has brought a token the one there is
    /// serves on. `owner` tells which other account has a refresh token.
    pub(super) fn reread(self: &Arc<Self>, owner: impl Fn(&Secret) -> Option<String>) {
        let Account { client_secret, refresh_token, .. } = &*self.account;
        let mut changed = false;
        for (key, credential, outcome) in [
            ("client_secret", client_secret, client_secret.reread(|_| None)),
            ("refresh_token", refresh_token, refresh_token.reread(owner)),
        ] {
            match outcome {
                Reread::Quiet => {}
                Reread::Replaced => changed = true,
                Reread::Unusable(error) => {
                    let file = credential.file().map(|path| path.display().to_string());
                    tracing::warn!(account = %self.account.name, key, file, %error, "a credential's file cannot be used; what it held before goes on until it is mended");
                }
            }
        }
        if changed {
            tracing::info!(account = %self.account.name, "the credentials have changed");
            let mut state = self.state.lock();
            (state.refused, state.refused_until, state.pause, state.trouble) = (None, None, None, None);
            state.rejections = Rejections::new(self.account.name.clone(), self.ledger.limits());
            state.lacking.clear();
            // Another login may have been granted more; until it has brought a token, Zoho decides.
            state.granted = None;
            self.request();
        }
    }

    fn look(self: &Arc<Self>) -> Look {
        let now = clock::now();
        let state = self.state.lock();
        if let Some(current) = state.serving(now) {
            if now >= current.renew_at && state.refusal(now).is_none() {
                self.request();
            }
            return Look::Token(current.token.clone());
        }
        if let Some(cause) = state.refusal(now) {
            return Look::Refused(cause.clone());
        }
        if let Some(request) = self.requests.follow(&()) {
            return Look::Request(request);
        }
        match state.paused(now) {
            Some(cause) => Look::Refused(cause),
            None => Look::Request(self.request()),
        }
    }

    /// The request under way, or a new one. It does not own the source, so that the source's end ends it.
    fn request(self: &Arc<Self>) -> watch::Receiver<Progress> {
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

    async fn attempt(self: Arc<Self>) -> Attempt {
        let outcome = self.fetch().await;
        let pause_end = self.state.lock().pause.as_ref().map_or_else(clock::now, |pause| pause.until);
        Attempt { outcome, pause_end }
    }

    /// One request, and what follows from it.
    async fn fetch(self: &Arc<Self>) -> Result<Token, Cause> {
        let purpose = if self.state.lock().replacing { Purpose::Replacement } else { Purpose::Renewal };
        let attempt = self.ledger.attempt(purpose).await;
        let asked = attempt.is_ok();
        let granted = match attempt {
            Ok(attempt) => self.grants.refresh(&self.account, attempt).await,
            Err(cause) => Err(self.state.lock().spent(cause, clock::now())),
        };
        let granted = match granted {
            // Tokens of a life too short would cost one request after the other until none is left.
            Ok(granted) => Ok(granted.at_least(self.ledger.shortest_life())),
            Err(cause) => Err(self.grants.diagnose(&self.account, cause, &elsewhere::others(&self.account)).await),
        };
        if asked {
            self.metrics.token_request(&self.account.name, granted.as_ref().err());
        }
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
                self.keep(&granted).await;
                Ok(token)
            }
            Err(cause) => {
                if let Cause::AccountUnauthorised { reason } = &cause {
                    self.keep_refusal(reason).await;
                }
                let (words, problem) = (respond::for_operators(&cause), respond::name(&cause));
                tracing::warn!(account = %self.account.name, problem, cause = words, "could not fetch an access token");
                Err(cause)
            }
        }
    }

    fn adopt(self: &Arc<Self>, state: &mut State, granted: &Granted) -> Result<Token, Cause> {
        let text = Secret::new(format!("Zoho-oauthtoken {}", granted.access_token.expose()));
        let mut header = HeaderValue::try_from(text.expose()).map_err(|_| {
            Cause::UpstreamInvalidResponse(UpstreamFault {
                error: "http_protocol_error",
                server: self.account.endpoints.accounts.authority().to_string(),
                log: "an access token that no header can carry".into(),
                before_the_call: true,
                proxy: None,
            })
        })?;
        header.set_sensitive(true);
        state.generation += 1;
        let fresh_until = granted.expires_at.checked_sub(granted.lifetime / 2).unwrap_or(granted.expires_at);
        let token = Token { header, generation: state.generation, fresh_until };
        let last_moments = LAST_MOMENTS.min(granted.lifetime / 20);
        // A tenth of its life before the end, and up to half as much earlier: many accounts that began together part.
        let early = granted.lifetime / 10 + request::jitter(granted.lifetime / 20);
        let renew_at = granted.expires_at.checked_sub(early).unwrap_or(granted.expires_at);
        let expires_at = granted.expires_at.checked_sub(last_moments).unwrap_or(granted.expires_at);
        state.current = Some(Current { token: token.clone(), renew_at, expires_at });
        // An empty list says nothing: a token that is good for nothing is not granted.
        let scope = granted.scope.as_deref().filter(|scope| !scope.trim().is_empty());
        state.granted_now(scope.map(Scopes::parse));
        self.used.store(false, Ordering::Relaxed);
        let renewal = tokio::spawn(renew(Arc::downgrade(self), token.generation, renew_at));
        state.renewal = Some(AbortOnDropHandle::new(renewal));
        Ok(token)
    }

    /// Leaves the token to the next process, so that a crash costs no request. A store that fails costs one.
    async fn keep(&self, granted: &Granted) {
        let sealed = Seal::of(&self.account).and_then(|seal| seal.seal(granted));
        self.leave(sealed, granted.expires_at).await;
    }

    /// Leaves word that the credentials were refused, unless a token lives that is worth more to the next process.
    /// Otherwise each start would spend a request on them, until nobody hears any more what is wrong.
    async fn keep_refusal(&self, reason: &str) {
        let now = clock::now();
        if self.state.lock().current.as_ref().is_some_and(|current| now < current.expires_at) {
            return;
        }
        let sealed = Seal::of(&self.account).and_then(|seal| seal.seal_refusal(reason));
        self.leave(sealed, now + REFUSAL_KEPT).await;
    }

    /// The process ends because it was told to. Before the next start a person may change something at Zoho, so the next
    /// process tries refused credentials at once; after a crash it does not.
    pub fn ended_on_purpose(&self) {
        let now = clock::now();
        let state = self.state.lock();
        if let (Some(Cause::AccountUnauthorised { reason }), None) = (&state.refused, state.serving(now))
            && let Some(sealed) = Seal::of(&self.account).and_then(|seal| seal.seal_refusal(reason))
        {
            self.journal.keep_token(self.account.name.as_str(), KeptToken { sealed, expires_at: now });
        }
    }

    async fn leave(&self, sealed: Option<Vec<u8>>, expires_at: Instant) {
        if let Some(sealed) = sealed {
            self.journal.keep_token(self.account.name.as_str(), KeptToken { sealed, expires_at });
            // Calls go out before it is certain only if the store fails.
            let _ = self.journal.recorded().await;
        }
    }

    fn interrupted(&self) -> Cause {
        Cause::UpstreamUnreachable(UpstreamFault {
            error: "proxy_internal_error",
            server: self.account.endpoints.accounts.authority().to_string(),
            log: "the token request was broken off".into(),
            before_the_call: true,
            proxy: None,
        })
    }
}

#[cfg(test)]
impl Source {
    pub(super) fn serves_at(&self, moment: Instant) -> bool {
        self.state.lock().serving(moment).is_some()
    }

    pub(super) fn pretend_that_renewal_is_due(&self) {
        if let Some(current) = &mut self.state.lock().current {
            current.renew_at = clock::now();
        }
    }

    pub(super) fn pretend_that_it_ended(&self) {
        self.state.lock().current = None;
    }

    pub(super) fn pretend_that_zoho_called_it_dead(&self) {
        let mut state = self.state.lock();
        (state.current, state.replacing) = (None, true);
    }
}

enum Look {
    Token(Token),
    Refused(Cause),
    Request(watch::Receiver<Progress>),
}

/// Renews a token that is in use when its time comes, before a caller has to ask for it.
async fn renew(source: Weak<Source>, generation: u64, renew_at: Instant) {
    tokio::time::sleep_until(renew_at).await;
    let Some(source) = source.upgrade() else { return };
    let state = source.state.lock();
    let newest = state.current.as_ref().is_some_and(|current| current.token.generation == generation);
    if newest && state.refusal(clock::now()).is_none() && source.used.load(Ordering::Relaxed) {
        source.request();
    }
}
