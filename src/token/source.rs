//! The access token of one account: fetched once for everybody who waits, renewed a little early.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{
    elsewhere,
    flight::{self, Progress},
    grant::{Granted, Grants},
    limits::{Purpose, TokenLedger},
    seal::{Seal, Unsealed},
};
use crate::{
    account::Account,
    call::Token,
    catalogue::{Route, RouteId, Scopes},
    clock,
    ledger::Journal,
    refusal::{Cause, ScopeEvidence, UpstreamFault},
    reread::Reread,
    respond,
    secret::Secret,
    store::KeptToken,
    telemetry::Metrics,
};

/// After a failed early renewal the old token serves on and the next attempt waits this long.
const RENEWAL_PAUSE: Duration = Duration::from_secs(20);

/// After a request that was spent on no answer or a senseless one, the next waits: first this long, then each time twice
/// as long. Otherwise a moment's outage would cost all ten requests, and with them ten minutes.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 60);

/// A token this close to its end may die on the way to Zoho and is no longer handed out.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

/// When even a new token is called dead before it ever worked, the fault is elsewhere (a wrong data centre, say), and
/// replacing each would only spend the ten requests. Then one is replaced in this span.
const DOUBT_PAUSE: Duration = Duration::from_secs(60);

/// For how long processes to come believe a refusal: as long as Zoho counts token requests.
const REFUSAL_KEPT: Duration = Duration::from_secs(10 * 60);

/// One account's token.
#[derive(Debug)]
pub struct Source {
    account: Arc<Account>,
    grants: Grants,
    ledger: TokenLedger,
    journal: Journal,
    state: Mutex<State>,
    /// The newest generation that Zoho took.
    proven: AtomicU64,
    /// Somebody asked since the token was granted. What nobody uses need not be kept fresh.
    used: AtomicBool,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    generation: u64,
    flight: Option<watch::Receiver<Progress>>,
    /// The token before the next one was called dead.
    replacing: bool,
    /// Until then no token is replaced that never worked.
    doubt_until: Option<Instant>,
    /// Failed requests in a row, and until when none is made after the last of them.
    failures: u32,
    pause: Option<(Instant, Cause)>,
    /// Zoho does not take the credentials: it is not asked again until they change.
    refused: Option<Cause>,
    /// Until when that holds, where an earlier process was told: a person who starts anew may mean to try anew.
    refused_until: Option<Instant>,
    /// Why the last request brought no token.
    trouble: Option<Cause>,
    /// The routes that its token lacks a scope for, by what is known of it.
    lacking: BTreeMap<RouteId, Cause>,
    /// What the newest token may be used for; `None` before the first, and where Zoho does not say.
    granted: Option<Scopes>,
}

#[derive(Debug)]
struct Current {
    token: Token,
    renew_at: Instant,
    expires_at: Instant,
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
        let source = Arc::new(Self {
            account,
            grants,
            ledger,
            journal,
            state: Mutex::default(),
            proven: AtomicU64::new(0),
            used: AtomicBool::new(false),
            metrics,
        });
        if let Some(kept) = kept
            && let Some(unsealed) = Seal::of(&source.account).and_then(|seal| seal.open(&kept.sealed))
        {
            let (mut state, expires_at) = (source.state.lock(), kept.expires_at);
            match unsealed {
                Unsealed::Token { access_token, lifetime, scope } => {
                    // What no header can carry was never kept.
                    let _ = source.adopt(&mut state, &Granted { access_token, expires_at, lifetime, scope });
                }
                Unsealed::Refused(reason) => {
                    state.refused = Some(Cause::AccountUnauthorised { reason });
                    state.refused_until = Some(expires_at);
                }
            }
        }
        source
    }

    /// A token that lives, waiting for one if need be: for as long as one attempt takes, and until `deadline` for
    /// further ones if the accounts server cannot be reached. Leaving early does not disturb the flight.
    ///
    /// # Errors
    /// The cause that the caller is refused with.
    pub async fn token(self: &Arc<Self>, deadline: Instant) -> Result<Token, Cause> {
        self.used.store(true, Ordering::Relaxed);
        match self.look() {
            Look::Token(token) => Ok(token),
            Look::Refused(cause) => Err(cause),
            Look::Flight(flight) => {
                let server = self.account.endpoints.accounts.authority().as_str();
                flight::landing(flight, deadline, server).await.unwrap_or_else(|| Err(self.interrupted()))
            }
        }
    }

    /// Zoho took the token of this generation.
    pub fn alive(&self, generation: u64) {
        self.proven.fetch_max(generation, Ordering::Relaxed);
    }

    /// Zoho said that the token of this generation is dead. Said again of the same token, it changes nothing.
    /// Whether there is another token to try.
    pub fn dead(&self, generation: u64) -> bool {
        let now = clock::now();
        let mut state = self.state.lock();
        if state.current.as_ref().is_none_or(|current| current.token.generation != generation) {
            return true;
        }
        if self.proven.load(Ordering::Relaxed) < generation {
            if state.doubt_until.is_some_and(|until| now < until) {
                tracing::warn!(account = %self.account.name, generation, "Zoho takes no token of this account; is data_center right?");
                return false;
            }
            state.doubt_until = Some(now + DOUBT_PAUSE);
        }
        state.current = None;
        state.replacing = true;
        tracing::info!(account = %self.account.name, generation, "Zoho says the access token is dead");
        true
    }

    /// How the account stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let state = self.state.lock();
        let words = |cause: &Cause| format!("{}: {}", respond::name(cause), respond::for_operators(cause));
        // While a token lives, calls go: that no other could be had is a trouble to come.
        let serves = state.current.as_ref().is_some_and(|current| clock::now() < current.expires_at);
        if let Some(cause) = &state.refused
            && !serves
        {
            return Standing::Refused(words(cause));
        }
        let lacking = state.lacking.iter().map(|(route, cause)| format!("{route}: {}", words(cause)));
        let troubles: Vec<_> = state.trouble.iter().map(words).chain(lacking).collect();
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
            (state.refused, state.pause, state.doubt_until, state.trouble) = (None, None, None, None);
            state.refused_until = None;
            state.lacking.clear();
            // Another login may have been granted more; until it has brought a token, Zoho decides.
            state.granted = None;
            self.flight(&mut state);
        }
    }

    fn look(self: &Arc<Self>) -> Look {
        let now = clock::now();
        let mut state = self.state.lock();
        let serving = state.current.as_ref().filter(|current| now < current.expires_at);
        if let Some((token, due)) = serving.map(|current| (current.token.clone(), now >= current.renew_at)) {
            if due && state.refused.is_none() {
                self.flight(&mut state);
            }
            return Look::Token(token);
        }
        if state.refused_until.is_some_and(|until| until <= now) {
            (state.refused, state.refused_until) = (None, None);
        }
        if let Some(cause) = &state.refused {
            return Look::Refused(cause.clone());
        }
        match &state.pause {
            Some((until, cause)) if now < *until => Look::Refused(cause.clone()),
            _ => Look::Flight(self.flight(&mut state)),
        }
    }

    /// The flight under way, or a new one. It is a task of its own, so that no caller's leaving ends it.
    fn flight(self: &Arc<Self>, state: &mut State) -> watch::Receiver<Progress> {
        if let Some(flight) = &state.flight {
            return flight.clone();
        }
        let (progress, flight) = watch::channel(Progress::Flying);
        state.flight = Some(flight.clone());
        let source = Arc::clone(self);
        tokio::spawn(async move {
            // Were the task to end early, the flight must not stay in the way of the next one.
            let landing = Landing { source: &source };
            flight::fly(&source, &progress, landing).await;
        });
        flight
    }

    /// One request, and what follows from it.
    pub(super) async fn fetch(self: &Arc<Self>) -> Result<Token, Cause> {
        let purpose = if self.state.lock().replacing { Purpose::Replacement } else { Purpose::Renewal };
        let permit = self.ledger.permit(purpose).await;
        let asked = permit.is_ok();
        let granted = match permit {
            Ok(permit) => self.grants.refresh(&self.account, permit).await,
            Err(cause) => Err(cause),
        };
        let granted = match granted {
            Err(cause) => Err(self.grants.diagnose(&self.account, cause, &elsewhere::others(&self.account)).await),
            granted => granted,
        };
        if asked {
            self.metrics.token_request(&self.account.name, granted.as_ref().err());
        }
        let adopted = {
            let mut state = self.state.lock();
            let adopted = granted.and_then(|granted| self.adopt(&mut state, &granted).map(|token| (token, granted)));
            match &adopted {
                Ok(_) => (state.failures, state.pause, state.trouble, state.replacing) = (0, None, None, false),
                Err(cause) => state.failed(cause),
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
            })
        })?;
        header.set_sensitive(true);
        state.generation += 1;
        let token = Token { header, generation: state.generation };
        let last_moments = LAST_MOMENTS.min(granted.lifetime / 20);
        // A tenth of its life before the end, and up to half as much earlier: many accounts that began together part.
        let early = granted.lifetime / 10 + flight::jitter(granted.lifetime / 20);
        let renew_at = granted.expires_at.checked_sub(early).unwrap_or(granted.expires_at);
        let expires_at = granted.expires_at.checked_sub(last_moments).unwrap_or(granted.expires_at);
        state.current = Some(Current { token: token.clone(), renew_at, expires_at });
        // An empty list says nothing: a token that is good for nothing is not granted.
        let scope = granted.scope.as_deref().filter(|scope| !scope.trim().is_empty());
        state.granted_now(scope.map(Scopes::parse));
        self.used.store(false, Ordering::Relaxed);
        tokio::spawn(renew(Arc::downgrade(self), token.generation, renew_at));
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
        })
    }
}

impl State {
    /// What was granted with a token. Whatever it suffices for is lacking no more, unless it was Zoho who said so.
    fn granted_now(&mut self, granted: Option<Scopes>) {
        if let Some(granted) = &granted {
            self.lacking.retain(|_, cause| match cause {
                Cause::ScopeMissing { scopes, evidence: ScopeEvidence::Granted(_) } => !granted.suffice(scopes),
                _ => true,
            });
        }
        self.granted = granted;
    }

    fn failed(&mut self, cause: &Cause) {
        self.trouble = Some(cause.clone());
        if let Cause::AccountUnauthorised { .. } | Cause::WrongDataCenter { .. } = cause {
            // The old token, if there is one, serves on until it ends.
            (self.refused, self.refused_until) = (Some(cause.clone()), None);
        }
        if let Cause::UpstreamInvalidResponse(_) | Cause::UpstreamTimeout(_) = cause {
            let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
            self.failures += 1;
            self.pause = Some((clock::now() + pause, cause.clone()));
        }
        if let Some(current) = &mut self.current {
            current.renew_at = clock::now() + RENEWAL_PAUSE;
        }
    }
}

#[cfg(test)]
impl Source {
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
    Flight(watch::Receiver<Progress>),
}

/// Renews a token that is in use when its time comes, before a caller has to ask for it.
async fn renew(source: Weak<Source>, generation: u64, renew_at: Instant) {
    tokio::time::sleep_until(renew_at).await;
    let Some(source) = source.upgrade() else { return };
    let mut state = source.state.lock();
    let newest = state.current.as_ref().is_some_and(|current| current.token.generation == generation);
    if newest && state.refused.is_none() && source.used.load(Ordering::Relaxed) {
        source.flight(&mut state);
    }
}

/// Clears the flight when it ends, however it ends.
pub(super) struct Landing<'a> {
    source: &'a Source,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.source.state.lock().flight = None;
    }
}
