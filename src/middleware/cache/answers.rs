//! The stored answers: which of them a read can have, and how new ones are stored.

use std::{
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use http::{Response, StatusCode};
use moka::{Expiry, future::Cache as Store};
use tokio::sync::Semaphore;

use super::{
    cached_response::{CachedResponse, NotStorable, StoreContext},
    epochs::Epochs,
    key::Key,
    read::{self, Fetched, Read},
};
use crate::{
    call::{CacheOutcome, Call, RequestSummary},
    message::body::Body,
    middleware::layer::Inner,
    problem::{Refusal, respond},
    telemetry::Metrics,
};

/// The stored answers of all accounts.
#[derive(Debug)]
pub(super) struct Answers {
    store: Store<Key, Arc<CachedResponse>>,
    pub(super) epochs: Epochs,
    pub(super) metrics: Arc<Metrics>,
}

/// How a shared call ended, for its followers.
#[derive(Debug, Clone)]
pub(super) enum CallResult {
    /// With an answer for all readers.
    Cached(Arc<CachedResponse>),
    /// With a good answer that only the leader can have. Further shared calls would end alike.
    NotShareable,
    /// With a failure.
    Failed {
        /// Whether Zoho or the gateway failed, and not the call itself.
        passing: bool,
        /// The followers wait for this permit to make the next call, so that a failure wakes one of them, not all.
        next_caller: Arc<Semaphore>,
    },
}

impl CallResult {
    fn failed(passing: bool) -> Self {
        Self::Failed { passing, next_caller: Arc::new(Semaphore::new(1)) }
    }
}

impl Answers {
    /// Stores up to `max_bytes`.
    pub(super) fn new(max_bytes: u64, metrics: Arc<Metrics>) -> Self {
        let weigh =
            |key: &Key, answer: &Arc<CachedResponse>| u32::try_from(key.size() + answer.size()).unwrap_or(u32::MAX);
        let store = Store::builder().max_capacity(max_bytes).weigher(weigh).expire_after(Sweep).build();
        Self { store, epochs: Epochs::new(), metrics }
    }

    /// The stored answer for this read, and why it cannot be used without asking Zoho, if so (RFC 9211 section 2.2).
    pub(super) async fn lookup(&self, read: &Read) -> (Option<Arc<CachedResponse>>, Option<&'static str>) {
        let Some(answer) = self.store.get(&read.key).await else { return (None, Some("uri-miss")) };
        if answer.epoch != self.epochs.now(read.depends_on) {
            return (None, Some("stale"));
        }
        if !answer.answers(&read.call.headers) {
            return (None, Some("vary-miss"));
        }
        let why = match answer.age() {
            age if read.directives.accept(age, answer.lifetime) => None,
            age if age < answer.lifetime.fresh => Some("request"),
            _ => Some("stale"),
        };
        (Some(answer), why)
    }

    /// The stored answer for a call, if it is of the same epoch.
    pub(super) async fn get(&self, context: &StoreContext) -> Option<Arc<CachedResponse>> {
        let answer = self.store.get(&context.key).await;
        answer.filter(|answer| answer.epoch == context.epoch && answer.answers(&context.request))
    }

    /// Makes the call and stores the answer.
    pub(super) async fn fetch(
        &self,
        call: Call,
        context: StoreContext,
        mut inner: impl Inner<Call>,
    ) -> (CallResult, Fetched) {
        let call_context = call.context.clone();
        let refused =
            |refusal: Refusal| (CallResult::failed(refusal.cause.is_passing()), Fetched::Other(Box::new(Err(refusal))));
        let mut response = match inner.call(call).await {
            Ok(response) => response,
            Err(refusal) => return refused(refusal),
        };
        let summary = response.extensions_mut().remove::<RequestSummary>();
        let (result, mut response) = match CachedResponse::read(response, &context).await {
            Ok(answer) => {
                let stored = self.store(context, &answer).await;
                return (CallResult::Cached(Arc::clone(&answer)), Fetched::New { answer, stored, summary });
            }
            Err(NotStorable::Broken(error)) => return refused(read::broken(&call_context, &error)),
            Err(NotStorable::NotShareable(response)) => (CallResult::NotShareable, response),
            Err(NotStorable::Failure(response)) => (CallResult::failed(is_passing(response.status())), response),
        };
        summary.map(|summary| response.extensions_mut().insert(summary));
        (result, Fetched::Other(Box::new(Ok(response))))
    }

    /// Stores an answer. Returns whether later reads can have it: no write came between, and there was space.
    async fn store(&self, StoreContext { key, depends_on, .. }: StoreContext, answer: &Arc<CachedResponse>) -> bool {
        if !self.epochs.may_store(depends_on, answer.epoch) {
            return false;
        }
        self.store.insert(key.clone(), Arc::clone(answer)).await;
        // Now the store evicts entries, perhaps the new one.
        self.store.run_pending_tasks().await;
        self.metrics.cache_bytes(self.store.weighted_size());
        self.store.contains_key(&key)
    }

    /// The last answer, if Zoho cannot answer and the operator and the caller allow a stale one.
    pub(super) async fn serve_stale(
        &self,
        read: &Read,
        last: Option<Arc<CachedResponse>>,
        reason: &StaleReason,
    ) -> Option<Response<Body>> {
        // Preferably the newest one; never one from before a write.
        let answer = self.store.get(&read.key).await.or(last)?;
        let (age, epoch) = (answer.age(), self.epochs.now(read.depends_on));
        if answer.epoch != epoch || !answer.answers(&read.call.headers) {
            return None;
        }
        if read.directives.accept(age, answer.lifetime) {
            return Some(read.hit(&answer));
        }
        if !read.directives.accept_stale(age, answer.lifetime) {
            return None;
        }
        let (account, route) = read.call.context.names();
        let (age_s, problem) = (age.as_secs(), reason.name);
        tracing::info!(%account, %route, age_s, problem, "a stale answer is served");
        let how = match reason.status {
            _ if !reason.sent => "hit".to_owned(),
            None => "fwd=stale".to_owned(),
            Some(status) => format!("fwd=stale; fwd-status={}", status.as_u16()),
        };
        let how = format!("{how}; ttl={}; detail=stale-if-error", answer.ttl());
        Some(read.served(&answer, &how, CacheOutcome::Stale))
    }
}

/// Why a stale answer may be served: a failure that says nothing about the call itself.
pub(super) struct StaleReason {
    /// The problem's name, for the log.
    name: &'static str,
    /// Whether the call was sent.
    sent: bool,
    /// The status of Zoho's answer, if there was one.
    status: Option<StatusCode>,
}

impl StaleReason {
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

    /// The failure of a call that another read started.
    pub(super) fn of_shared_call() -> Self {
        Self { name: "collapsed", sent: false, status: None }
    }
}

/// Whether a status reports a failure of Zoho itself. A 429 arrives here only if the route does not observe locks.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Lets moka remove answers that can never be used again. It does not decide freshness, because moka has its own clock.
struct Sweep;

impl Expiry<Key, Arc<CachedResponse>> for Sweep {
    fn expire_after_create(&self, _: &Key, answer: &Arc<CachedResponse>, _: StdInstant) -> Option<Duration> {
        Some(answer.lifetime.whole())
    }

    fn expire_after_update(
        &self,
        _: &Key,
        answer: &Arc<CachedResponse>,
        _: StdInstant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(answer.lifetime.whole())
    }
}
