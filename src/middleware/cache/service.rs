//! Answers a read from the cache, or asks Zoho and keeps the answer.

use std::{sync::Arc, time::Duration};

use http::{Method, Response};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    answers::{Answers, Ended, Failure},
    cached_response::Circumstances,
    collapse::{Followed, Joined, SharedCalls},
    key::Key,
    read::{Brought, Read, marked},
};
use crate::{
    call::{CacheOutcome, Call},
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::clock,
    problem::{Cause, Refusal, ratelimit},
    telemetry::Metrics,
};

/// The kept answers, and the calls under way for new ones.
#[derive(Debug)]
pub struct Cache {
    answers: Arc<Answers>,
    /// By key and epoch.
    calls: SharedCalls<(Key, u64), Ended>,
    timeout: Duration,
}

impl Cache {
    /// Keeps up to `max_bytes`. A caller that shares another's call waits as long as for its own: for a slot until its
    /// deadline, and then for an answer at most `timeout`.
    pub fn layer(max_bytes: u64, timeout: Duration, metrics: Arc<Metrics>) -> MiddlewareLayer<Self> {
        let answers = Arc::new(Answers::new(max_bytes, metrics));
        MiddlewareLayer::new(Self { answers, calls: SharedCalls::new(), timeout })
    }
}

impl<S: Inner<Call>> Middleware<Call, S> for Cache {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, call: Call, inner: &mut S) -> BoxFuture {
        if !call.changes_nothing() {
            let write = self.answers.epochs.write(&call);
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
            cache.answers.metrics.cache(told.unwrap_or(CacheOutcome::Miss));
            outcome
        })
    }
}

impl Cache {
    async fn read(self: &Arc<Self>, call: Call, mut inner: impl Inner<Call>) -> Result<Response<Body>, Refusal> {
        let place = self.answers.epochs.place(&call);
        let read = Read::new(call, place);
        let directives = read.directives;
        if directives.no_store || !read.is_plain() {
            if directives.only_if_cached {
                return Err(Refusal::from(Cause::NotCached).of(&read.call.context));
            }
            let response = inner.call(read.call).await?;
            return Ok(marked(response, "fwd=bypass", CacheOutcome::Bypass));
        }
        let (kept, why) = self.answers.look(&read).await;
        if let (Some(kept), None) = (&kept, why) {
            return Ok(read.hit(kept));
        }
        if directives.only_if_cached {
            return Err(Refusal::from(Cause::NotCached).of(&read.call.context));
        }
        let outcome = self.ask(&read, inner, why.unwrap_or("uri-miss")).await;
        let Some(failure) = Failure::of(&outcome) else { return outcome };
        let Some(mut stale) = self.answers.excuse(&read, kept, &failure).await else { return outcome };
        if let Ok(failed) = outcome {
            // That call did spend a slot.
            let limits = failed.headers().iter().filter(|(name, _)| ratelimit::FIELDS.contains(name));
            stale.headers_mut().extend(limits.map(|(name, value)| (name.clone(), value.clone())));
        }
        Ok(stale)
    }

    /// Asks Zoho, by a call of its own or one that it shares.
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
            let epoch = self.answers.epochs.now(read.place);
            let circumstances = Circumstances {
                request: read.call.headers.clone(),
                epoch,
                lifetime: read.lifetime,
                patience: self.timeout,
            };
            if read.directives.want_an_own_answer(read.lifetime) {
                let (_, brought) = self.answers.fetch(read.key.clone(), read.place, shared, circumstances, inner).await;
                return read.brought(Some(brought), why);
            }
            let make = {
                let (answers, key, place, directives) =
                    (Arc::clone(&self.answers), read.key.clone(), read.place, read.directives);
                let inner = inner.clone();
                move |queue_status| async move {
                    // Between the look and the start of this call another one may have ended.
                    if let Some(kept) = answers.get(&key, &circumstances).await
                        && directives.accept(kept.age(), kept.lifetime)
                    {
                        return (Ended::CachedResponse(Arc::clone(&kept)), Brought::Found(kept));
                    }
                    answers.fetch(key, place, shared.observed(queue_status), circumstances, inner).await
                }
            };
            let follower = match self.calls.join((read.key.clone(), epoch), make) {
                Joined::Leader(outcome, _follower) => return read.brought(outcome.await.ok(), why),
                Joined::Follower(follower) => follower,
            };
            match follower.wait(deadline, self.timeout).await {
                Followed::Ended(Ended::CachedResponse(kept))
                    if kept.answers(&read.call.headers) && read.directives.accept(kept.age(), kept.lifetime) =>
                {
                    let mut response = read.served(&kept, &format!("fwd={why}; collapsed"), CacheOutcome::Collapsed);
                    kept.tell_limits(response.headers_mut());
                    return Ok(response);
                }
                // Another read tries next; one that has an answer to fall back on does not wait for that.
                Followed::Ended(Ended::Failed { passing, turns }) => {
                    if passing && let Some(response) = self.answers.excuse(read, None, &Failure::of_another()).await {
                        return Ok(response);
                    }
                    if turn.is_none() {
                        turn = self.turn(turns, deadline).await;
                    }
                    // The read that had the turn before may have brought an answer.
                    if let (Some(kept), None) = self.answers.look(read).await {
                        return Ok(read.served(&kept, &format!("fwd={why}; collapsed"), CacheOutcome::Collapsed));
                    }
                }
                Followed::Ended(Ended::CachedResponse(_)) | Followed::Broken => {}
                // Its own call gets the answer for a caller that does not wait.
                Followed::Unslotted | Followed::Ended(Ended::Unfit) => return inner.call(read.own()).await.map(missed),
                Followed::Overdue => return Err(read.overdue()),
            }
        }
    }

    /// A turn to make the call, or `None` when it is time to follow the read that has the turn.
    async fn turn(&self, turns: Arc<Semaphore>, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let until = if clock::now() < deadline { deadline } else { deadline + self.timeout };
        tokio::time::timeout_at(until, turns.acquire_owned()).await.ok()?.ok()
    }
}
