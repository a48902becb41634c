//! The keys that an issuer publishes.
//!
//! They are fetched at the start, every `refresh`, and at once when a token names an unknown key. Each issuer has one fetch
//! at a time, so that a flood of tokens does not become a flood of fetches. When a fetch fails, the previous keys stay valid.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use http::{Request, StatusCode, Uri};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::jwks::{KeySet, LONGEST_SET};
use crate::{
    message::body::Body,
    middleware::single_flight::{Leader, SingleFlight},
    os::clock,
    telemetry::Metrics,
    upstream::{self, Client},
};

/// How long a fetch may take, and therefore how long a request waits for it.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two fetches for unknown keys, so that invented key ids do not cause a flood of fetches.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(30);

/// The pause after a failed fetch; each further failure doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The keys that one issuer publishes.
#[derive(Debug)]
pub(super) struct Published {
    /// The issuer, by its name in the configuration.
    issuer: String,
    url: Uri,
    refresh: Duration,
    client: Client,
    state: Mutex<FetchState>,
    fetches: SingleFlight<(), ()>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct FetchState {
    /// `None` until the first successful fetch.
    keys: Option<Arc<KeySet>>,
    /// Why the last fetch failed; `None` if it succeeded.
    last_error: Option<String>,
    /// Failed fetches in a row.
    failures: u32,
    /// When an unknown key last caused a fetch.
    last_unknown_key: Option<Instant>,
}

/// A fetch in progress.
#[derive(Debug)]
pub(super) struct Fetch(watch::Receiver<()>);

/// Why there are no keys.
#[derive(Debug)]
pub(super) enum NoKeys {
    /// A fetch is in progress.
    Pending(Fetch),
    /// The last fetch failed.
    Unavailable {
        /// The time until the next fetch.
        retry_after: Duration,
    },
}

/// Whether there are newer keys than a certain set.
#[derive(Debug)]
pub(super) enum NewerKeys {
    /// A fetch has brought newer keys.
    Fetched,
    /// A fetch in progress may bring newer keys.
    Pending(Fetch),
    /// There are none.
    None,
}

impl Published {
    pub(super) fn new(issuer: &str, url: Uri, client: Client, refresh: Duration, metrics: &Arc<Metrics>) -> Arc<Self> {
        let (issuer, metrics) = (issuer.to_owned(), Arc::clone(metrics));
        Arc::new(Self {
            issuer,
            url,
            refresh,
            client,
            state: Mutex::default(),
            fetches: SingleFlight::default(),
            metrics,
        })
    }

    /// The keys of the last successful fetch.
    pub(super) fn keys(self: &Arc<Self>) -> Result<Arc<KeySet>, NoKeys> {
        let state = self.state.lock();
        match (&state.keys, self.current_fetch()) {
            (Some(keys), _) => Ok(Arc::clone(keys)),
            (None, Some(fetch)) => Err(NoKeys::Pending(fetch)),
            // The first token may come before the first fetch.
            (None, None) if state.failures == 0 => Err(NoKeys::Pending(self.fetch())),
            (None, None) => Err(NoKeys::Unavailable { retry_after: state.retry_pause() }),
        }
    }

    /// Whether there are newer keys than `known`, for a token whose key is not among these. Starts a fetch, unless an
    /// unknown key caused one a moment ago.
    pub(super) fn newer_than(self: &Arc<Self>, known: &Arc<KeySet>) -> NewerKeys {
        let mut state = self.state.lock();
        if state.keys.as_ref().is_some_and(|keys| !Arc::ptr_eq(keys, known)) {
            return NewerKeys::Fetched;
        }
        if let Some(fetch) = self.current_fetch() {
            return NewerKeys::Pending(fetch);
        }
        let now = clock::now();
        if state.last_unknown_key.is_some_and(|asked| now < asked + UNKNOWN_KEY_PAUSE) {
            return NewerKeys::None;
        }
        state.last_unknown_key = Some(now);
        tracing::info!(issuer = self.issuer, "a token names an unknown key; fetching the issuer's keys");
        NewerKeys::Pending(self.fetch())
    }

    /// What is wrong with the keys; `ok` when nothing is.
    pub(super) fn health(&self) -> String {
        let state = self.state.lock();
        match (&state.last_error, &state.keys) {
            (Some(last_error), _) => last_error.clone(),
            (None, Some(_)) => "ok".to_owned(),
            (None, None) => "its keys are being fetched".to_owned(),
        }
    }

    /// Fetches the keys again and again.
    pub(super) async fn keep_fetching(self: Arc<Self>) {
        // The first token may have started the fetch already.
        let mut fetch = match self.keys() {
            Err(NoKeys::Pending(fetch)) => Some(fetch),
            Err(NoKeys::Unavailable { .. }) | Ok(_) => None,
        };
        loop {
            if let Some(fetch) = fetch {
                fetch.ended().await;
            }
            let pause = {
                let state = self.state.lock();
                if state.failures == 0 { self.refresh } else { state.retry_pause().min(self.refresh) }
            };
            tokio::time::sleep(pause).await;
            fetch = Some(self.fetch());
        }
    }

    fn current_fetch(&self) -> Option<Fetch> {
        self.fetches.follow(&()).map(Fetch)
    }

    /// The fetch under way, or a new one.
    fn fetch(self: &Arc<Self>) -> Fetch {
        let (client, url, published) = (self.client.clone(), self.url.clone(), Arc::downgrade(self));
        Fetch(self.fetches.join((), (), |leader| run(leader, client, url, published)))
    }

    fn learn(&self, fetched: Result<KeySet, String>) {
        let (issuer, mut state) = (&self.issuer, self.state.lock());
        // An empty set is an error at first; later it means that the issuer has withdrawn all keys.
        let fetched = match (&fetched, &state.keys) {
            (Ok(keys), None) if keys.is_empty() => Err("it publishes no key".to_owned()),
            _ => fetched,
        };
        match fetched {
            Ok(keys) if keys.is_empty() => {
                if state.keys.as_ref().is_some_and(|before| !before.is_empty()) {
                    tracing::warn!(issuer, "the issuer publishes no key; its tokens are rejected until it does");
                }
                state.last_error = Some("it no longer publishes a key".to_owned());
                (state.keys, state.failures) = (Some(Arc::new(keys)), 0);
            }
            Ok(keys) => {
                if state.last_error.take().is_some() || state.keys.is_none() {
                    tracing::info!(issuer, keys = keys.len(), "fetched the issuer's keys");
                }
                (state.keys, state.failures) = (Some(Arc::new(keys)), 0);
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                if state.last_error.as_ref() != Some(&error) {
                    let effect = match &state.keys {
                        Some(_) => "the previous keys stay valid",
                        None => "its callers wait or get issuer-unavailable",
                    };
                    tracing::warn!(issuer, error, "could not fetch an issuer's keys; {effect}");
                }
                state.last_error = Some(error);
            }
        }
    }
}

impl FetchState {
    /// The pause after a failed fetch.
    fn retry_pause(&self) -> Duration {
        FIRST_RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(LONGEST_RETRY)
    }
}

impl Fetch {
    /// Resolves when the fetch has ended, whether it succeeded or failed.
    pub(super) async fn ended(mut self) {
        // Nothing is ever sent; the channel closes at the end.
        while self.0.changed().await.is_ok() {}
    }
}

/// Fetches the keys. Does not own the issuer, so that dropping the issuer ends the fetch.
async fn run(leader: Leader<(), ()>, client: Client, url: Uri, published: Weak<Published>) {
    let fetched = fetched(&client, &url).await;
    if let Some(published) = published.upgrade() {
        published.metrics.issuer_asked(&published.issuer, fetched.is_ok());
        published.learn(fetched);
    }
    drop(leader);
}

async fn fetched(client: &Client, url: &Uri) -> Result<KeySet, String> {
    let server = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let mut request = Request::new(Body::default());
    *request.uri_mut() = url.clone();
    let max_body = usize::try_from(LONGEST_SET).unwrap_or(usize::MAX);
    let fetch = upstream::Fetch { client, server, timeout: FETCH_TIMEOUT, max_body };
    let answer = fetch.send(request, |head| head.status == StatusCode::OK).await;
    let (head, body) = answer.map_err(|failure| failure.for_operators())?;
    // A redirect is not followed: only the configured URL is trusted.
    if head.status != StatusCode::OK {
        return Err(format!("{server} answered with status {}", head.status.as_u16()));
    }
    KeySet::parse(&body).map_err(|error| format!("the answer of {server} {error}"))
}
