//! The one place where a refusal becomes HTTP: `application/problem+json` (RFC 9457) with `Proxy-Status` (RFC 9209).
//!
//! Here stand the table of problems and the form of the answer; what the answer says stands in `words.rs`.

mod words;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::{
    message::{body::Body, payload_error::Fault, protocol::ProtocolFault},
    problem::{Cause, Encoding, Refusal, Unauthenticated, ratelimit},
};

/// An account that Zoho no longer takes needs a person; asking more often than this does not help.
const AFTER_A_PERSON: Duration = Duration::from_secs(5 * 60);

/// The store is tried again more often than this.
const AFTER_A_RETRY: Duration = Duration::from_secs(1);

/// A gateway that shuts down is usually back within seconds.
const AFTER_A_RESTART: Duration = Duration::from_secs(5);

// The error types of RFC 9209 section 2.3 for what happens here; those of what happens on the way to Zoho come with it.
const BAD: &str = "http_request_error";
const DENIED: &str = "http_request_denied";
const NOT_FOUND: &str = "destination_not_found";
const UNAVAILABLE: &str = "destination_unavailable";
const OUR_FAULT: &str = "proxy_internal_error";
const NO_ERROR: &str = "";

/// The names of all problems, for those who count them; a test holds them to the table.
pub const NAMES: [&str; 27] = [
    "account-unauthorised",
    "audit-unavailable",
    "body-too-large",
    "caller-forbidden",
    "caller-limit",
    "caller-unauthenticated",
    "foreign-origin",
    "internal-error",
    "invalid-payload",
    "issuer-unavailable",
    "malformed-request",
    "not-cached",
    "queue-full",
    "request-timeout",
    "scope-missing",
    "shutting-down",
    "state-unavailable",
    "threshold-locked",
    "threshold-saturated",
    "token-throttled",
    "unknown-account",
    "unknown-route",
    "unsupported-encoding",
    "upstream-invalid-response",
    "upstream-timeout",
    "upstream-unreachable",
    "wrong-data-center",
];

/// The table of problems: status, name, and error type.
fn kind(cause: &Cause) -> (StatusCode, &'static str, &'static str) {
    match cause {
        Cause::Protocol(ProtocolFault::HeadTimeout | ProtocolFault::BodyTimeout) => {
            (StatusCode::REQUEST_TIMEOUT, "request-timeout", BAD)
        }
        Cause::Protocol(fault) => (protocol(*fault).0, "malformed-request", BAD),
        Cause::ForeignOrigin(_) => (StatusCode::FORBIDDEN, "foreign-origin", DENIED),
        Cause::InvalidPayload(_) | Cause::BodyIncomplete | Cause::BodyOverrides => {
            (StatusCode::BAD_REQUEST, "invalid-payload", BAD)
        }
        Cause::CallerUnauthenticated(_) => (StatusCode::UNAUTHORIZED, "caller-unauthenticated", DENIED),
        Cause::IssuerUnavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "issuer-unavailable", OUR_FAULT),
        Cause::CallerForbidden(_) => (StatusCode::FORBIDDEN, "caller-forbidden", DENIED),
        Cause::CallerLimit { .. } => (StatusCode::TOO_MANY_REQUESTS, "caller-limit", DENIED),
        Cause::UnknownRoute { .. } => (StatusCode::NOT_FOUND, "unknown-route", NOT_FOUND),
        Cause::UnknownAccount { .. } => (StatusCode::NOT_FOUND, "unknown-account", NOT_FOUND),
        Cause::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", BAD),
        Cause::BodyEncoded { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", BAD),
        Cause::ThresholdSaturated { .. } => (StatusCode::TOO_MANY_REQUESTS, "threshold-saturated", DENIED),
        Cause::ThresholdLocked { .. } => (StatusCode::TOO_MANY_REQUESTS, "threshold-locked", DENIED),
        Cause::QueueFull { .. } => (StatusCode::TOO_MANY_REQUESTS, "queue-full", DENIED),
        Cause::StateUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "state-unavailable", OUR_FAULT),
        Cause::AuditUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "audit-unavailable", OUR_FAULT),
        Cause::UpstreamUnreachable(fault) => (StatusCode::BAD_GATEWAY, "upstream-unreachable", fault.error),
        Cause::UpstreamInvalidResponse(fault) => (StatusCode::BAD_GATEWAY, "upstream-invalid-response", fault.error),
        Cause::UpstreamTimeout(fault) => (StatusCode::GATEWAY_TIMEOUT, "upstream-timeout", fault.error),
        Cause::AccountUnauthorised { .. } => (StatusCode::SERVICE_UNAVAILABLE, "account-unauthorised", UNAVAILABLE),
        Cause::WrongDataCenter { .. } => (StatusCode::SERVICE_UNAVAILABLE, "wrong-data-center", UNAVAILABLE),
        Cause::ScopeMissing { .. } => (StatusCode::FORBIDDEN, "scope-missing", DENIED),
        Cause::TokenThrottled { .. } => (StatusCode::SERVICE_UNAVAILABLE, "token-throttled", UNAVAILABLE),
        // RFC 9111 section 5.2.1.7 wants this status.
        Cause::NotCached => (StatusCode::GATEWAY_TIMEOUT, "not-cached", NO_ERROR),
        Cause::ShuttingDown | Cause::CutOff(_) => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down", UNAVAILABLE),
        Cause::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal-error", OUR_FAULT),
    }
}

/// The same of what is no request, and what is wrong with it.
#[must_use]
pub fn protocol(fault: ProtocolFault) -> (StatusCode, &'static str) {
    match fault {
        ProtocolFault::Malformed(detail) => (StatusCode::BAD_REQUEST, detail),
        ProtocolFault::TargetTooLong => {
            (StatusCode::URI_TOO_LONG, "the request line is longer than a head may be (proxy.max_header_bytes)")
        }
        ProtocolFault::HeadTooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the head has more bytes or more fields than it may (proxy.max_header_bytes, proxy.max_headers)",
        ),
        ProtocolFault::HeadTimeout => {
            (StatusCode::REQUEST_TIMEOUT, "the head was not complete in time (proxy.header_timeout)")
        }
        ProtocolFault::BodyTimeout => {
            (StatusCode::REQUEST_TIMEOUT, "the gateway waited for the body for as long as it may (proxy.body_timeout)")
        }
        ProtocolFault::Version => {
            (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        }
        ProtocolFault::TransferCoding => (StatusCode::NOT_IMPLEMENTED, "the only transfer coding taken is chunked"),
        ProtocolFault::Expectation => {
            (StatusCode::EXPECTATION_FAILED, "the only expectation that can be met is 100-continue")
        }
    }
}

/// When to come back; every 429 and 503 says so.
fn retry_after(cause: &Cause) -> Option<Duration> {
    match cause {
        Cause::IssuerUnavailable { retry_after, .. }
        | Cause::CallerLimit { retry_after }
        | Cause::ThresholdSaturated { retry_after, .. }
        | Cause::ThresholdLocked { retry_after }
        | Cause::QueueFull { retry_after, .. }
        | Cause::TokenThrottled { retry_after } => Some(*retry_after),
        Cause::AccountUnauthorised { .. } | Cause::WrongDataCenter { .. } => Some(AFTER_A_PERSON),
        Cause::StateUnavailable | Cause::AuditUnavailable => Some(AFTER_A_RETRY),
        Cause::ShuttingDown | Cause::CutOff(_) => Some(AFTER_A_RESTART),
        _ => None,
    }
}

/// What a caller is asked for who is not known. A token that was shown and is bad is called so (RFC 6750 section 3.1).
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
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

/// The problem's name, as in `urn:zoho-gateway:problem:NAME`.
#[must_use]
pub fn name(cause: &Cause) -> &'static str {
    kind(cause).1
}

/// What a caller is told, and behind it what only operators are: the chain of causes.
#[must_use]
pub fn for_operators(cause: &Cause) -> String {
    let detail = words::detail(cause);
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
    let (status, name, _) = kind(cause);
    Problem {
        kind: format!("urn:zoho-gateway:problem:{name}"),
        title: words::title(cause),
        status: status.as_u16(),
        detail: words::detail(cause),
        instance: request_id,
        route: refusal.route.as_ref().map(|route| route.as_str()),
        account: refusal.account.as_ref().map(|account| account.as_str()),
        retry_after: retry_after(cause).map(ratelimit::whole_seconds),
        errors: if let Cause::InvalidPayload(faults) = cause { faults } else { &[] },
    }
}

/// The answer a caller gets.
#[must_use]
pub fn respond(refusal: &Refusal, request_id: &str) -> Response<Body> {
    let (status, name, error) = kind(&refusal.cause);
    let problem = problem(refusal, request_id);
    // A struct of texts and numbers always has a JSON form. It ends in a newline for people at a terminal.
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
        // RFC 9110 section 12.5.3: which codings a request may have.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 15.5.2 wants a challenge with this status.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge(&refusal.cause)));
    }
    proxy_status(headers, error, name);
    if let (Some(route), Some(allowance)) = (&refusal.route, &refusal.allowance) {
        ratelimit::write(headers, route, allowance);
    }
    response
}

/// Marks an answer as the gateway's own.
pub fn proxy_status(headers: &mut HeaderMap, error: &str, details: &str) {
    let error = if error.is_empty() { String::new() } else { format!("; error={error}") };
    if let Ok(value) = HeaderValue::from_str(&format!("zoho-gateway{error}; details=\"{details}\"")) {
        headers.insert("proxy-status", value);
    }
}
