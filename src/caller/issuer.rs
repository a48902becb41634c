//! Issuers of tokens: whose tokens are believed, and the keys that they publish.
//!
//! Keys are fetched at the start, every `refresh`, and at once when a token names one that is not there. A fetch is a
//! task of its own, one at a time for each issuer, so that no flood of tokens becomes a flood of fetches. What was
//! fetched serves on when a later fetch fails.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    jwks::{Choice, KeySet, LONGEST_SET},
    token::{BadToken, Token},
};
use crate::{
    body::Body,
    clock,
    refusal::Cause,
    shutdown::Shutdown,
    telemetry::Metrics,
    upstream::{self, Client, ExtraRoots, Failure},
};

/// How long a fetch may take, and so how long a request waits for one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two fetches for keys that are not there: whoever makes up key ids must not make the gateway fetch.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(30);

/// After a fetch that failed: first this long, then each time twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// An issuer as it is configured.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// What the configuration calls it.
    pub name: String,
    /// Its tokens' `iss`, exactly.
    pub issuer: String,
    /// Of which a token's `aud` has to hold one.
    pub audiences: Vec<String>,
    /// What its tokens may be signed by.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are.
    pub keys: KeySource,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// It publishes them there.
    Url {
        /// https, or http on this machine.
        url: Uri,
        /// Trust roots beside the public ones.
        extra_roots: ExtraRoots,
        /// How often they are fetched.
        refresh: Duration,
    },
    /// They stand in a file.
    File {
        /// Which one.
        path: PathBuf,
        /// What it held when the configuration was read.
        keys: KeySet,
    },
}

/// All issuers, by their `iss`. Clones share the keys.
#[derive(Debug, Clone, Default)]
pub struct Issuers(Arc<BTreeMap<String, Arc<Issuer>>>);

/// One issuer and the keys that are known of it.
#[derive(Debug)]
pub(super) struct Issuer {
    settings: IssuerSettings,
    client: Option<Client>,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while none were ever had.
    keys: Option<Arc<KeySet>>,
    /// What is wrong, since the last fetch or reading failed.
    trouble: Option<String>,
    /// Failed fetches in a row.
    failures: u32,
    /// The fetch under way is one whose sender still lives.
    flight: Option<watch::Receiver<()>>,
    /// When a token last named a key that is not there and was fetched for.
    asked_for_unknown: Option<Instant>,
}

/// A fetch under way.
#[derive(Debug)]
pub(super) struct Flight(watch::Receiver<()>);

/// What an issuer has to say to a token.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is good.
    Good,
    /// It is not.
    Bad(BadToken),
    /// That will be known once this fetch has ended.
    Later(Flight),
    /// That cannot be known as long as there are no keys.
    Unavailable {
        /// Until they are fetched again.
        retry_after: Duration,
    },
}

// === impl Issuers ===

impl Issuers {
    /// With the keys that stand in files; the others are yet to be fetched.
    #[must_use]
    pub fn new(settings: Vec<IssuerSettings>, metrics: &Arc<Metrics>) -> Self {
        let issuer = |settings: IssuerSettings| {
            let (client, keys) = match &settings.keys {
                KeySource::Url { extra_roots, .. } => {
                    (Some(upstream::client(upstream::tls(extra_roots), PATIENCE)), None)
                }
                KeySource::File { keys, .. } => (None, Some(Arc::new(keys.clone()))),
            };
            let state = Mutex::new(State { keys, ..State::default() });
            let metrics = Arc::clone(metrics);
            (settings.issuer.clone(), Arc::new(Issuer { settings, client, state, metrics }))
        };
        Self(Arc::new(settings.into_iter().map(issuer).collect()))
    }

    /// Whether no token is ever believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How each stands, by its name in the configuration; `ok` is good.
    pub fn standings(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.values().map(|issuer| (issuer.name(), issuer.standing()))
    }

    pub(super) fn of(&self, iss: &str) -> Option<&Arc<Issuer>> {
        self.0.get(iss)
    }

    /// Reads the files again.
    pub(super) fn reread(&self) {
        self.0.values().for_each(|issuer| issuer.reread());
    }
}

/// Fetches the keys of all issuers until the drain begins.
pub async fn fetch_keys(issuers: Issuers, shutdown: Shutdown) {
    let mut fetching = JoinSet::new();
    for issuer in issuers.0.values() {
        if let KeySource::Url { refresh, .. } = issuer.settings.keys {
            fetching.spawn(Arc::clone(issuer).fetch_every(refresh));
        }
    }
    // Those who are still fetching end with the set.
    shutdown.draining().await;
}

// === impl Issuer ===

impl Issuer {
    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Judges a token that says it is of this issuer. What is wrong with its claims is told before its key is looked for,
    /// so that an old token does not make the gateway fetch.
    pub(super) fn judge(self: &Arc<Self>, token: &Token<'_>, now: SystemTime) -> Verdict {
        let IssuerSettings { audiences, algorithms, .. } = &self.settings;
        if !algorithms.contains(&token.algorithm()) {
            return Verdict::Bad(BadToken::Algorithm);
        }
        if let Err(bad) = token.is_for(audiences, now) {
            return Verdict::Bad(bad);
        }
        loop {
            let keys = {
                let mut state = self.state.lock();
                match &state.keys {
                    Some(keys) => Arc::clone(keys),
                    None => return self.without_keys(&mut state),
                }
            };
            return match keys.choose(token.key_id(), token.algorithm()) {
                Choice::Key(key) => token.is_signed_by(key).map_or_else(Verdict::Bad, |()| Verdict::Good),
                Choice::Unfit => Verdict::Bad(BadToken::Algorithm),
                Choice::Several => Verdict::Bad(BadToken::AmbiguousKey),
                Choice::Unknown => {
                    let mut state = self.state.lock();
                    // A fetch may have ended since the look, and have brought the key.
                    if state.keys.as_ref().is_some_and(|newer| !Arc::ptr_eq(newer, &keys)) {
                        continue;
                    }
                    self.fetch_unknown(&mut state).map_or(Verdict::Bad(BadToken::UnknownKey), Verdict::Later)
                }
            };
        }
    }

    fn without_keys(self: &Arc<Self>, state: &mut State) -> Verdict {
        // The first fetch may not have begun when the first token comes.
        if state.failures == 0 {
            return Verdict::Later(self.fetch(state));
        }
        match state.under_way() {
            Some(flight) => Verdict::Later(flight),
            None => Verdict::Unavailable { retry_after: state.retry() },
        }
    }

    /// A fetch for the sake of a key that is not there, unless there was one a moment ago.
    fn fetch_unknown(self: &Arc<Self>, state: &mut State) -> Option<Flight> {
        self.client.as_ref()?;
        if let Some(flight) = state.under_way() {
            return Some(flight);
        }
        let now = clock::now();
        if state.asked_for_unknown.is_some_and(|asked| now < asked + UNKNOWN_KEY_PAUSE) {
            return None;
        }
        state.asked_for_unknown = Some(now);
        tracing::info!(issuer = self.name(), "a token names a key that is not known; the issuer's keys are fetched");
        Some(self.fetch(state))
    }

    /// The fetch under way, or a new one. It is a task of its own, so that no caller's leaving ends it.
    fn fetch(self: &Arc<Self>, state: &mut State) -> Flight {
        if let Some(flight) = state.under_way() {
            return flight;
        }
        let (under_way, flight) = watch::channel(());
        state.flight = Some(flight.clone());
        let issuer = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = issuer.fetched().await;
            issuer.metrics.issuer_asked(issuer.name(), fetched.is_ok());
            issuer.learn(fetched);
            drop(under_way);
        });
        Flight(flight)
    }

    async fn fetch_every(self: Arc<Self>, refresh: Duration) {
        loop {
            let flight = self.fetch(&mut self.state.lock());
            flight.landed().await;
            let pause = {
                let state = self.state.lock();
                if state.failures == 0 { refresh } else { state.retry().min(refresh) }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn fetched(&self) -> Result<KeySet, String> {
        let (Some(client), KeySource::Url { url, .. }) = (&self.client, &self.settings.keys) else {
            return Err("its keys are in a file".to_owned());
        };
        let server = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let mut request = Request::new(Body::default());
        *request.uri_mut() = url.clone();
        let exchange = async {
            let response = client.request(request).await.map_err(|error| Failure::of(&error, server, 0).cause);
            let response = response.map_err(|cause| words(&cause))?;
            // Nor is a redirect followed: what the configuration names is what is trusted.
            if response.status() != StatusCode::OK {
                return Err(format!("{server} answered with status {}", response.status().as_u16()));
            }
            let longest = usize::try_from(LONGEST_SET).unwrap_or(usize::MAX);
            let body = Limited::new(response.into_body(), longest).collect().await;
            let body = body.map_err(|_| format!("{server} gave no whole answer of at most {LONGEST_SET} bytes"))?;
            KeySet::parse(&body.to_bytes()).map_err(|error| format!("the answer of {server} {error}"))
        };
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(format!("{server} gave no answer in time")))
    }

    /// Reads the file again, if the keys stand in one.
    fn reread(&self) {
        if let KeySource::File { path, .. } = &self.settings.keys {
            self.learn(KeySet::in_file(path).map_err(|error| error.to_string()));
        }
    }

    fn learn(&self, keys: Result<KeySet, String>) {
        let mut state = self.state.lock();
        match keys {
            Ok(keys) => {
                if state.trouble.take().is_some() || state.keys.is_none() {
                    tracing::info!(issuer = self.name(), keys = keys.len(), "the issuer's keys are known");
                }
                (state.keys, state.failures) = (Some(Arc::new(keys)), 0);
            }
            Err(trouble) => {
                state.failures = state.failures.saturating_add(1);
                if state.trouble.as_ref() != Some(&trouble) {
                    let issuer = self.name();
                    match &state.keys {
                        Some(keys) => {
                            let keys = keys.len();
                            tracing::warn!(
                                issuer,
                                error = trouble,
                                keys,
                                "an issuer's keys could not be had; those before go on"
                            );
                        }
                        None => {
                            tracing::warn!(
                                issuer,
                                error = trouble,
                                "an issuer's keys could not be had; its callers wait or hear issuer-unavailable"
                            );
                        }
                    }
                }
                state.trouble = Some(trouble);
            }
        }
    }

    fn standing(&self) -> String {
        let state = self.state.lock();
        match (&state.trouble, &state.keys) {
            (Some(trouble), _) => trouble.clone(),
            (None, Some(_)) => "ok".to_owned(),
            (None, None) => "its keys are being fetched".to_owned(),
        }
    }
}

impl State {
    fn under_way(&self) -> Option<Flight> {
        self.flight.as_ref().filter(|flight| flight.has_changed().is_ok()).cloned().map(Flight)
    }

    /// How long after a failed fetch the next one goes.
    fn retry(&self) -> Duration {
        FIRST_RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(LONGEST_RETRY)
    }
}

impl Flight {
    /// Resolves when the fetch has ended, whatever it brought.
    pub(super) async fn landed(mut self) {
        // Nothing is ever sent; what is waited for is the sender's end.
        while self.0.changed().await.is_ok() {}
    }
}

/// For operators: what kept an answer from coming.
fn words(cause: &Cause) -> String {
    match cause {
        Cause::UpstreamUnreachable(fault) | Cause::UpstreamInvalidResponse(fault) | Cause::UpstreamTimeout(fault) => {
            format!("{}: {} ({})", fault.server, fault.error, fault.log)
        }
        _ => "the request could not be sent".to_owned(),
    }
}
