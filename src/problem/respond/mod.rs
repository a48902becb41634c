//! The one place that turns a refusal into HTTP: `application/problem+json` (RFC 9457) with `Proxy-Status` (RFC 9209).
//!
//! [`super::table`] has what all refusals of one type have in common, `details.rs` has what one refusal says.

mod details;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

pub use super::table::{NAMES, protocol};
use crate::{
    call::prefer,
    message::{body::Body, payload_error::Fault},
    problem::{Cause, Encoding, Refusal, Unauthenticated, ratelimit, table::ProblemType},
};

/// The challenge of a 401. It names a token that was sent and is invalid (RFC 6750 section 3.1).
fn challenge(cause: &Cause) -> &'static str {
    match cause {
        Cause::CallerUnauthenticated(Unauthenticated::BadToken(_)) => {
            "Bearer realm=\"zoho-gateway\", error=\"invalid_token\""
        }
        _ => "Bearer realm=\"zoho-gateway\"",
    }
}

/// The body of a problem.
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// How many calls go before this one, if its turn is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    /// The seconds until its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_wait: Option<f64>,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
    /// Zoho's page with the rules that `errors` are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'a str>,
}

/// The problem's name, as in `urn:zoho-gateway:problem:NAME`.
#[must_use]
pub fn name(cause: &Cause) -> &'static str {
    cause.problem_type().name
}

/// The text for the caller, followed by the chain of causes, which is for operators only.
#[must_use]
pub fn for_operators(cause: &Cause) -> String {
    let detail = details::detail(cause);
    match cause {
        Cause::UpstreamUnreachable(fault) | Cause::UpstreamInvalidResponse(fault) | Cause::UpstreamTimeout(fault) => {
            format!("{detail} ({})", fault.log)
        }
        _ => detail,
    }
}

/// The body of the answer; `request_id` becomes the problem's instance.
#[must_use]
pub fn problem<'a>(refusal: &'a Refusal, request_id: &'a str) -> Problem<'a> {
    let cause = &*refusal.cause;
    let ProblemType { name, status, title, retry_after, .. } = cause.problem_type();
    let (position, expected_wait) = match cause {
        Cause::ThresholdSaturated { retry_after, position, .. } => {
            (*position, Some(retry_after.as_millis() as f64 / 1000.0))
        }
        _ => (None, None),
    };
    Problem {
        kind: format!("urn:zoho-gateway:problem:{name}"),
        title,
        status: status.as_u16(),
        detail: details::detail(cause),
        instance: request_id,
        route: refusal.route.as_ref().map(|route| route.as_str()),
        account: refusal.account.as_ref().map(|account| account.as_str()),
        retry_after: retry_after.map(ratelimit::whole_seconds),
        position,
        expected_wait,
        errors: if let Cause::InvalidPayload(faults) = cause { faults } else { &[] },
        page: refusal.page.as_deref(),
    }
}

/// The answer for the caller.
#[must_use]
pub fn respond(refusal: &Refusal, request_id: &str) -> Response<Body> {
    let ProblemType { name, status, error, .. } = refusal.cause.problem_type();
    let problem = problem(refusal, request_id);
    // Serializing texts and numbers cannot fail. The newline is for people at a terminal.
    let body = serde_json::to_string(&problem).unwrap_or_default() + "\n";
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if matches!(*refusal.cause, Cause::BodyEncoded { encoding: Encoding::Compressed, .. }) {
        // The codings that a request may have (RFC 9110 section 12.5.3).
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if let Cause::MethodNotAllowed { allowed } = *refusal.cause {
        // RFC 9110 section 15.5.6 requires the field with this status.
        headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 15.5.2 requires a challenge with this status.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge(&refusal.cause)));
    }
    proxy_status(headers, error, name);
    if let Some(wait) = refusal.applied_wait {
        prefer::write_applied(headers, wait);
    }
    if let (Some(route), Some(allowance)) = (&refusal.route, &refusal.allowance) {
        ratelimit::write(headers, route, allowance);
    }
    response
}

/// The details of an answer that is a part of Zoho's, composed by the gateway.
const MERGED: &str = "merged";

/// Marks a part of Zoho's answer to several calls.
pub fn mark_as_merged(headers: &mut HeaderMap) {
    proxy_status(headers, "", MERGED);
}

/// Whether the gateway itself made an answer. A part of Zoho's answer is Zoho's.
#[must_use]
pub fn is_own(headers: &HeaderMap) -> bool {
    let is_merged = |value: &HeaderValue| value.as_bytes().ends_with(format!("details=\"{MERGED}\"").as_bytes());
    headers.get("proxy-status").is_some_and(|value| !is_merged(value))
}

/// Marks an answer as the gateway's own.
pub fn proxy_status(headers: &mut HeaderMap, error: &str, details: &str) {
    let error = if error.is_empty() { String::new() } else { format!("; error={error}") };
    if let Ok(value) = HeaderValue::from_str(&format!("zoho-gateway{error}; details=\"{details}\"")) {
        headers.insert("proxy-status", value);
    }
}
