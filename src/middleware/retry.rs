//! Sends a call again that Zoho did not execute.
//!
//! The layer is above the throttle, so every attempt needs its own slot. Two answers mean "not executed": a rejected token,
//! after which the call is sent once more if there is another token, and a lock, after which the call returns to the front
//! of the queue if its caller still waits. Every other answer, and every failure, goes to the caller: a call that Zoho may
//! have executed is never sent twice.

use std::sync::Arc;

use http::Response;

use crate::{
    call::{Answer, Call, RetryReason},
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::clock,
    problem::{Cause, Refusal},
};

/// Sends calls again.
#[derive(Debug)]
pub struct Retry;

impl Retry {
    /// Makes the layer.
    pub fn layer() -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self)
    }
}

impl<S: Inner<Call, Answer>> Middleware<Call, S> for Retry {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, mut call: Call, inner: &mut S) -> BoxFuture {
        let mut inner = inner.clone();
        Box::pin(async move {
            loop {
                let (again, context, token_refused) = (call.again(), call.context.clone(), call.token_was_refused());
                let answer = inner.call(call).await?;
                call = match (answer.retry, again) {
                    (Some(RetryReason::TokenRefused(_)), Some(again)) if !token_refused => again.with_another_token(),
                    // It had reached its turn, so it does not queue behind later calls.
                    (Some(RetryReason::Locked(_)), Some(again)) => again.requeued(),
                    (Some(RetryReason::Locked(hit)), None) => {
                        let retry_after = hit.until.saturating_duration_since(clock::now());
                        return Err(Refusal::from(Cause::ThresholdLocked { retry_after }).of(&context));
                    }
                    (None | Some(RetryReason::TokenRefused(_)), _) => return Ok(answer.response),
                };
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

    use super::*;
    use crate::{
        call::{
            Payload,
            tests::{call, with_payload},
        },
        ledger::LockHit,
        zoho::reply::TokenRefusal,
    };

    type Service = BoxCloneSyncService<Call, Response<Body>, Refusal>;

    /// A retry in front of a service that gives these answers in order; the last one repeats.
    fn retry(answers: &'static [Option<fn() -> RetryReason>]) -> (Service, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let inner = service_fn(move |call: Call| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let retry = answers[number.min(answers.len() - 1)].map(|retry| retry());
            let mut response = Response::new(Body::default());
            response.headers_mut().insert("x-front", u16::from(call.is_requeued()).into());
            async move { Ok(Answer { response, retry }) }
        });
        (BoxCloneSyncService::new(Retry::layer().layer(BoxCloneSyncService::new(inner))), calls)
    }

    fn locked() -> RetryReason {
        RetryReason::Locked(LockHit { until: clock::now(), external: false })
    }

    fn dead() -> RetryReason {
        RetryReason::TokenRefused(TokenRefusal::Dead)
    }

    async fn asked(
        answers: &'static [Option<fn() -> RetryReason>],
        call: Call,
    ) -> (Result<Response<Body>, Refusal>, usize) {
        let (retry, calls) = retry(answers);
        let outcome = retry.oneshot(call).await;
        (outcome, calls.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn an_executed_call_is_sent_once() {
        assert_eq!(asked(&[None], call("/a")).await.1, 1);
    }

    #[tokio::test]
    async fn after_a_dead_token_a_call_is_sent_once_more() {
        assert_eq!(asked(&[Some(dead), None], call("/a")).await.1, 2);
        assert_eq!(asked(&[Some(dead)], call("/a")).await.1, 2, "the second answer goes to the caller");
    }

    #[tokio::test]
    async fn a_locked_call_returns_to_the_front_each_time() {
        let (outcome, calls) = asked(&[Some(locked), Some(locked), Some(dead), None], call("/a")).await;
        assert_eq!(calls, 4);
        assert_eq!(outcome.unwrap().headers()["x-front"], "1");
    }

    #[tokio::test]
    async fn a_streamed_call_is_never_sent_twice() {
        let streamed = || with_payload(call("/a"), Payload::Streamed(Body::default()));
        let (outcome, calls) = asked(&[Some(locked)], streamed()).await;
        assert!(matches!(*outcome.unwrap_err().cause, Cause::ThresholdLocked { .. }));
        assert_eq!(calls, 1);
        assert!(asked(&[Some(dead)], streamed()).await.0.is_ok(), "the caller gets Zoho's 401");
    }

    #[tokio::test]
    async fn a_rejection_is_passed_on() {
        let refusing = service_fn(|_: Call| async { Err::<Answer, _>(Refusal::from(Cause::ShuttingDown)) });
        assert!(Retry::layer().layer(BoxCloneSyncService::new(refusing)).oneshot(call("/a")).await.is_err());
    }
}
