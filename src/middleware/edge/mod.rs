//! The outermost layer: every request gets an answer.
//!
//! Rejects malformed requests, and new requests during a drain. Turns rejections and panics into answers, and writes one log
//! line, the metrics and the span of each request.

mod end;
mod report;
mod request_span;

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use http::{HeaderValue, Response, header};

use self::report::Report;
use crate::{
    call::{
        Accepted, Arrived, Exchange,
        attempt_log::AttemptLog,
        request_id::{RequestId, X_REQUEST_ID},
        request_log::RequestLog,
    },
    ledger::Limit,
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    os::{clock, shutdown::Shutdown},
    problem::{Cause, Refusal},
    telemetry::{Metrics, RecentRefusals, Traces},
};

/// Answers, counts and logs every request.
#[derive(Debug)]
pub struct Edge {
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
    refusals: Arc<RecentRefusals>,
    traces: Traces,
}

impl<S: Inner<Accepted>> Middleware<Arrived, S> for Edge {
    type Response = Response<Body>;
    type Error = Infallible;

    fn handle(self: &Arc<Self>, arrived: Arrived, inner: &mut S) -> BoxFuture<Response<Body>, Infallible> {
        let (edge, mut inner) = (Arc::clone(self), inner.clone());
        Box::pin(async move {
            let in_flight = edge.shutdown.in_flight();
            let report = edge.report(&arrived);
            let (id, state) = (report.id.clone(), arrived.state.clone());
            let outcome = if let Some(fault) = state.fault() {
                Err(Cause::Protocol(fault).into())
            } else if edge.shutdown.rejects_new_work() {
                Err(Cause::ShuttingDown.into())
            } else {
                let (attempt_log, request_log) = (report.attempt_log.clone(), report.request_log.clone());
                let exchange = Exchange { id: id.clone(), state: state.clone(), attempt_log, request_log };
                let accepted = arrived.accepted(exchange);
                let answer = AssertUnwindSafe(async move { inner.call(accepted).await }).catch_unwind();
                tokio::select! {
                    outcome = answer => outcome.unwrap_or_else(|_| Err(Cause::Internal.into())),
                    () = edge.shutdown.cut_off() => Err(Cause::CutOff(report.attempt_log.fate()).into()),
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
            let mut response = report.answer(outcome);
            // The rest of an unread body is not awaited; its connection closes (RFC 9112 section 9.6). It also closes when
            // the queue has no memory left, because a connection takes memory too.
            if edge.shutdown.is_out_of_service() || memory_is_full || !state.is_whole() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response.headers_mut().insert(X_REQUEST_ID, id.into());
            Ok(response.map(|body| body.in_flight(in_flight)))
        })
    }
}

impl Edge {
    /// Obeys `shutdown`, counts in `metrics`, keeps the last `refusals`, and starts `traces`.
    pub fn layer(
        shutdown: Shutdown,
        metrics: Arc<Metrics>,
        refusals: Arc<RecentRefusals>,
        traces: Traces,
    ) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { shutdown, metrics, refusals, traces })
    }

    fn report(&self, arrived: &Arrived) -> Report {
        let (headers, method) = (arrived.request.headers(), arrived.request.method().clone());
        let (mut span, trace, traceparent) = self.traces.request(headers);
        request_span::begin(&mut span, &method, headers, &arrived.peer);
        Report {
            metrics: Arc::clone(&self.metrics),
            refusals: Arc::clone(&self.refusals),
            began: clock::now(),
            id: RequestId::of(headers),
            client: arrived.peer.address,
            method,
            request_log: RequestLog::default(),
            attempt_log: AttemptLog::traced(trace),
            span,
            traceparent,
            is_reported: false,
        }
    }
}
