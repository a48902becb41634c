//! The keys that an issuer publishes.
//!
//! They are fetched at the start, every `refresh`, and at once when a token names one that is not there. Each issuer has one
//! fetch at a time, so that a flood of tokens does not become a flood of fetches. What was fetched serves on when a later
//! fetch fails.

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

/// How long a fetch may take, and so how long a request waits for one.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Between two fetches for unknown keys: a caller that makes up key ids must not make the gateway fetch.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(30);

/// After a fetch that failed: first this long, then each time twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The keys of one issuer, as far as they were fetched.
#[derive(Debug)]
pub(super) struct Published {
    /// The issuer, by its name in the configuration.
    issuer: String,
    url: Uri,
    refresh: Duration,
    client: Client,
    state: Mutex<State>,
    fetches: SingleFlight<(), ()>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while none were ever had.
    keys: Option<Arc<KeySet>>,
    /// What is wrong, since the last fetch failed.
    trouble: Option<String>,
    /// Failed fetches in a row.
    failures: u32,
    /// When a token last named a key that is not there and was fetched for.
    asked_for_unknown: Option<Instant>,
}

/// A fetch under way.
#[derive(Debug)]
pub(super) struct Fetch(watch::Receiver<()>);

/// Why there are no keys to hold a token to.
#[derive(Debug)]
pub(super) enum NoKeys {
    /// They are being fetched.
    Yet(Fetch),
    /// They could not be had.
    Unavailable {
        /// Until they are fetched again.
        retry_after: Duration,
    },
}

/// What there is beyond the keys that somebody has looked at.
#[derive(Debug)]
pub(super) enum Beyond {
    /// Newer ones, which a fetch has brought since.
    Newer,
    /// A fetch, which may bring some.
    Fetch(Fetch),
    /// Nothing.
    Nothing,
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

    /// The keys that are known, if any ever were.
    pub(super) fn keys(self: &Arc<Self>) -> Result<Arc<KeySet>, NoKeys> {
        let state = self.state.lock();
        match (&state.keys, self.under_way()) {
            (Some(keys), _) => Ok(Arc::clone(keys)),
            (None, Some(fetch)) => Err(NoKeys::Yet(fetch)),
            // The first fetch may not have begun when the first token comes.
            (None, None) if state.failures == 0 => Err(NoKeys::Yet(self.fetch())),
            (None, None) => Err(NoKeys::Unavailable { retry_after: state.retry() }),
        }
    }

    /// What there is for a token whose key is not among those that are `known`. They are fetched for its sake, unless they
    /// were a moment ago.
    pub(super) fn beyond(self: &Arc<Self>, known: &Arc<KeySet>) -> Beyond {
        let mut state = self.state.lock();
        if state.keys.as_ref().is_some_and(|keys| !Arc::ptr_eq(keys, known)) {
            return Beyond::Newer;
        }
        if let Some(fetch) = self.under_way() {
            return Beyond::Fetch(fetch);
        }
        let now = clock::now();
        if state.asked_for_unknown.is_some_and(|asked| now < asked + UNKNOWN_KEY_PAUSE) {
            return Beyond::Nothing;
        }
        state.asked_for_unknown = Some(now);
        tracing::info!(issuer = self.issuer, "a token names a key that is not known; the issuer's keys are fetched");
        Beyond::Fetch(self.fetch())
    }

    /// How they stand; `ok` is good.
    pub(super) fn standing(&self) -> String {
        let state = self.state.lock();
        match (&state.trouble, &state.keys) {
            (Some(trouble), _) => trouble.clone(),
            (None, Some(_)) => "ok".to_owned(),
            (None, None) => "its keys are being fetched".to_owned(),
        }
    }

    /// Fetches them for as long as it is polled.
    pub(super) async fn keep_fetching(self: Arc<Self>) {
        // The first token may have been faster, and have had them fetched.
        let mut under_way = match self.keys() {
            Err(NoKeys::Yet(fetch)) => Some(fetch),
            Err(NoKeys::Unavailable { .. }) | Ok(_) => None,
        };
        loop {
            if let Some(fetch) = under_way {
                fetch.ended().await;
            }
            let pause = {
                let state = self.state.lock();
                if state.failures == 0 { self.refresh } else { state.retry().min(self.refresh) }
            };
            tokio::time::sleep(pause).await;
            under_way = Some(self.fetch());
        }
    }

    fn under_way(&self) -> Option<Fetch> {
        self.fetches.follow(&()).map(Fetch)
    }

    /// The fetch under way, or a new one.
    fn fetch(self: &Arc<Self>) -> Fetch {
        let (client, url, published) = (self.client.clone(), self.url.clone(), Arc::downgrade(self));
        Fetch(self.fetches.join((), (), |leader| run(leader, client, url, published)))
    }

    fn learn(&self, fetched: Result<KeySet, String>) {
        let (issuer, mut state) = (&self.issuer, self.state.lock());
        // Before its first key an issuer is not heard yet; afterwards it has withdrawn them all.
        let fetched = match (&fetched, &state.keys) {
            (Ok(keys), None) if keys.is_empty() => Err("it publishes no key".to_owned()),
            _ => fetched,
        };
        match fetched {
            Ok(keys) if keys.is_empty() => {
                if state.keys.as_ref().is_some_and(|before| !before.is_empty()) {
                    tracing::warn!(
                        issuer,
                        "the issuer publishes no key any more; none of its tokens is believed until it does"
                    );
                }
                state.trouble = Some("it publishes no key any more".to_owned());
                (state.keys, state.failures) = (Some(Arc::new(keys)), 0);
            }
            Ok(keys) => {
                if state.trouble.take().is_some() || state.keys.is_none() {
                    tracing::info!(issuer, keys = keys.len(), "the issuer's keys are known");
                }
                (state.keys, state.failures) = (Some(Arc::new(keys)), 0);
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                if state.trouble.as_ref() != Some(&error) {
                    let so = match &state.keys {
                        Some(_) => "those before go on",
                        None => "its callers wait or hear issuer-unavailable",
                    };
                    tracing::warn!(issuer, error, "an issuer's keys could not be had; {so}");
                }
                state.trouble = Some(error);
            }
        }
    }
}

impl State {
    /// How long after a failed fetch the next one goes.
    fn retry(&self) -> Duration {
        FIRST_RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(LONGEST_RETRY)
    }
}

impl Fetch {
    /// Resolves when the fetch has ended, whatever it brought.
    pub(super) async fn ended(mut self) {
        // Nothing is ever sent: the channel closes at the end.
        while self.0.changed().await.is_ok() {}
    }
}

/// Does not own the issuer, so that the issuer's end ends the fetch.
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
    let fetch = upstream::Fetch { client, server, timeout: PATIENCE, max_body };
    let answer = fetch.send(request, |head| head.status == StatusCode::OK).await;
    let (head, body) = answer.map_err(|failure| failure.for_operators())?;
    // A redirect is not followed: only the configured URL is trusted.
    if head.status != StatusCode::OK {
        return Err(format!("{server} answered with status {}", head.status.as_u16()));
    }
    KeySet::parse(&body).map_err(|error| format!("the answer of {server} {error}"))
}
