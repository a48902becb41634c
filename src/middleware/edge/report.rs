//! The report of a request: its line in the log, its metrics and its span.

use std::{mem, sync::Arc};

use http::{Method, Response};
use tokio::time::Instant;

use super::{
    end::{End, Outcome},
    request_span,
};
use crate::{
    call::{
        CacheOutcome, MergedInto, RequestSummary,
        attempt_log::AttemptLog,
        peer::ClientAddress,
        request_id::RequestId,
        request_log::RequestLog,
        trace::{Span, TraceParent},
    },
    message::body::Body,
    os::clock,
    problem::{Refusal, respond},
    telemetry::{self, Metrics, RecentRefusal, RecentRefusals, milliseconds},
};

/// Details that repeat a long path are cut here.
const LONGEST_DETAIL: usize = 500;

/// What the edge knows about a request. Every request is reported once: when it is answered, or when this is dropped
/// before, because its caller has left.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) metrics: Arc<Metrics>,
    pub(super) refusals: Arc<RecentRefusals>,
    pub(super) began: Instant,
    pub(super) id: RequestId,
    pub(super) client: ClientAddress,
    pub(super) method: Method,
    pub(super) request_log: RequestLog,
    pub(super) attempt_log: AttemptLog,
    pub(super) span: Span,
    /// Of its span; without export, the span of its caller.
    pub(super) traceparent: Option<TraceParent>,
    pub(super) is_reported: bool,
}

/// Writes a line with all fields; tracing needs the level in its macro.
macro_rules! line {
    ($level:ident, $report:expr, $end:expr, $left_out:expr) => {{
        let (report, end): (&Report, &End) = ($report, $end);
        let (steps, log) = (report.attempt_log.steps(), &report.request_log);
        // A call that got its part of another's answer may have left the queue before.
        let waited = end.summary.as_ref().and_then(|summary| summary.waited).or(steps.waited);
        tracing::$level!(
            request_id = report.id.as_str(),
            traceparent = report.traceparent.as_ref().map(tracing::field::display),
            caller = log.caller().map(|caller| caller.name()),
            client = %report.client,
            method = %report.method,
            account = end.account(log),
            route = end.route(log),
            status = end.status,
            problem = end.problem,
            detail = end.detail,
            would_refuse = log.reported(),
            cache = end.cache.map(CacheOutcome::as_str),
            merged_into = end.merged_into.as_ref().map(|MergedInto(id)| id.as_str()),
            attempts = steps.attempts,
            waited_ms = waited.map(milliseconds),
            took_ms = milliseconds(clock::now().saturating_duration_since(report.began)),
            left_out = $left_out,
            "{}",
            end.outcome.as_str()
        )
    }};
}

impl Report {
    /// Turns the outcome into the answer, and reports it.
    pub(super) fn answer(mut self, outcome: Result<Response<Body>, Refusal>) -> Response<Body> {
        let (mut response, refusal) = match outcome {
            Ok(response) => (response, None),
            Err(refusal) => (self.refuse(&refusal), Some(refusal)),
        };
        let status = response.status();
        let extensions = response.extensions_mut();
        let cause = refusal.as_ref().map(|refusal| &*refusal.cause);
        let end = End {
            outcome: cause.map_or(Outcome::Answered, Outcome::of),
            status: Some(status.as_u16()),
            problem: cause.map(respond::name),
            detail: cause.map(|cause| cut(respond::for_operators(cause))),
            summary: extensions.remove(),
            cache: extensions.remove(),
            merged_into: extensions.remove(),
        };
        let took = clock::now().saturating_duration_since(self.began);
        self.metrics.answered(end.summary.as_ref(), status, took);
        self.ended(&end);
        response
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        let problem = respond::name(&refusal.cause);
        self.metrics.refused(self.request_log.caller().map(|caller| caller.name()), problem);
        let mut response = respond::respond(refusal, self.id.as_str());
        self.refusals.add(RecentRefusal {
            seconds_ago: 0.0,
            request_id: self.id.as_str().to_owned(),
            method: self.method.to_string(),
            caller: self.request_log.caller().map(|caller| caller.name().to_owned()),
            account: refusal.account.as_ref().map(ToString::to_string),
            route: refusal.route.as_ref().map(ToString::to_string),
            status: response.status().as_u16(),
            problem: problem.to_owned(),
            detail: respond::for_operators(&refusal.cause),
        });
        if let (Some(account), Some(route)) = (refusal.account.clone(), refusal.route.clone()) {
            response.extensions_mut().insert(RequestSummary { account, route, waited: None });
        }
        response
    }

    fn ended(&mut self, end: &End) {
        self.is_reported = true;
        request_span::end(mem::take(&mut self.span), &self.id, &self.method, &self.request_log, end);
        let is_of_unknown_client = self.request_log.caller().is_none();
        let left_out = if is_of_unknown_client { telemetry::line_of_unknown_client() } else { Some(0) };
        let Some(left_out) = left_out else { return };
        let left_out = (left_out > 0).then_some(left_out);
        match end.outcome {
            Outcome::Answered | Outcome::Refused | Outcome::Abandoned => line!(info, self, end, left_out),
            Outcome::Failed => line!(warn, self, end, left_out),
            Outcome::Broken => line!(error, self, end, left_out),
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.is_reported {
            self.ended(&End::abandoned());
        }
    }
}

fn cut(mut detail: String) -> String {
    if detail.len() > LONGEST_DETAIL {
        detail.truncate(detail.floor_char_boundary(LONGEST_DETAIL));
        detail.push_str("...");
    }
    detail
}
