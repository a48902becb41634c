//! One call's visit to the dry-run room.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Response, header};
use serde::Serialize;
use tower::{Layer, Service};

use super::boolean;
use crate::{
    call::{Call, RequestSummary},
    ledger::Limiters,
    message::{body::Body, boxed::BoxFuture, payload_error::Fault},
    problem::{
        Cause, Refusal, ratelimit,
        respond::{self, Problem},
    },
};

const DRY_RUN: &str = "gateway-dry-run";

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct DryRunLayer {
    limiters: Arc<Limiters>,
    max_wait: Duration,
}

/// The room.
#[derive(Debug, Clone)]
pub struct DryRun<S> {
    limiters: Arc<Limiters>,
    max_wait: Duration,
    inner: S,
}

/// The body of the answer.
#[derive(Debug, Serialize)]
struct DryRunResult<'a> {
    account: &'a str,
    expected_wait_seconds: f64,
    /// What the call would get instead of Zoho's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem<'a>>,
    route: &'a str,
    verdict: &'static str,
}

impl DryRunLayer {
    /// Looks at these queues. Callers that prefer nothing else would wait at most `max_wait`.
    #[must_use]
    pub fn new(limiters: Arc<Limiters>, max_wait: Duration) -> Self {
        Self { limiters, max_wait }
    }
}

impl<S> Layer<S> for DryRunLayer {
    type Service = DryRun<S>;

    fn layer(&self, inner: S) -> DryRun<S> {
        DryRun { limiters: Arc::clone(&self.limiters), max_wait: self.max_wait, inner }
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
            Ok(true) => Box::pin(std::future::ready(Ok(verdict(&self.limiters, self.max_wait, &call)))),
            Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
        }
    }
}

fn asked(call: &Call) -> Result<bool, Refusal> {
    let mut values = call.headers.get_all(DRY_RUN).iter().map(HeaderValue::as_bytes);
    let asked = match (values.next(), values.next()) {
        (None, _) => Some(false),
        (Some(value), None) => boolean::parse(value),
        // Two fields are a list, and that is no boolean.
        (Some(_), Some(_)) => None,
    };
    asked.ok_or_else(|| {
        let detail = "expected ?1 or ?0, once".to_owned();
        let fault = Fault { parameter: "Gateway-Dry-Run".to_owned(), pointer: String::new(), detail };
        Refusal::from(Cause::InvalidPayload(vec![fault])).of(&call.context)
    })
}

fn verdict(limiters: &Limiters, max_wait: Duration, call: &Call) -> Response<Body> {
    let (account, route) = call.context.names();
    let limit = limiters.limit(&call.context.account, &call.context.route);
    let limiter = limit.limiter();
    let request = call.slot_request(call.deadline(max_wait));
    let (wait, judged) = limiter.map_or((Duration::ZERO, Ok(())), |limiter| limiter.verdict(&request));
    let refusal = judged.err().map(|refused| Refusal::from(Cause::from(refused)).of(&call.context));
    let verdict = DryRunResult {
        account: account.as_str(),
        expected_wait_seconds: wait.as_secs_f64(),
        problem: refusal.as_ref().map(|refusal| respond::problem(refusal, call.request_id())),
        route: route.as_str(),
        verdict: if refusal.is_some() { "refused" } else { "valid" },
    };
    // A struct of texts and numbers always has a JSON form.
    let body = serde_json::to_string(&verdict).unwrap_or_default();
    let mut response = Response::new(Body::full(format!("{body}\n")));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    respond::proxy_status(headers, "", "dry-run");
    if let Some(limiter) = limiter {
        ratelimit::write(headers, &route, &limiter.allowance());
    }
    response.extensions_mut().insert(RequestSummary { account, route, waited: None });
    response
}
