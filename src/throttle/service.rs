//! One call's visit to the throttle room.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tower::{Layer, Service};

use super::wait;
use crate::{
    boxed::BoxFuture,
    call::{Answer, Call, Permitted, Unexecuted, Visit},
    clock,
    ledger::{Line, Lines, Permit, Quota, Refused},
    ratelimit,
    refusal::{Cause, Refusal},
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
    lines: Arc<Lines>,
    max_wait: Duration,
    metrics: Arc<Metrics>,
}

impl ThrottleLayer {
    /// Callers that prefer nothing else wait at most `max_wait`.
    #[must_use]
    pub fn new(lines: Arc<Lines>, max_wait: Duration, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Room { lines, max_wait, metrics }))
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

    fn call(&mut self, call: Call) -> Self::Future {
        let room = Arc::clone(&self.room);
        let mut inner = self.inner.clone();
        Box::pin(async move {
            let (account, route) = call.subject.names();
            let Some(line) = room.lines.line(&account, &call.subject.route) else {
                let mut answer = inner.call(Permitted { call, permit: None }).await?;
                answer.response.extensions_mut().insert(Visit { account, route, waited: None });
                return Ok(answer);
            };
            let permit = room.permit(&line, &call).await?;
            let waited = clock::now().saturating_duration_since(call.ready_at);
            let mut answer = inner.call(Permitted { call, permit: Some(permit) }).await?;
            if let Some(Unexecuted::Locked { until }) = answer.unexecuted {
                let lasts_s = until.saturating_duration_since(clock::now()).as_secs();
                tracing::warn!(%account, %route, lasts_s, "Zoho has locked the call; nothing is sent until the lock ends");
                room.metrics.locked(&account, &route);
            }
            ratelimit::write(answer.response.headers_mut(), &route, &line.quota());
            answer.response.extensions_mut().insert(Visit { account, route, waited: Some(waited) });
            Ok(answer)
        })
    }
}

impl Room {
    async fn permit(&self, line: &Arc<Line>, call: &Call) -> Result<Permit, Refusal> {
        let deadline = call.ready_at + wait::preferred(&call.headers, self.max_wait);
        line.permit(deadline, call.entrance).await.map_err(|refused| refusal(refused, line.quota()).of(&call.subject))
    }
}

fn refusal(refused: Refused, quota: Quota) -> Refusal {
    let cause = match refused {
        Refused::Saturated { retry_after } => Cause::ThresholdSaturated { retry_after },
        Refused::Locked { retry_after } => Cause::ThresholdLocked { retry_after },
        Refused::Full { retry_after } => Cause::QueueFull { retry_after },
    };
    Refusal::from(cause).with_quota(quota)
}
