//! The one place where a refusal becomes HTTP: `application/problem+json` (RFC 9457) with `Proxy-Status` (RFC 9209).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::{
    body::Body,
    fault::Fault,
    ledger::Limit,
    ratelimit,
    refusal::{Cause, Refusal, ScopeEvidence, Unauthenticated, UpstreamFault},
};

/// An account that Zoho no longer takes needs a person; asking more often than this does not help.
const AFTER_A_PERSON: Duration = Duration::from_secs(5 * 60);

/// The store is tried again more often than this.
const AFTER_A_RETRY: Duration = Duration::from_secs(1);

/// A gateway that shuts down is usually back within seconds.
const AFTER_A_RESTART: Duration = Duration::from_secs(5);

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

/// How one cause is told.
struct Telling {
    status: StatusCode,
    name: &'static str,
    title: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    /// The error type of RFC 9209 section 2.3.
    proxy_error: &'static str,
}

/// The problem's name, as in `urn:zoho-gateway:problem:NAME`.
#[must_use]
pub fn name(refusal: &Refusal) -> &'static str {
    tell(refusal).name
}

/// What a caller is told, and behind it what only operators are: the chain of causes.
#[must_use]
pub fn for_operators(cause: &Cause) -> String {
    let detail = tell(&cause.clone().into()).detail;
    match cause {
        Cause::UpstreamUnreachable(fault) | Cause::UpstreamInvalidResponse(fault) | Cause::UpstreamTimeout(fault) => {
            format!("{detail} ({})", fault.log)
        }
        _ => detail,
    }
}

/// The body of the answer, for a caller who only asks what it would be.
#[must_use]
pub fn problem<'a>(refusal: &'a Refusal, request_id: &'a str) -> Problem<'a> {
    told(refusal, tell(refusal), request_id)
}

fn told<'a>(refusal: &'a Refusal, telling: Telling, request_id: &'a str) -> Problem<'a> {
    let errors: &[Fault] = if let Cause::InvalidPayload(faults) = &*refusal.cause { faults } else { &[] };
    Problem {
        kind: format!("urn:zoho-gateway:problem:{}", telling.name),
        title: telling.title,
        status: telling.status.as_u16(),
        detail: telling.detail,
        instance: request_id,
        route: refusal.route.as_ref().map(|route| route.as_str()),
        account: refusal.account.as_ref().map(|account| account.as_str()),
        retry_after: telling.retry_after.map(ratelimit::whole_seconds),
        errors,
    }
}

/// The answer a caller gets; `request_id` becomes the problem's instance.
#[must_use]
pub fn respond(refusal: &Refusal, request_id: &str) -> Response<Body> {
    let telling = tell(refusal);
    let (status, name, proxy_error) = (telling.status, telling.name, telling.proxy_error);
    let problem = told(refusal, telling, request_id);
    // A struct of texts and numbers always has a JSON form.
    let mut response = Response::new(Body::full(serde_json::to_vec(&problem).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        // RFC 9110 section 12.5.3: which codings a request may have.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 15.5.2 wants a challenge with this status.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge(&refusal.cause)));
    }
    proxy_status(headers, proxy_error, name);
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

fn tell(refusal: &Refusal) -> Telling {
    let telling = |status, name, title, detail: String, retry_after, proxy_error| Telling {
        status,
        name,
        title,
        detail,
        retry_after,
        proxy_error,
    };
    let seconds = |span: &Duration| ratelimit::whole_seconds(*span);
    match &*refusal.cause {
        Cause::InvalidPayload(faults) => telling(
            StatusCode::BAD_REQUEST,
            "invalid-payload",
            "The payload breaks the route's documented rules",
            format!("{} found; nothing was sent to Zoho and no slot was spent", count(faults.len(), "fault")),
            None,
            "http_request_error",
        ),
        Cause::Protocol(fault) => telling(
            fault.status(),
            if fault.status() == StatusCode::REQUEST_TIMEOUT { "request-timeout" } else { "malformed-request" },
            "The request is none that the gateway takes",
            format!("{}; the connection ends here", fault.detail()),
            None,
            "http_request_error",
        ),
        Cause::BodyEncoded => telling(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-encoding",
            "The body cannot be read here",
            "this call's payload is checked, and one that is compressed or in another charset than UTF-8 cannot be; send it \
             without Content-Encoding and charset"
                .into(),
            None,
            "http_request_error",
        ),
        Cause::ForeignOrigin { detail } => telling(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "The request looks like a web page's",
            detail.clone(),
            None,
            "http_request_denied",
        ),
        Cause::BodyIncomplete => telling(
            StatusCode::BAD_REQUEST,
            "invalid-payload",
            "The body broke off",
            "the request's body ended before its end, or is malformed".into(),
            None,
            "http_request_error",
        ),
        Cause::CallerUnauthenticated(why) => telling(
            StatusCode::UNAUTHORIZED,
            "caller-unauthenticated",
            "The gateway does not know this caller",
            unauthenticated(why),
            None,
            "http_request_denied",
        ),
        Cause::IssuerUnavailable { issuer, retry_after } => telling(
            StatusCode::SERVICE_UNAVAILABLE,
            "issuer-unavailable",
            "The caller's token cannot be judged now",
            format!(
                "the keys of its issuer (issuers.{issuer}) could not be had yet, and are asked for again within {} s; \
                 the token may be good",
                seconds(retry_after)
            ),
            Some(*retry_after),
            "proxy_internal_error",
        ),
        Cause::CallerForbidden { detail } => telling(
            StatusCode::FORBIDDEN,
            "caller-forbidden",
            "The caller may not do this",
            format!("{detail} (callers.NAME.accounts, allow and read_only)"),
            None,
            "http_request_denied",
        ),
        Cause::CallerLimit { retry_after } => telling(
            StatusCode::TOO_MANY_REQUESTS,
            "caller-limit",
            "The caller asks more often than it may",
            format!("its own limit (callers.NAME.limit) has room again in {} s", seconds(retry_after)),
            Some(*retry_after),
            "http_request_denied",
        ),
        Cause::UnknownRoute { detail } => telling(
            StatusCode::NOT_FOUND,
            "unknown-route",
            "The gateway serves no such call",
            detail.clone(),
            None,
            "destination_not_found",
        ),
        Cause::UnknownAccount { detail } => telling(
            StatusCode::NOT_FOUND,
            "unknown-account",
            "No such account is configured",
            detail.clone(),
            None,
            "destination_not_found",
        ),
        Cause::BodyTooLarge { limit } => telling(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is larger than the gateway accepts",
            format!("the limit is {limit} bytes (proxy.max_body)"),
            None,
            "http_request_error",
        ),
        Cause::ThresholdSaturated { retry_after, daily } => telling(
            StatusCode::TOO_MANY_REQUESTS,
            "threshold-saturated",
            if *daily {
                "The account's calls of this day are spent"
            } else {
                "No slot comes free within the caller's wait"
            },
            format!(
                "{}the earliest could be in {} s; wait longer (Prefer: wait=N) or come back then",
                if *daily { "of the account's limit for any 24 hours (daily_calls) nothing is left; " } else { "" },
                seconds(retry_after)
            ),
            Some(*retry_after),
            "http_request_denied",
        ),
        Cause::ThresholdLocked { retry_after } => telling(
            StatusCode::TOO_MANY_REQUESTS,
            "threshold-locked",
            "Zoho has locked this API",
            format!("the lock ends in {} s; nothing is sent before", seconds(retry_after)),
            Some(*retry_after),
            "http_request_denied",
        ),
        Cause::QueueFull { retry_after, limit } => telling(
            StatusCode::TOO_MANY_REQUESTS,
            "queue-full",
            "As many callers wait as may",
            match limit {
                Limit::Calls => "the gateway's queue is full (queue.max_waiting)",
                Limit::Bytes => "the gateway's queue holds as much as it may (queue.max_waiting_bytes)",
                Limit::CallsPerCaller => "this caller's part of the queue is full (queue.max_waiting_per_caller)",
                Limit::Lent => {
                    "the queue is full, and the place was lent by a caller that needs its share (callers.NAME.weight)"
                }
            }
            .into(),
            Some(*retry_after),
            "http_request_denied",
        ),
        Cause::UpstreamUnreachable(fault) => telling(
            StatusCode::BAD_GATEWAY,
            "upstream-unreachable",
            "No connection to Zoho",
            format!("{} could not be reached; the call was not sent", fault.server),
            None,
            fault.error,
        ),
        Cause::UpstreamInvalidResponse(fault) => telling(
            StatusCode::BAD_GATEWAY,
            "upstream-invalid-response",
            "Zoho's answer was unusable",
            if fault.before_the_call {
                format!("{} answered a token request with something that is none; the call was not sent", fault.server)
            } else {
                format!(
                    "{} answered with something else than a complete HTTP answer; the call may have been executed",
                    fault.server
                )
            },
            None,
            fault.error,
        ),
        Cause::UpstreamTimeout(fault) => telling(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream-timeout",
            "Zoho did not answer in time",
            timeout_detail(fault),
            None,
            fault.error,
        ),
        Cause::AccountUnauthorised { reason } => telling(
            StatusCode::SERVICE_UNAVAILABLE,
            "account-unauthorised",
            "Zoho no longer takes this account's credentials",
            format!(
                "Zoho says {reason}; a person must log in again (zoho-gateway login) or mend client_id, client_secret, \
                 refresh_token or data_center"
            ),
            Some(AFTER_A_PERSON),
            "destination_unavailable",
        ),
        Cause::WrongDataCenter { configured, valid_at } => telling(
            StatusCode::SERVICE_UNAVAILABLE,
            "wrong-data-center",
            "The account lives in another data centre",
            format!(
                "its credentials are unknown at {configured} and good at {valid_at}; set data_center = \"{valid_at}\" and restart"
            ),
            Some(AFTER_A_PERSON),
            "destination_unavailable",
        ),
        Cause::ScopeMissing { scopes, evidence } => telling(
            StatusCode::FORBIDDEN,
            "scope-missing",
            "The account's login lacks a scope",
            scope_detail(scopes, evidence),
            None,
            "http_request_denied",
        ),
        Cause::TokenThrottled { retry_after } => telling(
            StatusCode::SERVICE_UNAVAILABLE,
            "token-throttled",
            "No access token may be requested now",
            format!("Zoho answers ten token requests in ten minutes; the next may go in {} s", seconds(retry_after)),
            Some(*retry_after),
            "destination_unavailable",
        ),
        Cause::StateUnavailable => telling(
            StatusCode::SERVICE_UNAVAILABLE,
            "state-unavailable",
            "The gateway cannot write down what it sends",
            "its state store (state.dir) cannot be written to, and a call that is not recorded could break the \
             threshold after a restart; the call was not sent"
                .into(),
            Some(AFTER_A_RETRY),
            "proxy_internal_error",
        ),
        // RFC 9111 section 5.2.1.7 wants this status.
        Cause::NotCached => telling(
            StatusCode::GATEWAY_TIMEOUT,
            "not-cached",
            "The cache has no usable answer",
            "the request says only-if-cached; without it Zoho is asked".into(),
            None,
            "",
        ),
        Cause::ShuttingDown => telling(
            StatusCode::SERVICE_UNAVAILABLE,
            "shutting-down",
            "The gateway is shutting down",
            "it takes no new work; the call was not sent".into(),
            Some(AFTER_A_RESTART),
            "destination_unavailable",
        ),
        Cause::CutOff => telling(
            StatusCode::SERVICE_UNAVAILABLE,
            "shutting-down",
            "The gateway is shutting down",
            "its drain (proxy.drain) ended before the call was answered; the call may have been executed".into(),
            Some(AFTER_A_RESTART),
            "destination_unavailable",
        ),
        Cause::Internal => telling(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal-error",
            "A defect of the gateway",
            "the log has more under this request's id".into(),
            None,
            "proxy_internal_error",
        ),
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

fn unauthenticated(why: &Unauthenticated) -> String {
    match why {
        Unauthenticated::NothingShown => {
            "callers are configured, and the request shows none of what they are known by: a key or a token \
             (Authorization: Bearer ...), or a client certificate"
        }
        Unauthenticated::Malformed => "Authorization has to stand there once, as Bearer and one key or token",
        Unauthenticated::UnknownKey => "the key in Authorization is no caller's",
        Unauthenticated::UnknownCertificate => "no name in the client certificate is a caller's (callers.NAME.san)",
        Unauthenticated::SeveralCallers => {
            "the client certificate has the names of several callers (callers.NAME.san), so it does not tell which one \
             calls"
        }
        Unauthenticated::BadToken(reason) => return format!("the token in Authorization {reason}"),
    }
    .to_owned()
}

fn scope_detail(scopes: &[String], evidence: &ScopeEvidence) -> String {
    let needed = if scopes.is_empty() { "a scope that its page does not name".to_owned() } else { scopes.join(" or ") };
    match evidence {
        ScopeEvidence::Code(code) => {
            format!("Zoho says {code}; the route needs {needed}; log in again with it (zoho-gateway login)")
        }
        ScopeEvidence::Granted(granted) => format!(
            "the route needs {needed}; the login was granted {granted}; log in again with it (zoho-gateway login). \
             Nothing was sent to Zoho and no slot was spent"
        ),
    }
}

fn timeout_detail(fault: &UpstreamFault) -> String {
    let UpstreamFault { error, server, .. } = fault;
    match *error {
        "connection_timeout" => {
            format!("no connection to {server} in time (upstream.connect_timeout); the call was not sent")
        }
        _ if fault.before_the_call => format!("{server} did not answer a token request in time; the call was not sent"),
        _ => format!("{server} did not answer in time (upstream.timeout); the call may have been executed"),
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
