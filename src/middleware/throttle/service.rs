//! Waits for a slot, and reads a part of the body before the call is sent.

use std::sync::Arc;

use super::ahead::Ahead;
use crate::{
    call::{Answer, Call, Permitted, RequestSummary},
    ledger::{Attempt, Limiters, Refused, RouteLimit, RouteLimiter},
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::clock,
    problem::{Cause, Refusal, ratelimit, respond},
    telemetry::Metrics,
};

/// Gives each call its slot.
#[derive(Debug)]
pub struct Throttle {
    limiters: Arc<Limiters>,
    ahead: Ahead,
    metrics: Arc<Metrics>,
}

impl<S: Inner<Permitted, Answer>> Middleware<Call, S> for Throttle {
    type Response = Answer;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, mut call: Call, inner: &mut S) -> BoxFuture<Answer> {
        let (throttle, mut inner) = (Arc::clone(self), inner.clone());
        Box::pin(async move {
            let (account, route) = call.context.names();
            let limiter = match throttle.limiters.limit(&call.context.account, &call.context.route) {
                RouteLimit::Limited(limiter) => limiter,
                RouteLimit::Unlimited(unlimited) => {
                    call.queue_status.leaves();
                    let attempt = unlimited.attempt(call.slot_request());
                    let attempt = attempt.map_err(|refused| Refusal::from(Cause::from(refused)).of(&call.context))?;
                    let mut answer = inner.call(Permitted::new(call, attempt)).await?;
                    answer.response.extensions_mut().insert(RequestSummary { account, route, waited: None });
                    return Ok(answer);
                }
            };
            throttle.metrics.called(&account, &route);
            call.queue_status.queues();
            let mut span = call.attempt_log.trace().part("queue");
            let attempt = throttle.attempt(&limiter, &call).await;
            if let Err(refusal) = &attempt {
                span.fail(|| respond::name(&refusal.cause).into());
            }
            drop(span);
            let waited = clock::now().saturating_duration_since(call.ready_at);
            call.attempt_log.waited(waited);
            let attempt = attempt?;
            throttle.ahead.read(&mut call.payload).await.map_err(|cause| Refusal::from(cause).of(&call.context))?;
            call.queue_status.leaves();
            let mut answer = inner.call(Permitted::new(call, attempt)).await?;
            ratelimit::write(answer.response.headers_mut(), &route, &limiter.allowance());
            answer.response.extensions_mut().insert(RequestSummary { account, route, waited: Some(waited) });
            Ok(answer)
        })
    }
}

impl Throttle {
    /// `max_body`: the limit of a body, in bytes.
    pub fn layer(limiters: Arc<Limiters>, max_body: u64, metrics: Arc<Metrics>) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { limiters, ahead: Ahead::new(max_body), metrics })
    }

    async fn attempt(&self, limiter: &Arc<RouteLimiter>, call: &Call) -> Result<Attempt, Refusal> {
        let cause = |refused| match refused {
            // A requeued call was sent before, and its rejection says so.
            Refused::Closing => Cause::CutOff(call.attempt_log.fate()),
            refused => Cause::from(refused),
        };
        let refusal = |refused| Refusal::from(cause(refused)).with_allowance(limiter.allowance()).of(&call.context);
        limiter.attempt(call.slot_request()).await.map_err(refusal)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderName, HeaderValue, Response};
    use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

    use super::*;
    use crate::{
        call::{
            Token,
            tests::{call, with_headers},
        },
        ledger::Limits,
        message::body::Body,
    };

    type Service = BoxCloneSyncService<Call, Answer, Refusal>;

    /// A throttle in front of a Zoho that answers at once, or of a layer that rejects before sending.
    fn throttle(refuses: bool) -> (Service, Arc<Limiters>) {
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
        let layer = Throttle::layer(Arc::clone(&limiters), 1024, Arc::new(Metrics::new()));
        (BoxCloneSyncService::new(layer.layer(BoxCloneSyncService::new(zoho))), limiters)
    }

    /// A call of a route with one slot per minute.
    fn once_a_minute(prefer: &'static str) -> Call {
        let mut call = call("/a");
        let route = Arc::make_mut(&mut call.context.route);
        let threshold = route.threshold.as_mut().unwrap();
        threshold.requests = std::num::NonZeroU32::MIN;
        threshold.window = Duration::from_secs(60);
        with_headers(
            call,
            HeaderMap::from_iter([(HeaderName::from_static("prefer"), HeaderValue::from_static(prefer))]),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn passes_on_with_a_slot_and_reports_the_rest() {
        let (throttle, _) = throttle(false);
        let answer = throttle.oneshot(once_a_minute("wait=0")).await.unwrap();
        assert_eq!(answer.response.headers()[ratelimit::LIMIT], "\"people.lms.share-course\";r=0;t=60");
        assert!(answer.response.extensions().get::<RequestSummary>().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_without_a_threshold_needs_no_slot() {
        let (throttle, _) = throttle(false);
        let mut call = call("/a");
        Arc::make_mut(&mut call.context.route).threshold = None;
        let answer = throttle.oneshot(call).await.unwrap();
        assert!(!answer.response.headers().contains_key(ratelimit::POLICY));
    }

    #[tokio::test(start_paused = true)]
    async fn rejects_at_once_a_call_that_cannot_get_a_slot_in_time() {
        let (throttle, _) = throttle(false);
        throttle.clone().oneshot(once_a_minute("wait=0")).await.unwrap();
        let began = clock::now();
        let refusal = throttle.clone().oneshot(once_a_minute("wait=59")).await.unwrap_err();
        assert!(matches!(*refusal.cause, Cause::ThresholdSaturated { retry_after, .. } if retry_after.as_secs() == 60));
        assert_eq!(
            (refusal.allowance.unwrap().route.remaining, refusal.route.unwrap().as_str()),
            (0, "people.lms.share-course")
        );
        assert_eq!(clock::now(), began);
        throttle.oneshot(once_a_minute("wait=60")).await.unwrap();
        assert_eq!((clock::now() - began).as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_not_sent_uses_no_slot() {
        let (throttle, _) = throttle(true);
        for _ in 0..3 {
            let refusal = throttle.clone().oneshot(once_a_minute("wait=0")).await.unwrap_err();
            assert!(matches!(*refusal.cause, Cause::ShuttingDown), "not saturated");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_leaves_leaves_the_queue() {
        let (throttle, limiters) = throttle(false);
        throttle.clone().oneshot(once_a_minute("wait=0")).await.unwrap();
        let waiting = tokio::spawn(throttle.oneshot(once_a_minute("wait=3600")));
        tokio::task::yield_now().await;
        assert_eq!(limiters.waiting(), 1);
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(limiters.waiting(), 0);
    }
}
