//! The span of an attempt, by OpenTelemetry's conventions for HTTP clients.
//!
//! A merged call is an attempt of each of its calls, so it has a span in the trace of each. Paths and queries hold personal
//! data; a span has the route's template instead.

use std::borrow::Cow;

use http::{Request, StatusCode, uri::Scheme};

use crate::{
    call::{
        Answer, RetryReason,
        attempt_log::AttemptLog,
        trace::{Span, SpanKind, Trace, Value},
    },
    message::body::Body,
    problem::{Cause, respond},
    zoho::{catalogue::Route, endpoint::Endpoint},
};

/// Ends when it is dropped.
pub(super) struct AttemptSpan(Vec<Span>);

impl AttemptSpan {
    /// Starts it just before the request is sent.
    pub(super) fn begin(log: &AttemptLog, request: &Request<Body>, endpoint: &Endpoint, route: &Route) -> Self {
        let span = |trace: Trace| {
            let mut span = trace.child(request.method().to_string(), SpanKind::Client);
            let (authority, scheme) = (endpoint.authority(), endpoint.scheme());
            let port = authority.port_u16().unwrap_or(if *scheme == Scheme::HTTP { 80 } else { 443 });
            let template = route.path.as_deref().unwrap_or("/{path}");
            span.set("http.request.method", || Some(request.method().to_string()));
            span.set("server.address", || Some(authority.host().to_owned()));
            span.set("server.port", || Some(i64::from(port)));
            span.set("url.full", || Some(format!("{scheme}://{authority}{template}")));
            span.set("url.template", || Some(template.to_owned()));
            let before = log.steps().attempts;
            span.set("http.request.resend_count", || (before > 0).then_some(i64::from(before)));
            span
        };
        Self(log.traces().into_iter().map(span).collect())
    }

    /// Zoho's answer has this status.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.set("http.response.status_code", i64::from(status.as_u16()));
    }

    /// A lock came before anything was sent.
    pub(super) fn held_back(&mut self) {
        self.set("zoho_gateway.held_back", true);
    }

    /// Says how it ended, if it failed.
    pub(super) fn ended(&mut self, outcome: &Result<Answer, Cause>) {
        let failure: Cow<'static, str> = match outcome {
            Ok(Answer { retry: Some(RetryReason::Locked(_)), .. }) => "locked".into(),
            Ok(Answer { retry: Some(RetryReason::TokenRefused(_)), .. }) => "token_refused".into(),
            Ok(Answer { response, .. }) if response.status().as_u16() < 400 => return,
            Ok(Answer { response, .. }) => response.status().as_u16().to_string().into(),
            Err(cause) => respond::name(cause).into(),
        };
        self.0.iter_mut().for_each(|span| span.fail(|| failure.clone()));
    }

    fn set(&mut self, key: &'static str, value: impl Into<Value> + Clone) {
        self.0.iter_mut().for_each(|span| span.set(key, || Some(value.clone())));
    }
}
