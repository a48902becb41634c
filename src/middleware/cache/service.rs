//! Answers a read from the cache, or asks Zoho and keeps the answer.

use std::{
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use http::{Method, Response, StatusCode};
use moka::{Expiry, future::Cache as Store};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    cached_response::{CachedResponse, Circumstances, NotKept},
    epochs::{Epochs, Place},
    flights::{Boarded, Flights, Ride},
    key::Key,
    read::{self, Brought, Read, marked},
};
use crate::{
    call::{CacheOutcome, Call, RequestSummary},
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::clock,
    problem::{Cause, Refusal, ratelimit, respond},
    telemetry::Metrics,
};

/// The kept answers, and the calls under way for new ones.
#[derive(Debug)]
pub struct Cache {
    store: Store<Key, Arc<CachedResponse>>,
    flights: Flights<(Key, u64), Landed>,
    epochs: Epochs,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

/// How a flight landed, for those who did not start it.
#[derive(Debug, Clone)]
enum Landed {
    /// With an answer for everybody.
    CachedResponse(Arc<CachedResponse>),
    /// With a good answer that is only for the one who started it. Waiting for another such flight helps nobody.
    Unfit,
    /// With a failure.
    Failed {
        /// It says nothing about the call itself.
        passing: bool,
        /// Where those who shared it line up to try for themselves, so that each failure wakes one of them and not all.
        turns: Arc<Semaphore>,
    },
}

impl Landed {
    fn failed(passing: bool) -> Self {
        Self::Failed { passing, turns: Arc::new(Semaphore::new(1)) }
    }
}

impl Cache {
    /// Keeps up to `max_bytes`. A caller that shares another's call waits as long as for its own: for a slot until its
    /// deadline, and then for an answer at most `timeout`.
    #[must_use]
    pub fn layer(max_bytes: u64, timeout: Duration, metrics: Arc<Metrics>) -> MiddlewareLayer<Self> {
        let weigh = |key: &Key, kept: &Arc<CachedResponse>| u32::try_from(key.size() + kept.size()).unwrap_or(u32::MAX);
        let store = Store::builder().max_capacity(max_bytes).weigher(weigh).expire_after(Sweep).build();
        let (flights, epochs) = (Flights::new(), Epochs::new());
        MiddlewareLayer::new(Self { store, flights, epochs, timeout, metrics })
    }
}

impl<S: Inner<Call>> Middleware<Call, S> for Cache {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, call: Call, inner: &mut S) -> BoxFuture {
        if !call.changes_nothing() {
            let write = self.epochs.write(&call);
            let executed = inner.call(call);
            return Box::pin(async move {
                let outcome = executed.await;
                match &outcome {
                    // Also a report of failure: half of it may be executed. Behind a server's error it may go on.
                    Ok(response) if !response.status().is_server_error() => write.settled(),
                    Ok(_) | Err(_) => drop(write),
                }
                outcome
            });
        }
        if !matches!(call.method, Method::GET | Method::HEAD) || call.context.route.cache.is_zero() {
            return inner.call(call);
        }
        let (cache, inner) = (Arc::clone(self), inner.clone());
        Box::pin(async move {
            let outcome = cache.read(call, inner).await;
            let told = match &outcome {
                Ok(response) => response.extensions().get::<CacheOutcome>().copied(),
                Err(refusal) if matches!(*refusal.cause, Cause::NotCached) => Some(CacheOutcome::NotCached),
                Err(_) => None,
            };
            cache.metrics.cache(told.unwrap_or(CacheOutcome::Miss));
            outcome
        })
    }
}

impl Cache {
    async fn read(self: &Arc<Self>, call: Call, mut inner: impl Inner<Call>) -> Result<Response<Body>, Refusal> {
        let place = self.epochs.place(&call);
        let read = Read::new(call, place);
        let directives = read.directives;
        if directives.no_store || !read.is_plain() {
            if directives.only_if_cached {
                return Err(Refusal::from(Cause::NotCached).of(&read.call.context));
            }
            let response = inner.call(read.call).await?;
            return Ok(marked(response, "fwd=bypass", CacheOutcome::Bypass));
        }
        let (kept, why) = self.look(&read).await;
        if let (Some(kept), None) = (&kept, why) {
            return Ok(read.hit(kept));
        }
        if directives.only_if_cached {
            return Err(Refusal::from(Cause::NotCached).of(&read.call.context));
        }
        let outcome = self.ask(&read, inner, why.unwrap_or("uri-miss")).await;
        let Some(failure) = Failure::of(&outcome) else { return outcome };
        let Some(mut stale) = self.excuse(&read, kept, &failure).await else { return outcome };
        if let Ok(failed) = outcome {
            // That call did spend a slot.
            let limits = failed.headers().iter().filter(|(name, _)| ratelimit::FIELDS.contains(name));
            stale.headers_mut().extend(limits.map(|(name, value)| (name.clone(), value.clone())));
        }
        Ok(stale)
    }

    /// What is kept for this read, and why it cannot be used without asking Zoho, if it cannot (RFC 9211 section 2.2).
    async fn look(&self, read: &Read) -> (Option<Arc<CachedResponse>>, Option<&'static str>) {
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

    /// Has Zoho asked, by a call of one's own or with others.
    async fn ask(
        self: &Arc<Self>,
        read: &Read,
        mut inner: impl Inner<Call>,
        why: &str,
    ) -> Result<Response<Body>, Refusal> {
        let missed = |response| marked(response, &format!("fwd={why}"), CacheOutcome::Miss);
        let deadline = read.call.deadline;
        if read.call.method != Method::GET {
            return inner.call(read.own()).await.map(missed);
        }
        let mut turn = None;
        loop {
            let shared = read.shared();
            let epoch = self.epochs.now(read.place);
            let circumstances = Circumstances {
                request: read.call.headers.clone(),
                epoch,
                lifetime: read.lifetime,
                patience: self.timeout,
            };
            if read.directives.want_an_own_answer(read.lifetime) {
                let (_, brought) = self.fetch(read.key.clone(), read.place, shared, circumstances, inner).await;
                return read.brought(Some(brought), why);
            }
            let flight = {
                let (cache, key, place, directives) = (Arc::clone(self), read.key.clone(), read.place, read.directives);
                let inner = inner.clone();
                move |queue_status| async move {
                    // Between the look and the start of this flight another one may have landed.
                    if let Some(kept) = cache.store.get(&key).await
                        && kept.epoch == epoch
                        && kept.answers(&circumstances.request)
                        && directives.accept(kept.age(), kept.lifetime)
                    {
                        return (Landed::CachedResponse(Arc::clone(&kept)), Brought::Found(kept));
                    }
                    cache.fetch(key, place, Call { queue_status, ..shared }, circumstances, inner).await
                }
            };
            let passenger = match self.flights.board((read.key.clone(), epoch), flight) {
                Boarded::Pilot(pilot) => return read.brought(pilot.arrive().await, why),
                Boarded::Passenger(passenger) => passenger,
            };
            match passenger.ride(deadline, self.timeout).await {
                Ride::Landed(Landed::CachedResponse(kept))
                    if kept.answers(&read.call.headers) && read.directives.accept(kept.age(), kept.lifetime) =>
                {
                    let mut response = read.served(&kept, &format!("fwd={why}; collapsed"), CacheOutcome::Collapsed);
                    kept.tell_limits(response.headers_mut());
                    return Ok(response);
                }
                // Somebody tries next; who has something to fall back on need not wait for that.
                Ride::Landed(Landed::Failed { passing, turns }) => {
                    if passing && let Some(response) = self.excuse(read, None, &Failure::of_another()).await {
                        return Ok(response);
                    }
                    if turn.is_none() {
                        turn = self.turn(turns, deadline).await;
                    }
                    // Whoever had the turn before may have brought an answer.
                    if let (Some(kept), None) = self.look(read).await {
                        return Ok(read.served(&kept, &format!("fwd={why}; collapsed"), CacheOutcome::Collapsed));
                    }
                }
                Ride::Landed(Landed::CachedResponse(_)) | Ride::Broken => {}
                // Its own call is told what everybody is told who does not wait.
                Ride::Unslotted | Ride::Landed(Landed::Unfit) => return inner.call(read.own()).await.map(missed),
                Ride::Overdue => return Err(read.overdue()),
            }
        }
    }

    /// A turn to try for oneself, or none when it is time to see how the one who has it fares.
    async fn turn(&self, turns: Arc<Semaphore>, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let until = if clock::now() < deadline { deadline } else { deadline + self.timeout };
        tokio::time::timeout_at(until, turns.acquire_owned()).await.ok()?.ok()
    }

    /// Makes the call and keeps the answer.
    async fn fetch(
        &self,
        key: Key,
        place: Place,
        call: Call,
        circumstances: Circumstances,
        mut inner: impl Inner<Call>,
    ) -> (Landed, Brought) {
        let context = call.context.clone();
        let mut response = match inner.call(call).await {
            Ok(response) => response,
            Err(refusal) => {
                return (Landed::failed(refusal.cause.is_passing()), Brought::Other(Box::new(Err(refusal))));
            }
        };
        let summary = response.extensions_mut().remove::<RequestSummary>();
        match CachedResponse::keep(response, circumstances).await {
            Ok(kept) => {
                let stored = self.store(key, place, &kept).await;
                (Landed::CachedResponse(Arc::clone(&kept)), Brought::Good { kept, stored, summary })
            }
            Err(NotKept::Broken(error)) => {
                let refusal = read::broken(&context, &error);
                (Landed::failed(refusal.cause.is_passing()), Brought::Other(Box::new(Err(refusal))))
            }
            Err(NotKept::Unfit(mut response)) => {
                summary.map(|summary| response.extensions_mut().insert(summary));
                (Landed::Unfit, Brought::Other(Box::new(Ok(response))))
            }
            Err(NotKept::Failure(mut response)) => {
                summary.map(|summary| response.extensions_mut().insert(summary));
                (Landed::failed(is_passing(response.status())), Brought::Other(Box::new(Ok(response))))
            }
        }
    }

    /// Whether later reads can have the answer: no write has overtaken it, and there was room for it.
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
    async fn excuse(
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
struct Failure {
    name: &'static str,
    sent: bool,
    status: Option<StatusCode>,
}

impl Failure {
    fn of(outcome: &Result<Response<Body>, Refusal>) -> Option<Self> {
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
    fn of_another() -> Self {
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
