//! The layer above the throttle: it notes the calls that wait.

use std::{ops::ControlFlow, sync::Arc};

use tokio::time::Instant;
use tower::util::BoxCloneService;

use super::{
    groups::{Groups, Registration},
    parts::Part,
    similar::Key,
};
use crate::{
    call::{Answer, Call, CallContext, RequestSummary},
    ledger::{Limiters, WaitingWithoutPlace},
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::clock,
    problem::{Cause, Refusal, ratelimit},
};

/// Lets calls wait for a slot of their own or of a similar call.
#[derive(Debug)]
pub struct Gather {
    groups: Arc<Groups>,
    limiters: Arc<Limiters>,
}

impl Gather {
    /// `groups` is shared with [`Compose`](super::Compose), `limiters` with the throttle.
    pub fn layer(groups: Arc<Groups>, limiters: Arc<Limiters>) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { groups, limiters })
    }
}

impl<S: Inner<Call, Answer>> Middleware<Call, S> for Gather {
    type Response = Answer;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, call: Call, inner: &mut S) -> BoxFuture<Answer> {
        let similar = self.groups.similar(&call).and_then(|similar| Some((similar, call.again()?)));
        let Some(((key, numbers), copy)) = similar else { return inner.call(call) };
        let (gather, inner) = (Arc::clone(self), inner.clone());
        Box::pin(async move {
            let (context, ready_at) = (call.context.clone(), call.ready_at);
            match gather.wait(call, copy, key, numbers, inner).await {
                ControlFlow::Break(outcome) => outcome,
                ControlFlow::Continue(part) => gather.part(part, &context, ready_at).await,
            }
        })
    }
}

impl Gather {
    /// Waits for a slot of its own, with which the call ends, or for its part of the call of another.
    async fn wait<S: Inner<Call, Answer>>(
        &self,
        mut call: Call,
        copy: Call,
        key: Key,
        numbers: Vec<String>,
        mut inner: S,
    ) -> ControlFlow<Result<Answer, Refusal>, Part> {
        let (context, deadline) = (call.context.clone(), call.deadline);
        call.attempt_log.sent_alone();
        let service = BoxCloneService::new(inner.clone());
        let (registration, waited, mut merged) = self.groups.join(key, copy, numbers, service);
        loop {
            call.waited = waited.clone();
            let refusal = tokio::select! {
                biased;
                // Dropping the future of its own call leaves the queue. The channel closes when the call has its slot.
                Ok(part) = &mut merged => return ControlFlow::Continue(part),
                outcome = inner.call(call) => match outcome {
                    Err(refusal) if is_saturated(&refusal) && clock::now() < deadline => refusal,
                    outcome => return ControlFlow::Break(outcome),
                },
            };
            let Some(waiting) = self.leave_queue(&registration, &context) else {
                return ControlFlow::Break(Err(refusal));
            };
            tokio::select! {
                biased;
                Ok(part) = &mut merged => return ControlFlow::Continue(part),
                () = waiting.evicted() => return ControlFlow::Break(Err(refusal)),
                () = registration.place_freed() => {}
                // The throttle refuses it then, and says when it could come again.
                () = tokio::time::sleep_until(deadline) => {}
            }
            call = match registration.rejoin_queue() {
                Some(again) => again,
                None => return merged.await.map_or(ControlFlow::Break(Err(refusal)), ControlFlow::Continue),
            };
        }
    }

    /// Lets the call wait for the slot of another, if it may. It counts as waiting all the same.
    fn leave_queue(&self, registration: &Registration, context: &CallContext) -> Option<WaitingWithoutPlace> {
        let request = registration.leave_queue()?;
        let limit = self.limiters.limit(&context.account, &context.route);
        limit.limiter()?.wait_without_place(&request).ok()
    }

    /// The answer of a call that did not come through the throttle, with what the throttle adds to others.
    async fn part(&self, part: Part, context: &CallContext, ready_at: Instant) -> Result<Answer, Refusal> {
        let waited = Some(clock::now().saturating_duration_since(ready_at));
        let mut answer = part.answer().await.map_err(|refusal| refusal.of(context))?;
        let (account, route) = context.names();
        if let Some(limiter) = self.limiters.limit(&context.account, &context.route).limiter() {
            ratelimit::write(answer.response.headers_mut(), &route, &limiter.allowance());
        }
        answer.response.extensions_mut().insert(RequestSummary { account, route, waited });
        Ok(answer)
    }
}

/// Whether a call was refused only because its own turn is too far away.
fn is_saturated(refusal: &Refusal) -> bool {
    matches!(*refusal.cause, Cause::ThresholdSaturated { daily: false, .. })
}
