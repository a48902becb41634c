//! The layer above the throttle: it notes the calls that wait.

use std::sync::Arc;

use tower::util::BoxCloneService;

use super::{groups::Groups, similar::Key};
use crate::{
    call::{Answer, Call, RequestSummary},
    ledger::{Limiters, RouteLimit},
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
        Box::pin(async move { gather.wait(call, copy, key, numbers, inner).await })
    }
}

impl Gather {
    async fn wait<S: Inner<Call, Answer>>(
        &self,
        mut call: Call,
        copy: Call,
        key: Key,
        numbers: Vec<String>,
        mut inner: S,
    ) -> Result<Answer, Refusal> {
        let (context, ready_at, deadline) = (call.context.clone(), call.ready_at, call.deadline);
        call.attempt_log.sent_alone();
        let service = BoxCloneService::new(inner.clone());
        let (membership, waited, mut merged) = self.groups.join(key, copy, numbers, service);
        let part = loop {
            call.waited = waited.clone();
            let refusal = tokio::select! {
                biased;
                // Dropping the future of its own call leaves the queue. The channel closes when the call has its slot.
                Ok(part) = &mut merged => break part,
                outcome = inner.call(call) => match outcome {
                    Err(refusal) if is_saturated(&refusal) && clock::now() < deadline => refusal,
                    outcome => return outcome,
                },
            };
            if !membership.leave_queue() {
                return Err(refusal);
            }
            tokio::select! {
                biased;
                Ok(part) = &mut merged => break part,
                () = membership.place_freed() => {}
                // The throttle refuses it then, and says when it could come again.
                () = tokio::time::sleep_until(deadline) => {}
            }
            match membership.rejoin_queue() {
                Some(again) => call = again,
                None => match merged.await {
                    Ok(part) => break part,
                    Err(_) => return Err(refusal),
                },
            }
        };
        let waited = Some(clock::now().saturating_duration_since(ready_at));
        let mut answer = part.answer().await.map_err(|refusal| refusal.of(&context))?;
        let (account, route) = context.names();
        if let RouteLimit::Limited(limiter) = self.limiters.limit(&context.account, &context.route) {
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
