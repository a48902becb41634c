//! The outermost layer: every request gets an answer.
//!
//! It refuses malformed requests, and new work during a drain. It turns refusals and panics into answers, and writes the
//! one log line and the metrics of each request.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use tower_http::request_id::RequestId;

use crate::{
    call::{CacheOutcome, RequestSummary, attempt_log::AttemptLog},
    ledger::Limit,
    message::{body::Body, protocol::RequestState},
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

impl<S: Inner<Request<Incoming>>> Middleware<Request<Incoming>, S> for Edge {
    type Response = Response<Body>;
    type Error = Infallible;

    fn handle(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        inner: &mut S,
    ) -> BoxFuture<Response<Body>, Infallible> {
        let (edge, mut inner) = (Arc::clone(self), inner.clone());
        Box::pin(async move {
            let began = clock::now();
            let in_flight = edge.shutdown.in_flight();
            let method = request.method().clone();
            let id = request.extensions().get::<RequestId>().map(|id| id.header_value().clone());
            let request_state = request.extensions().get::<RequestState>().cloned();
            let attempt_log = AttemptLog::default();
            request.extensions_mut().insert(attempt_log.clone());
            let fault = || request_state.as_ref().and_then(RequestState::fault);
            let outcome = if let Some(fault) = fault() {
                Err(Cause::Protocol(fault).into())
            } else if edge.shutdown.is_draining() {
                Err(Cause::ShuttingDown.into())
            } else {
                let summary = AssertUnwindSafe(async move { inner.call(request).await }).catch_unwind();
                tokio::select! {
                    outcome = summary => outcome.unwrap_or_else(|_| Err(Cause::Internal.into())),
                    () = edge.shutdown.cut_off() => Err(Cause::CutOff(attempt_log.fate()).into()),
                }
            };
            // Only the listener knows why a body broke off.
            let outcome = outcome.map_err(|refusal| match (&*refusal.cause, fault()) {
                (Cause::BodyIncomplete, Some(fault)) => Refusal { cause: Cause::Protocol(fault).into(), ..refusal },
                _ => refusal,
            });
            let memory_is_full = outcome
                .as_ref()
                .is_err_and(|refusal| matches!(*refusal.cause, Cause::QueueFull { limit: Limit::Bytes, .. }));
            let mut response = edge.answer(outcome, &method, id.as_ref());
            // A body that is still to come is not waited for, and its connection ends (RFC 9112 section 9.6). So does one
            // whose call finds no memory to wait in, since the connection takes memory too.
            let is_whole = request_state.is_some_and(|request_state| request_state.is_whole());
            if edge.shutdown.is_draining() || memory_is_full || !is_whole {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let took = clock::now().saturating_duration_since(began);
            let summary = response.extensions_mut().remove::<RequestSummary>();
            let cache = response.extensions_mut().remove::<CacheOutcome>();
            edge.metrics.answered(summary.as_ref(), response.status(), took);
            tracing::info!(
                request_id = id.as_ref().and_then(|id| id.to_str().ok()),
                %method,
                account = summary.as_ref().map(|summary| summary.account.as_str()),
                route = summary.as_ref().map(|summary| summary.route.as_str()),
                status = response.status().as_u16(),
                cache = cache.map(CacheOutcome::as_str),
                waited_ms = summary.as_ref().and_then(|summary| summary.waited.map(milliseconds)),
                took_ms = milliseconds(took),
                "answered"
            );
            Ok(response.map(|body| body.in_flight(in_flight).pausing_before_an_error()))
        })
    }
}

impl Edge {
    /// Follows `shutdown`, counts in `metrics`.
    #[must_use]
    pub fn layer(shutdown: Shutdown, metrics: Arc<Metrics>) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { shutdown, metrics })
    }

    fn answer(
        &self,
        outcome: Result<Response<Body>, Refusal>,
        method: &Method,
        id: Option<&HeaderValue>,
    ) -> Response<Body> {
        let refusal = match outcome {
            Ok(response) => return response,
            Err(refusal) => refusal,
        };
        let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        let problem = respond::name(&refusal.cause);
        self.metrics.refused(problem);
        // Faults are not logged: they may quote the caller's payload.
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
