//! One call's visit to the throttle room.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tower::{Layer, Service, ServiceExt};

use super::ahead::Ahead;
use crate::{
    call::{Answer, Call, Permitted, RequestSummary},
    ledger::{Limiters, Refused, RouteLimit},
    message::boxed::BoxFuture,
    os::clock,
    problem::{Cause, Refusal, ratelimit},
    telemetry::Metrics,
};

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct ThrottleLayer(Arc<Room>);

/// The room.
#[derive(Debug, Clone)]
pub struct Throttle<S> {
    room: Arc<Room>,
    inner: S,
}

#[derive(Debug)]
struct Room {
    limiters: Arc<Limiters>,
    max_wait: Duration,
    ahead: Ahead,
    metrics: Arc<Metrics>,
}

impl ThrottleLayer {
    /// Callers that prefer nothing else wait at most `max_wait`; bodies have at most `max_body` bytes.
    #[must_use]
    pub fn new(limiters: Arc<Limiters>, max_wait: Duration, max_body: u64, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Room { limiters, max_wait, ahead: Ahead::new(max_body), metrics }))
    }
}

impl<S> Layer<S> for ThrottleLayer {
    type Service = Throttle<S>;

    fn layer(&self, inner: S) -> Throttle<S> {
        Throttle { room: Arc::clone(&self.0), inner }
    }
}

impl<S> Service<Call> for Throttle<S>
where
    S: Service<Permitted, Response = Answer, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Answer;
    type Error = Refusal;
    type Future = BoxFuture<Answer, Refusal>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let room = Arc::clone(&self.room);
        let inner = self.inner.clone();
        Box::pin(async move {
            let (account, route) = call.context.names();
            let deadline = call.deadline(room.max_wait);
            let request = call.slot_request(deadline);
            let limiter = match room.limiters.limit(&call.context.account, &call.context.route) {
                RouteLimit::Limited(limiter) => limiter,
                RouteLimit::Unlimited(unlimited) => {
                    call.queue_status.departs();
                    let permitted = Permitted::new(call, unlimited.attempt(request), deadline);
                    let mut answer = inner.oneshot(permitted).await?;
                    answer.response.extensions_mut().insert(RequestSummary { account, route, waited: None });
                    return Ok(answer);
                }
            };
            room.metrics.called(&account, &route);
            call.queue_status.queues();
            let attempt = limiter.attempt(request).await.map_err(|refused| {
                let cause = match refused {
                    // A call that met a lock was sent before, and is told so.
                    Refused::Closing => Cause::CutOff(call.attempt_log.fate()),
                    refused => Cause::from(refused),
                };
                Refusal::from(cause).with_allowance(limiter.allowance()).of(&call.context)
            })?;
            room.ahead.read(&mut call.payload).await.map_err(|cause| Refusal::from(cause).of(&call.context))?;
            call.queue_status.departs();
            let waited = clock::now().saturating_duration_since(call.ready_at);
            let mut answer = inner.oneshot(Permitted::new(call, attempt, deadline)).await?;
            ratelimit::write(answer.response.headers_mut(), &route, &limiter.allowance());
            answer.response.extensions_mut().insert(RequestSummary { account, route, waited: Some(waited) });
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Response};
    use tower::{service_fn, util::BoxCloneSyncService};

    use super::*;
    use crate::{
        call::{Token, tests::call},
        ledger::Limits,
        message::body::Body,
    };

    type Room = BoxCloneSyncService<Call, Answer, Refusal>;

    /// A room before a Zoho that answers at once, or refuses before it sends.
    fn room(refuses: bool) -> (Room, Arc<Limiters>) {
        let limiters = Arc::new(Limiters::in_memory(Limits::calls(10)));
        let zoho = service_fn(move |permitted: Permitted| async move {
            if refuses {
                return Err(Refusal::from(Cause::ShuttingDown));
            }
            let header = HeaderValue::from_static("Zoho-oauthtoken 1000.t");
            let token = Token { header, generation: 0, fresh_until: clock::now() };
            let (_, mut attempt, _) = permitted.signed(token).into_parts();
            let response = Response::new(Body::default());
            attempt.sending().unwrap();
            attempt.answered(response.status());
            attempt.judged(true);
            Ok(Answer { response, retry: None })
        });
        let layer = ThrottleLayer::new(Arc::clone(&limiters), Duration::from_secs(30), 1024, Arc::new(Metrics::new()));
        (BoxCloneSyncService::new(layer.layer(zoho)), limiters)
    }

    /// A call that may be made once a minute.
    fn once_a_minute(prefer: &'static str) -> Call {
        let mut call = call("/a");
        let route = Arc::make_mut(&mut call.context.route);
        let threshold = route.threshold.as_mut().unwrap();
        threshold.requests = std::num::NonZeroU32::MIN;
        threshold.window = Duration::from_secs(60);
        call.headers.insert("prefer", http::HeaderValue::from_static(prefer));
        call
    }

    #[tokio::test(start_paused = true)]
    async fn passes_on_with_a_permit_and_tells_what_is_left() {
        let (room, _) = room(false);
        let answer = room.oneshot(once_a_minute("wait=0")).await.unwrap();
        assert_eq!(answer.response.headers()[ratelimit::LIMIT], "\"people.lms.share-course\";r=0;t=60");
        assert!(answer.response.extensions().get::<RequestSummary>().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_without_a_threshold_needs_no_permit() {
        let (room, _) = room(false);
        let mut call = call("/a");
        Arc::make_mut(&mut call.context.route).threshold = None;
        let answer = room.oneshot(call).await.unwrap();
        assert!(!answer.response.headers().contains_key(ratelimit::POLICY));
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_at_once_who_cannot_be_served_in_time() {
        let (room, _) = room(false);
        room.clone().oneshot(once_a_minute("wait=0")).await.unwrap();
        let began = clock::now();
        let refusal = room.clone().oneshot(once_a_minute("wait=59")).await.unwrap_err();
        assert!(matches!(*refusal.cause, Cause::ThresholdSaturated { retry_after, .. } if retry_after.as_secs() == 60));
        assert_eq!(
            (refusal.allowance.unwrap().route.remaining, refusal.route.unwrap().as_str()),
            (0, "people.lms.share-course")
        );
        assert_eq!(clock::now(), began);
        room.oneshot(once_a_minute("wait=60")).await.unwrap();
        assert_eq!((clock::now() - began).as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_not_sent_spends_nothing() {
        let (room, _) = room(true);
        for _ in 0..3 {
            let refusal = room.clone().oneshot(once_a_minute("wait=0")).await.unwrap_err();
            assert!(matches!(*refusal.cause, Cause::ShuttingDown), "not saturated");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_hangs_up_leaves_the_queue() {
        let (room, limiters) = room(false);
        room.clone().oneshot(once_a_minute("wait=0")).await.unwrap();
        let waiting = tokio::spawn(room.oneshot(once_a_minute("wait=3600")));
        tokio::task::yield_now().await;
        assert_eq!(limiters.waiting(), 1);
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(limiters.waiting(), 0);
    }
}
