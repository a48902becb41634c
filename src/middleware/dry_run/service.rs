//! Answers a call that asks for a dry run.

use std::{future::ready, sync::Arc};

use http::{HeaderValue, Response, header};
use serde::Serialize;

use crate::{
    call::{Call, RequestSummary, dry_run},
    ledger::Limiters,
    message::{body::Body, payload_error::Fault},
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    problem::{
        Cause, Refusal, ratelimit,
        respond::{self, Problem},
    },
};

/// Predicts the outcome of a call.
#[derive(Debug)]
pub struct DryRun {
    limiters: Arc<Limiters>,
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

impl DryRun {
    /// Predicts from the state of these limiters.
    pub fn layer(limiters: Arc<Limiters>) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { limiters })
    }
}

impl<S: Inner<Call>> Middleware<Call, S> for DryRun {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, call: Call, inner: &mut S) -> BoxFuture {
        match asked(&call) {
            Ok(false) => inner.call(call),
            Ok(true) => Box::pin(ready(Ok(predict(&self.limiters, &call)))),
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }
}

fn asked(call: &Call) -> Result<bool, Refusal> {
    dry_run::is_asked(&call.headers).ok_or_else(|| {
        let detail = "expected ?1 or ?0, once".to_owned();
        let fault = Fault { parameter: "Gateway-Dry-Run".to_owned(), pointer: String::new(), detail };
        Refusal::from(Cause::InvalidPayload(vec![fault])).of(&call.context)
    })
}

fn predict(limiters: &Limiters, call: &Call) -> Response<Body> {
    let (account, route) = call.context.names();
    let limit = limiters.limit(&call.context.account, &call.context.route);
    let limiter = limit.limiter();
    let request = call.slot_request();
    let (wait, accepted) = limit.verdict(&request);
    let refusal = accepted.err().map(|refused| Refusal::from(Cause::from(refused)).of(&call.context));
    let result = DryRunResult {
        account: account.as_str(),
        expected_wait_seconds: wait.as_secs_f64(),
        problem: refusal.as_ref().map(|refusal| respond::problem(refusal, call.request_id.as_str())),
        route: route.as_str(),
        verdict: if refusal.is_some() { "refused" } else { "valid" },
    };
    // A struct of texts and numbers always has a JSON form.
    let body = serde_json::to_string(&result).unwrap_or_default();
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
