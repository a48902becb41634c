//! Answers a read from the cache, or asks Zoho and stores the answer.

use std::{sync::Arc, time::Duration};

use http::{Method, Response};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    answers::{Answers, CallResult, StaleReason},
    cached_response::StoreContext,
    collapse::{FollowResult, Joined, SharedCalls},
    epochs::{LinkedRead, ReadEpoch},
    invalidations::Invalidations,
    key::Key,
    read::{Fetched, Read, marked},
    write::Write,
};
use crate::{
    call::{CacheOutcome, Call},
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::clock,
    problem::{Cause, Refusal, ratelimit},
    redis::Redis,
    telemetry::Metrics,
};

/// The stored answers, and the calls in progress for new ones.
#[derive(Debug)]
pub struct Cache {
    answers: Arc<Answers>,
    /// By key and epoch.
    calls: SharedCalls<(Key, ReadEpoch), CallResult>,
    timeout: Duration,
    /// The calls whose answers may be stored, by this gateway or by others.
    reads: Arc<[LinkedRead]>,
    /// With a shared ledger.
    others: Option<Invalidations>,
}

impl Cache {
    /// Stores up to `max_bytes`. A read that shares a call waits as long as for its own: until its deadline for a slot, and
    /// then at most `timeout` for the answer. Writes make answers to `reads` stale, and reach the other gateways through
    /// `redis`. Must be called inside a runtime.
    #[must_use]
    pub fn new(
        max_bytes: u64,
        timeout: Duration,
        reads: Arc<[LinkedRead]>,
        redis: Option<&Redis>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let answers = Arc::new(Answers::new(max_bytes, metrics));
        let others = redis.map(|redis| Invalidations::exchange(redis, &answers.epochs));
        Arc::new(Self { answers, calls: SharedCalls::new(), timeout, reads, others })
    }

    /// Several stacks may share the answers.
    pub fn layer(self: &Arc<Self>) -> MiddlewareLayer<Self> {
        MiddlewareLayer::shared(self)
    }
}

impl<S: Inner<Call>> Middleware<Call, S> for Cache {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, call: Call, inner: &mut S) -> BoxFuture {
        if !call.changes_nothing() {
            let write = Write::start(&call, &self.answers.epochs, self.others.clone(), &self.reads);
            let executed = inner.call(call);
            return Box::pin(async move {
                let outcome = executed.await;
                // Also after a reported failure: a part may be executed. After a server error, Zoho may continue.
                let done = outcome.as_ref().is_ok_and(|response| !response.status().is_server_error());
                write.end(done).await;
                outcome
            });
        }
        if !matches!(call.method, Method::GET | Method::HEAD) || call.context.route.cache.is_zero() {
            return inner.call(call);
        }
        let (cache, inner) = (Arc::clone(self), inner.clone());
        Box::pin(async move {
            let outcome = cache.read(call, inner).await;
            let counted = match &outcome {
                Ok(response) => response.extensions().get::<CacheOutcome>().copied(),
                Err(refusal) if matches!(*refusal.cause, Cause::NotCached) => Some(CacheOutcome::NotCached),
                Err(_) => None,
            };
            cache.answers.metrics.cache(counted.unwrap_or(CacheOutcome::Miss));
            outcome
        })
    }
}

impl Cache {
    async fn read(&self, call: Call, mut inner: impl Inner<Call>) -> Result<Response<Body>, Refusal> {
        let read = Read::new(call);
        let directives = read.directives;
        let bypass = directives.no_store || !read.is_cacheable();
        let (stored, why) = if bypass { (None, None) } else { self.answers.lookup(&read).await };
        if let (Some(answer), None) = (&stored, why) {
            return Ok(read.hit(answer));
        }
        if directives.only_if_cached {
            return Err(Refusal::from(Cause::NotCached).of(&read.call.context));
        }
        if bypass {
            let response = inner.call(read.call).await?;
            return Ok(marked(response, "fwd=bypass", CacheOutcome::Bypass));
        }
        let outcome = self.ask(&read, inner, why.unwrap_or("uri-miss")).await;
        let Some(reason) = StaleReason::of(&outcome) else { return outcome };
        let Some(mut stale) = self.answers.serve_stale(&read, stored, &reason).await else { return outcome };
        if let Ok(failed) = outcome {
            // The failed call did use a slot.
            let limits = failed.headers().iter().filter(|(name, _)| ratelimit::FIELDS.contains(name));
            stale.headers_mut().extend(limits.map(|(name, value)| (name.clone(), value.clone())));
        }
        Ok(stale)
    }

    /// Asks Zoho, with a call of its own or a shared one.
    async fn ask(&self, read: &Read, mut inner: impl Inner<Call>, why: &str) -> Result<Response<Body>, Refusal> {
        let missed = |response| marked(response, &format!("fwd={why}"), CacheOutcome::Miss);
        if read.call.method != Method::GET {
            return inner.call(read.own_call()).await.map(missed);
        }
        if read.directives.want_own_call(read.lifetime) {
            let (_, fetched) = self.answers.fetch(read.shared_call(), self.store_context(read), inner).await;
            return read.answer(Some(fetched), why);
        }
        let deadline = read.call.deadline;
        let mut permit = None;
        loop {
            let follower = match self.join(read, inner.clone()) {
                Joined::Leader(outcome, _follower) => return read.answer(outcome.await.ok(), why),
                Joined::Follower(follower) => follower,
            };
            match follower.wait(deadline, self.timeout).await {
                FollowResult::Ended(CallResult::Cached(answer))
                    if answer.answers(&read.call.headers) && read.directives.accept(answer.age(), answer.lifetime) =>
                {
                    let mut response = read.collapsed(&answer, why);
                    answer.add_limits(response.headers_mut());
                    return Ok(response);
                }
                // Another read makes the next call; a read with a stale answer does not wait for it.
                FollowResult::Ended(CallResult::Failed { passing, next_caller }) => {
                    let reason = StaleReason::of_shared_call();
                    if passing && let Some(response) = self.answers.serve_stale(read, None, &reason).await {
                        return Ok(response);
                    }
                    if permit.is_none() {
                        permit = self.permit(next_caller, deadline).await;
                    }
                    // The read that had the permit before may have brought an answer.
                    if let (Some(answer), None) = self.answers.lookup(read).await {
                        return Ok(read.collapsed(&answer, why));
                    }
                }
                FollowResult::Ended(CallResult::Cached(_)) | FollowResult::Broken => {}
                // The read's own call gets the right answer for a caller that does not wait.
                FollowResult::NoSlot | FollowResult::Ended(CallResult::NotShareable) => {
                    return inner.call(read.own_call()).await.map(missed);
                }
                FollowResult::TimedOut => return Err(read.timed_out()),
            }
        }
    }

    /// Follows the call of an identical read, or starts a call that others can follow.
    fn join(&self, read: &Read, inner: impl Inner<Call>) -> Joined<CallResult, Fetched> {
        let (answers, context) = (Arc::clone(&self.answers), self.store_context(read));
        let (call, directives) = (read.shared_call(), read.directives);
        self.calls.join((context.key.clone(), context.epoch), move |queue_status| async move {
            // Another call may have ended between the lookup and this one.
            if let Some(answer) = answers.get(&context).await
                && directives.accept(answer.age(), answer.lifetime)
            {
                return (CallResult::Cached(Arc::clone(&answer)), Fetched::Cached(answer));
            }
            answers.fetch(call.observed(queue_status), context, inner).await
        })
    }

    fn store_context(&self, read: &Read) -> StoreContext {
        StoreContext {
            key: read.key.clone(),
            depends_on: read.depends_on,
            request: read.call.headers.clone(),
            epoch: self.answers.epochs.now(read.depends_on),
            lifetime: read.lifetime,
            read_timeout: self.timeout,
        }
    }

    /// The permit to make the next call, or `None` when it is time to follow the read that has it.
    async fn permit(&self, next_caller: Arc<Semaphore>, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let until = if clock::now() < deadline { deadline } else { deadline + self.timeout };
        tokio::time::timeout_at(until, next_caller.acquire_owned()).await.ok()?.ok()
    }
}
