//! The retry room: a call that Zoho did not execute is sent again, under a permit of its own.
//!
//! It stands above the throttle, so every attempt asks for a slot. Two answers mean "not executed": a dead token, after
//! which the call goes once more with a fresh one, and a lock, after which it returns to the front of the queue if its
//! caller can still wait. Every other answer, and every fault, goes to the caller: what Zoho may have executed is never
//! sent twice.

use std::task::{Context, Poll};

use http::Response;
use tower::{Layer, Service};

use crate::{
    body::Body,
    boxed::BoxFuture,
    call::{Answer, Call, Unexecuted},
    clock,
    ledger::Entrance,
    refusal::{Cause, Refusal},
};

/// Hangs the room.
#[derive(Debug, Clone, Copy)]
pub struct RetryLayer;

/// The room.
#[derive(Debug, Clone)]
pub struct Retry<S> {
    inner: S,
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry { inner }
    }
}

impl<S> Service<Call> for Retry<S>
where
    S: Service<Call, Response = Answer, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = BoxFuture<Response<Body>, Refusal>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let mut inner = self.inner.clone();
        Box::pin(async move {
            let mut token_replaced = false;
            loop {
                let (again, subject) = (call.again(), call.subject.clone());
                let answer = inner.call(call).await?;
                call = match (answer.unexecuted, again) {
                    (Some(Unexecuted::DeadToken { .. }), Some(again)) if !token_replaced => {
                        token_replaced = true;
                        again
                    }
                    // It had its turn, so it does not queue up behind those who came later.
                    (Some(Unexecuted::Locked { .. }), Some(again)) => Call { entrance: Entrance::Front, ..again },
                    (Some(Unexecuted::Locked { until }), None) => {
                        let retry_after = until.saturating_duration_since(clock::now());
                        return Err(Refusal::from(Cause::ThresholdLocked { retry_after }).of(&subject));
                    }
                    (None | Some(Unexecuted::DeadToken { .. }), _) => return Ok(answer.response),
                };
            }
        })
    }
}
