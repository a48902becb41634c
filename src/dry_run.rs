//! The dry-run room: a call with `Gateway-Dry-Run: ?1` (a boolean of RFC 8941) is judged, but not made.
//!
//! It has passed route and validation, so its route and payload are good; the answer says which route it is and how
//! long it would wait. Refused is a field that is no boolean: to make the call after all would be a surprise.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Response, header};
use serde_json::json;
use tower::{Layer, Service};

use crate::{
    body::Body,
    boxed::BoxFuture,
    call::{Call, Visit},
    fault::Fault,
    ledger::Lines,
    priority, ratelimit,
    refusal::{Cause, Refusal},
    respond,
};

const DRY_RUN: &str = "gateway-dry-run";

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct DryRunLayer {
    lines: Arc<Lines>,
}

/// The room.
#[derive(Debug, Clone)]
pub struct DryRun<S> {
    lines: Arc<Lines>,
    inner: S,
}

impl DryRunLayer {
    /// Looks at these queues.
    #[must_use]
    pub fn new(lines: Arc<Lines>) -> Self {
        Self { lines }
    }
}

impl<S> Layer<S> for DryRunLayer {
    type Service = DryRun<S>;

    fn layer(&self, inner: S) -> DryRun<S> {
        DryRun { lines: Arc::clone(&self.lines), inner }
    }
}

impl<S> Service<Call> for DryRun<S>
where
    S: Service<Call, Response = Response<Body>, Error = Refusal, Future = BoxFuture<Response<Body>, Refusal>>,
{
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = BoxFuture<Response<Body>, Refusal>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        match asked(&call) {
            Ok(false) => self.inner.call(call),
            Ok(true) => Box::pin(std::future::ready(Ok(verdict(&self.lines, &call)))),
            Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
        }
    }
}

fn asked(call: &Call) -> Result<bool, Refusal> {
    let mut values = call.headers.get_all(DRY_RUN).iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (None, _) | (Some(b"?0"), None) => Ok(false),
        (Some(b"?1"), None) => Ok(true),
        _ => {
            let detail = "expected ?1 or ?0, once".to_owned();
            let fault = Fault { parameter: "Gateway-Dry-Run".to_owned(), pointer: String::new(), detail };
            Err(Refusal::from(Cause::InvalidPayload(vec![fault])).of(&call.subject))
        }
    }
}

fn verdict(lines: &Lines, call: &Call) -> Response<Body> {
    let (account, route) = call.subject.names();
    let line = lines.line(&call.subject.account, &call.subject.route);
    let urgency = priority::urgency(&call.headers);
    let wait = line.as_ref().map(|line| line.expected(&call.subject.caller, urgency)).unwrap_or_default();
    let body = json!({
        "verdict": "valid",
        "route": route.as_str(),
        "account": account.as_str(),
        "expected_wait_seconds": wait.as_secs_f64(),
    });
    let mut response = Response::new(Body::full(format!("{body}\n")));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    respond::proxy_status(headers, "", "dry-run");
    if let Some(line) = line {
        ratelimit::write(headers, &route, &line.allowance());
    }
    response.extensions_mut().insert(Visit { account, route, waited: None });
    response
}
