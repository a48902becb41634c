//! The outermost room: infallible, so that every request gets an answer.
//!
//! It refuses what the listener found to be no request, and new work during a drain, turns refusals and panics into
//! answers, and writes the one log line and the metrics of each request.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use tower::{Layer, Service, ServiceExt};
use tower_http::request_id::RequestId;

use crate::{
    call::{CacheOutcome, RequestSummary, attempt_log::AttemptLog},
    ledger::Limit,
    message::{body::Body, protocol::RequestState},
    os::{clock, shutdown::Shutdown},
    problem::{Cause, Refusal, respond},
    telemetry::{Metrics, milliseconds},
};

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct EdgeLayer {
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
}

/// The room.
#[derive(Debug, Clone)]
pub struct Edge<S> {
    room: EdgeLayer,
    inner: S,
}

impl EdgeLayer {
    /// Follows `shutdown`, counts in `metrics`.
    #[must_use]
    pub fn new(shutdown: Shutdown, metrics: Arc<Metrics>) -> Self {
        Self { shutdown, metrics }
    }
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge { room: self.clone(), inner }
    }
}

impl<S> Service<Request<Incoming>> for Edge<S>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    /// Always: what the rooms behind say becomes an answer, so they are asked when there is something to answer.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let room = self.room.clone();
        let inner = self.inner.clone();
        Box::pin(async move {
            let began = clock::now();
            let in_flight = room.shutdown.in_flight();
            let method = request.method().clone();
            let id = request.extensions().get::<RequestId>().map(|id| id.header_value().clone());
            let request_state = request.extensions().get::<RequestState>().cloned();
            let attempt_log = AttemptLog::default();
            request.extensions_mut().insert(attempt_log.clone());
            let fault = || request_state.as_ref().and_then(RequestState::fault);
            let outcome = if let Some(fault) = fault() {
                Err(Cause::Protocol(fault).into())
            } else if room.shutdown.is_draining() {
                Err(Cause::ShuttingDown.into())
            } else {
                let summary = AssertUnwindSafe(inner.oneshot(request)).catch_unwind();
                tokio::select! {
                    outcome = summary => outcome.unwrap_or_else(|_| Err(Cause::Internal.into())),
                    () = room.shutdown.cut_off() => Err(Cause::CutOff(attempt_log.fate()).into()),
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
            let mut response = room.answer(outcome, &method, id.as_ref());
            // A body that is still to come is not waited for, and its connection ends (RFC 9112 section 9.6). So does one
            // whose call finds no memory to wait in, since the connection takes memory too.
            let is_whole = request_state.is_some_and(|request_state| request_state.is_whole());
            if room.shutdown.is_draining() || memory_is_full || !is_whole {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let took = clock::now().saturating_duration_since(began);
            let summary = response.extensions_mut().remove::<RequestSummary>();
            let cache = response.extensions_mut().remove::<CacheOutcome>();
            room.metrics.answered(summary.as_ref(), response.status(), took);
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

impl EdgeLayer {
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
