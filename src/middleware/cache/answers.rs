//! The kept answers: which of them a read can have, and how new ones come in.

use std::{
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use http::{Response, StatusCode};
use moka::{Expiry, future::Cache as Store};
use tokio::sync::Semaphore;

use super::{
    cached_response::{CachedResponse, Circumstances, NotKept},
    epochs::{Epochs, Place},
    key::Key,
    read::{self, Brought, Read},
};
use crate::{
    call::{CacheOutcome, Call, RequestSummary},
    message::body::Body,
    middleware::layer::Inner,
    problem::{Refusal, respond},
    telemetry::Metrics,
};

/// The kept answers of all accounts.
#[derive(Debug)]
pub(super) struct Answers {
    store: Store<Key, Arc<CachedResponse>>,
    pub(super) epochs: Epochs,
    pub(super) metrics: Arc<Metrics>,
}

/// How a shared call ended, for its followers.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    /// With an answer for everybody.
    CachedResponse(Arc<CachedResponse>),
    /// With a good answer that is only for the leader. Waiting for another such call helps nobody.
    Unfit,
    /// With a failure.
    Failed {
        /// It says nothing about the call itself.
        passing: bool,
        /// Where those who shared it line up to try for themselves, so that each failure wakes one of them and not all.
        turns: Arc<Semaphore>,
    },
}

impl Ended {
    fn failed(passing: bool) -> Self {
        Self::Failed { passing, turns: Arc::new(Semaphore::new(1)) }
    }
}

impl Answers {
    /// Keeps up to `max_bytes`.
    pub(super) fn new(max_bytes: u64, metrics: Arc<Metrics>) -> Self {
        let weigh = |key: &Key, kept: &Arc<CachedResponse>| u32::try_from(key.size() + kept.size()).unwrap_or(u32::MAX);
        let store = Store::builder().max_capacity(max_bytes).weigher(weigh).expire_after(Sweep).build();
        Self { store, epochs: Epochs::new(), metrics }
    }

    /// What is kept for this read, and why it cannot be used without asking Zoho, if it cannot (RFC 9211 section 2.2).
    pub(super) async fn look(&self, read: &Read) -> (Option<Arc<CachedResponse>>, Option<&'static str>) {
        let Some(kept) = self.store.get(&read.key).await else { return (None, Some("uri-miss")) };
        if kept.epoch != self.epochs.now(read.place) {
            return (None, Some("stale"));
        }
        if !kept.answers(&read.call.headers) {
            return (None, Some("vary-miss"));
        }
        let why = match kept.age() {
            age if read.directives.accept(age, kept.lifetime) => None,
            age if age < kept.lifetime.fresh => Some("request"),
            _ => Some("stale"),
        };
        (Some(kept), why)
    }

    /// What is kept under a key, if it answers this request in the epoch of its call.
    pub(super) async fn get(&self, key: &Key, asked: &Circumstances) -> Option<Arc<CachedResponse>> {
        self.store.get(key).await.filter(|kept| kept.epoch == asked.epoch && kept.answers(&asked.request))
    }

    /// Makes the call and keeps the answer.
    pub(super) async fn fetch(
        &self,
        key: Key,
        place: Place,
        call: Call,
        circumstances: Circumstances,
        mut inner: impl Inner<Call>,
    ) -> (Ended, Brought) {
        let context = call.context.clone();
        let mut response = match inner.call(call).await {
            Ok(response) => response,
            Err(refusal) => {
                return (Ended::failed(refusal.cause.is_passing()), Brought::Other(Box::new(Err(refusal))));
            }
        };
        let summary = response.extensions_mut().remove::<RequestSummary>();
        match CachedResponse::keep(response, circumstances).await {
            Ok(kept) => {
                let stored = self.store(key, place, &kept).await;
                (Ended::CachedResponse(Arc::clone(&kept)), Brought::Good { kept, stored, summary })
            }
            Err(NotKept::Broken(error)) => {
                let refusal = read::broken(&context, &error);
                (Ended::failed(refusal.cause.is_passing()), Brought::Other(Box::new(Err(refusal))))
            }
            Err(NotKept::Unfit(mut response)) => {
                summary.map(|summary| response.extensions_mut().insert(summary));
                (Ended::Unfit, Brought::Other(Box::new(Ok(response))))
            }
            Err(NotKept::Failure(mut response)) => {
                summary.map(|summary| response.extensions_mut().insert(summary));
                (Ended::failed(is_passing(response.status())), Brought::Other(Box::new(Ok(response))))
            }
        }
    }

    /// Whether later reads can have the answer: no write has overtaken it, and there was space for it.
    async fn store(&self, key: Key, place: Place, kept: &Arc<CachedResponse>) -> bool {
        if !self.epochs.keeps(place, kept.epoch) {
            return false;
        }
        self.store.insert(key.clone(), Arc::clone(kept)).await;
        // The store decides now what gives way, which may be the newcomer.
        self.store.run_pending_tasks().await;
        self.metrics.cache_bytes(self.store.weighted_size());
        self.store.contains_key(&key)
    }

    /// The last answer, when Zoho cannot be asked and the operator and the caller allow it.
    pub(super) async fn excuse(
        &self,
        read: &Read,
        last: Option<Arc<CachedResponse>>,
        failure: &Failure,
    ) -> Option<Response<Body>> {
        // The newest one, if there is one by now; never one that a write has overtaken.
        let kept = self.store.get(&read.key).await.or(last)?;
        let (age, epoch) = (kept.age(), self.epochs.now(read.place));
        if kept.epoch != epoch || !kept.answers(&read.call.headers) {
            return None;
        }
        if read.directives.accept(age, kept.lifetime) {
            return Some(read.hit(&kept));
        }
        if !read.directives.excuse(age, kept.lifetime) {
            return None;
        }
        let (account, route) = read.call.context.names();
        let (age_s, problem) = (age.as_secs(), failure.name);
        tracing::info!(%account, %route, age_s, problem, "a stale answer is served");
        let how = match failure.status {
            _ if !failure.sent => "hit".to_owned(),
            None => "fwd=stale".to_owned(),
            Some(status) => format!("fwd=stale; fwd-status={}", status.as_u16()),
        };
        let how = format!("{how}; ttl={}; detail=stale-if-error", kept.ttl());
        Some(read.served(&kept, &how, CacheOutcome::Stale))
    }
}

/// Why Zoho's fresh answer could not be had, in a way that says nothing about the call itself.
pub(super) struct Failure {
    name: &'static str,
    sent: bool,
    status: Option<StatusCode>,
}

impl Failure {
    pub(super) fn of(outcome: &Result<Response<Body>, Refusal>) -> Option<Self> {
        match outcome {
            Ok(response) if is_passing(response.status()) => {
                Some(Self { name: "zoho", sent: true, status: Some(response.status()) })
            }
            Err(refusal) if refusal.cause.is_passing() => {
                let (name, sent) = (respond::name(&refusal.cause), refusal.cause.may_be_executed());
                Some(Self { name, sent, status: None })
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Of a call that somebody else made.
    pub(super) fn of_another() -> Self {
        Self { name: "collapsed", sent: false, status: None }
    }
}

/// Zoho's own trouble. 429 comes here only where the route has no lock to be kept.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Has moka forget what can serve no more. Whether an answer is fresh is not moka's to say: it follows its own clock.
struct Sweep;

impl Expiry<Key, Arc<CachedResponse>> for Sweep {
    fn expire_after_create(&self, _: &Key, kept: &Arc<CachedResponse>, _: StdInstant) -> Option<Duration> {
        Some(kept.lifetime.whole())
    }

    fn expire_after_update(
        &self,
        _: &Key,
        kept: &Arc<CachedResponse>,
        _: StdInstant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.lifetime.whole())
    }
}
