//! The outermost layer: every request gets an answer.
//!
//! Rejects malformed requests, and new requests during a drain. Turns rejections and panics into answers, and writes one log
//! line and the metrics of each request.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use http::{HeaderValue, Method, Response, header};

use crate::{
    call::{
        Accepted, Arrived, CacheOutcome, Exchange, MergedInto, RequestSummary,
        attempt_log::AttemptLog,
        request_id::{RequestId, X_REQUEST_ID},
    },
    ledger::Limit,
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::{clock, shutdown::Shutdown},
    problem::{Cause, Refusal, respond},
    telemetry::{Metrics, milliseconds},
};

/// Answers, counts and logs every request.
#[derive(Debug)]
pub struct Edge {
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
}

impl<S: Inner<Accepted>> Middleware<Arrived, S> for Edge {
    type Response = Response<Body>;
    type Error = Infallible;

    fn handle(self: &Arc<Self>, arrived: Arrived, inner: &mut S) -> BoxFuture<Response<Body>, Infallible> {
        let (edge, mut inner) = (Arc::clone(self), inner.clone());
        Box::pin(async move {
            let began = clock::now();
            let in_flight = edge.shutdown.in_flight();
            let (method, state) = (arrived.request.method().clone(), arrived.state.clone());
            let (id, attempt_log) = (RequestId::of(arrived.request.headers()), AttemptLog::default());
            let outcome = if let Some(fault) = state.fault() {
                Err(Cause::Protocol(fault).into())
            } else if edge.shutdown.refuses_work() {
                Err(Cause::ShuttingDown.into())
            } else {
                let exchange = Exchange { id: id.clone(), state: state.clone(), attempt_log: attempt_log.clone() };
                let accepted = arrived.accepted(exchange);
                let answer = AssertUnwindSafe(async move { inner.call(accepted).await }).catch_unwind();
                tokio::select! {
                    outcome = answer => outcome.unwrap_or_else(|_| Err(Cause::Internal.into())),
                    () = edge.shutdown.cut_off() => Err(Cause::CutOff(attempt_log.fate()).into()),
                }
            };
            // Only the listener knows why a body ended early.
            let outcome = outcome.map_err(|refusal| match (&*refusal.cause, state.fault()) {
                (Cause::BodyIncomplete, Some(fault)) => Refusal { cause: Cause::Protocol(fault).into(), ..refusal },
                _ => refusal,
            });
            let memory_is_full = outcome
                .as_ref()
                .is_err_and(|refusal| matches!(*refusal.cause, Cause::QueueFull { limit: Limit::Bytes, .. }));
            let mut response = edge.answer(outcome, &method, &id);
            // The rest of an unread body is not awaited; its connection closes (RFC 9112 section 9.6). It also closes when
            // the queue has no memory left, because a connection takes memory too.
            if edge.shutdown.refuses_work() || memory_is_full || !state.is_whole() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let took = clock::now().saturating_duration_since(began);
            let summary = response.extensions_mut().remove::<RequestSummary>();
            let cache = response.extensions_mut().remove::<CacheOutcome>();
            let merged_into = response.extensions_mut().remove::<MergedInto>();
            edge.metrics.answered(summary.as_ref(), response.status(), took);
            tracing::info!(
                request_id = id.as_str(),
                %method,
                account = summary.as_ref().map(|summary| summary.account.as_str()),
                route = summary.as_ref().map(|summary| summary.route.as_str()),
                status = response.status().as_u16(),
                cache = cache.map(CacheOutcome::as_str),
                merged_into = merged_into.as_ref().map(|MergedInto(id)| id.as_str()),
                waited_ms = summary.as_ref().and_then(|summary| summary.waited.map(milliseconds)),
                took_ms = milliseconds(took),
                "answered"
            );
            response.headers_mut().insert(X_REQUEST_ID, id.into());
            Ok(response.map(|body| body.in_flight(in_flight)))
        })
    }
}

impl Edge {
    /// Obeys `shutdown` and counts in `metrics`.
    pub fn layer(shutdown: Shutdown, metrics: Arc<Metrics>) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { shutdown, metrics })
    }

    fn answer(&self, outcome: Result<Response<Body>, Refusal>, method: &Method, id: &RequestId) -> Response<Body> {
        let refusal = match outcome {
            Ok(response) => return response,
            Err(refusal) => refusal,
        };
        let id = id.as_str();
        let problem = respond::name(&refusal.cause);
        self.metrics.refused(problem);
        // Payload faults are not logged, because they may quote the payload.
        let (account, route) = (refusal.account.as_ref(), refusal.route.as_ref());
        let (account, route) = (account.map(|name| name.as_str()), route.map(|id| id.as_str()));
        match &*refusal.cause {
            Cause::UpstreamUnreachable(fault)
            | Cause::UpstreamInvalidResponse(fault)
            | Cause::UpstreamTimeout(fault) => {
                let (server, cause) = (&fault.server, &fault.log);
                tracing::warn!(request_id = id, %method, account, route, problem, server, cause, "refused");
            }
            Cause::Internal => tracing::error!(request_id = id, %method, account, route, problem, "refused"),
            _ => tracing::info!(request_id = id, %method, account, route, problem, "refused"),
        }
        let mut response = respond::respond(&refusal, id);
        if let (Some(account), Some(route)) = (refusal.account, refusal.route) {
            response.extensions_mut().insert(RequestSummary { account, route, waited: None });
        }
        response
    }
}
