//! The table of problem types: the common part of all refusals of one type. Details that need data are in
//! [`super::respond`].

use std::time::Duration;

use http::StatusCode;

use super::Cause;
use crate::{call::attempt_log::Fate, message::protocol::ProtocolFault};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct ProblemType {
    /// NAME in `urn:zoho-gateway:problem:NAME`.
    pub name: &'static str,
    /// The status of the answer.
    pub status: StatusCode,
    /// A summary for people (RFC 9457 section 3.1.3).
    pub title: &'static str,
    /// The error type for `Proxy-Status` (RFC 9209 section 2.3); empty when no error happened.
    pub error: &'static str,
    /// The refusal says nothing about the call itself: Zoho could not be asked just now.
    pub passing: bool,
    /// Zoho may have executed the call, or may yet execute it.
    pub may_be_executed: bool,
    /// When the caller can try again; every 429 and 503 says so.
    pub retry_after: Option<Duration>,
}

// The error types for events inside the gateway. Events on the way to Zoho have their own, see `UpstreamFault`.
const BAD: &str = "http_request_error";
const DENIED: &str = "http_request_denied";
const NOT_FOUND: &str = "destination_not_found";
const UNAVAILABLE: &str = "destination_unavailable";
const OUR_FAULT: &str = "proxy_internal_error";
const NO_ERROR: &str = "";

/// A person has to correct the account; more frequent attempts do not help.
const AFTER_A_PERSON: Duration = Duration::from_secs(5 * 60);

/// The gateway opens the store and the audit file again more often than this.
const AFTER_A_RETRY: Duration = Duration::from_secs(1);

/// A gateway that shuts down is usually back within seconds.
const AFTER_A_RESTART: Duration = Duration::from_secs(5);

/// Defines a constant for each row, and the list of their names.
macro_rules! table {
    ($($row:ident = $kind:expr;)*) => {
        $(const $row: ProblemType = $kind;)*
        /// The names of all problems; a name occurs once for each of its rows.
        pub const NAMES: &[&str] = &[$($row.name),*];
    };
}

table! {
    // 400
    INVALID_PAYLOAD = bad_request("invalid-payload", "The payload breaks the route's documented rules");
    BODY_INCOMPLETE = bad_request("invalid-payload", "The request body is incomplete").perhaps_executed();
    BODY_OVERRIDES = bad_request("invalid-payload", "The request body could override the call").perhaps_executed();
    MALFORMED_REQUEST = bad_request("malformed-request", "Malformed or unsupported HTTP request");
    // 401, 403
    CALLER_UNAUTHENTICATED = row(StatusCode::UNAUTHORIZED, "caller-unauthenticated", DENIED, "Authentication failed");
    CALLER_FORBIDDEN = forbidden("caller-forbidden", "The caller is not allowed to do this");
    FOREIGN_ORIGIN = forbidden("foreign-origin", "The request seems to come from a web page");
    SCOPE_MISSING = forbidden("scope-missing", "The account's login lacks a scope");
    // 404
    UNKNOWN_ROUTE = row(StatusCode::NOT_FOUND, "unknown-route", NOT_FOUND, "The gateway does not serve this call");
    UNKNOWN_ACCOUNT = row(StatusCode::NOT_FOUND, "unknown-account", NOT_FOUND, "The account is not configured");
    UNKNOWN_JOB = row(StatusCode::NOT_FOUND, "unknown-job", NOT_FOUND, "There is no such job");
    // 405, 409, 410, 422
    CANCELLED = row(StatusCode::CONFLICT, "call-cancelled", DENIED, "An operator has cancelled the call");
    METHOD_NOT_ALLOWED = row(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", BAD, "The resource has no such method");
    JOB_SENT = row(StatusCode::CONFLICT, "job-sent", DENIED, "The job was sent and cannot be removed");
    JOB_NOT_ENDED = row(StatusCode::CONFLICT, "job-not-ended", NO_ERROR, "The job has no answer yet");
    IDEMPOTENCY_CONFLICT = row(
        StatusCode::CONFLICT,
        "idempotency-conflict",
        DENIED,
        "A request with the same Idempotency-Key is in progress",
    );
    JOB_ANSWER_TOO_LARGE = row(StatusCode::GONE, "job-answer-too-large", NO_ERROR, "The answer was too large to keep");
    IDEMPOTENCY_KEY_REUSED = row(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        DENIED,
        "The Idempotency-Key belongs to another request",
    );
    // 408, 413, 415
    REQUEST_TIMEOUT = row(StatusCode::REQUEST_TIMEOUT, "request-timeout", BAD, MALFORMED_REQUEST.title);
    BODY_TOO_LARGE = row(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", BAD, "The request body is too large")
        .perhaps_executed();
    UNSUPPORTED_ENCODING = row(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-encoding",
        BAD,
        "Unsupported encoding of the request body",
    );
    // 429
    CALLER_LIMIT = too_many("caller-limit", "The caller's rate limit is reached");
    SATURATED = too_many("threshold-saturated", "No slot comes free within the caller's wait").passing();
    DAY_SATURATED = too_many("threshold-saturated", "The account's daily calls are used up").passing();
    LOCKED = too_many("threshold-locked", "Zoho has locked this API").passing();
    QUEUE_FULL = too_many("queue-full", "The queue is full").passing();
    JOBS_FULL = too_many("jobs-full", "No further job can be kept");
    // 5xx by the gateway
    INTERNAL_ERROR = row(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", OUR_FAULT, "Internal error")
        .perhaps_executed();
    STATE_UNAVAILABLE = unavailable("state-unavailable", OUR_FAULT, "State store unavailable")
        .passing()
        .retry_after(AFTER_A_RETRY);
    AUDIT_UNAVAILABLE = unavailable("audit-unavailable", OUR_FAULT, "Audit log unavailable")
        .passing()
        .retry_after(AFTER_A_RETRY);
    ISSUER_UNAVAILABLE = unavailable("issuer-unavailable", OUR_FAULT, "The keys of the token's issuer are unavailable");
    PAUSED = unavailable("call-paused", DENIED, "An operator has paused this call").passing();
    SHUTTING_DOWN = unavailable("shutting-down", UNAVAILABLE, "The gateway is shutting down")
        .retry_after(AFTER_A_RESTART);
    // RFC 9111 section 5.2.1.7 requires this status.
    NOT_CACHED = row(StatusCode::GATEWAY_TIMEOUT, "not-cached", NO_ERROR, "The cache has no usable answer");
    // 5xx on the way to Zoho
    UNREACHABLE = row(StatusCode::BAD_GATEWAY, "upstream-unreachable", UNAVAILABLE, "No connection to Zoho").passing();
    INVALID_RESPONSE = row(
        StatusCode::BAD_GATEWAY,
        "upstream-invalid-response",
        UNAVAILABLE,
        "Invalid response from Zoho",
    ).passing().perhaps_executed();
    TIMEOUT = row(StatusCode::GATEWAY_TIMEOUT, "upstream-timeout", UNAVAILABLE, "Zoho did not answer in time")
        .passing()
        .perhaps_executed();
    JOB_OUTCOME_UNKNOWN = row(
        StatusCode::BAD_GATEWAY,
        "job-outcome-unknown",
        OUR_FAULT,
        "It is unknown whether Zoho executed the job",
    ).perhaps_executed();
    ACCOUNT_UNAUTHORISED = unavailable(
        "account-unauthorised",
        UNAVAILABLE,
        "Zoho no longer accepts this account's credentials",
    ).passing().retry_after(AFTER_A_PERSON);
    WRONG_DATA_CENTER = unavailable("wrong-data-center", UNAVAILABLE, "The account belongs to another data centre")
        .retry_after(AFTER_A_PERSON);
    TOKEN_THROTTLED = unavailable("token-throttled", UNAVAILABLE, "No access token can be requested now").passing();
}

impl Cause {
    /// The row of the table, completed with the data of this refusal.
    #[must_use]
    pub fn problem_type(&self) -> ProblemType {
        match self {
            Self::Protocol(ProtocolFault::HeadTimeout | ProtocolFault::BodyTimeout) => REQUEST_TIMEOUT,
            Self::Protocol(fault) => ProblemType { status: protocol(*fault).0, ..MALFORMED_REQUEST },
            Self::ForeignOrigin(_) => FOREIGN_ORIGIN,
            Self::InvalidPayload(_) => INVALID_PAYLOAD,
            Self::BodyIncomplete => BODY_INCOMPLETE,
            Self::BodyOverrides => BODY_OVERRIDES,
            Self::CallerUnauthenticated(_) => CALLER_UNAUTHENTICATED,
            Self::IssuerUnavailable { retry_after, .. } => ISSUER_UNAVAILABLE.retry_after(*retry_after),
            Self::CallerForbidden(_) => CALLER_FORBIDDEN,
            Self::CallerLimit { retry_after, .. } => CALLER_LIMIT.retry_after(*retry_after),
            Self::UnknownRoute { .. } => UNKNOWN_ROUTE,
            Self::UnknownAccount { .. } => UNKNOWN_ACCOUNT,
            Self::BodyTooLarge { .. } => BODY_TOO_LARGE,
            Self::BodyEncoded { .. } => UNSUPPORTED_ENCODING,
            Self::ThresholdSaturated { retry_after, daily: false, .. } => SATURATED.retry_after(*retry_after),
            Self::ThresholdSaturated { retry_after, daily: true, .. } => DAY_SATURATED.retry_after(*retry_after),
            Self::ThresholdLocked { retry_after } => LOCKED.retry_after(*retry_after),
            Self::Paused { retry_after } => PAUSED.retry_after(*retry_after),
            Self::Cancelled => CANCELLED,
            Self::QueueFull { retry_after, .. } => QUEUE_FULL.retry_after(*retry_after),
            Self::StateUnavailable => STATE_UNAVAILABLE,
            Self::AuditUnavailable => AUDIT_UNAVAILABLE,
            Self::UpstreamUnreachable(fault) => ProblemType { error: fault.error, ..UNREACHABLE },
            Self::UpstreamInvalidResponse(fault) => {
                ProblemType { error: fault.error, may_be_executed: !fault.before_the_call, ..INVALID_RESPONSE }
            }
            Self::UpstreamTimeout(fault) => {
                ProblemType { error: fault.error, may_be_executed: !fault.before_the_call, ..TIMEOUT }
            }
            Self::AccountUnauthorised { .. } => ACCOUNT_UNAUTHORISED,
            Self::WrongDataCenter { .. } => WRONG_DATA_CENTER,
            Self::ScopeMissing { .. } => SCOPE_MISSING,
            Self::TokenThrottled { retry_after } => TOKEN_THROTTLED.retry_after(*retry_after),
            Self::NotCached => NOT_CACHED,
            Self::UnknownJob => UNKNOWN_JOB,
            Self::MethodNotAllowed { .. } => METHOD_NOT_ALLOWED,
            Self::JobSent => JOB_SENT,
            Self::JobNotEnded { retry_after } => JOB_NOT_ENDED.retry_after(*retry_after),
            Self::JobAnswerTooLarge { .. } => JOB_ANSWER_TOO_LARGE,
            Self::JobOutcomeUnknown => JOB_OUTCOME_UNKNOWN,
            Self::JobsFull { retry_after, .. } => JOBS_FULL.retry_after(*retry_after),
            Self::IdempotencyConflict { retry_after } => IDEMPOTENCY_CONFLICT.retry_after(*retry_after),
            Self::IdempotencyKeyReused => IDEMPOTENCY_KEY_REUSED,
            Self::ShuttingDown => SHUTTING_DOWN,
            Self::CutOff(fate) => ProblemType { may_be_executed: *fate == Fate::Unknown, ..SHUTTING_DOWN.passing() },
            Self::Internal => INTERNAL_ERROR,
        }
    }

    /// Whether Zoho may have executed the call, or may yet execute it.
    #[must_use]
    pub fn may_be_executed(&self) -> bool {
        self.problem_type().may_be_executed
    }

    /// Whether the refusal says nothing about the call itself: Zoho could not be asked just now.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.problem_type().passing
    }
}

/// Status and detail for a malformed request.
#[must_use]
pub fn protocol(fault: ProtocolFault) -> (StatusCode, &'static str) {
    match fault {
        ProtocolFault::Malformed(detail) => (StatusCode::BAD_REQUEST, detail),
        ProtocolFault::TargetTooLong => {
            (StatusCode::URI_TOO_LONG, "the request line is longer than a head may be (proxy.max_header_bytes)")
        }
        ProtocolFault::HeadTooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the head has too many bytes or too many fields (proxy.max_header_bytes, proxy.max_headers)",
        ),
        ProtocolFault::HeadTimeout => {
            (StatusCode::REQUEST_TIMEOUT, "the head was not complete in time (proxy.header_timeout)")
        }
        ProtocolFault::BodyTimeout => {
            (StatusCode::REQUEST_TIMEOUT, "the gateway waited too long for the body (proxy.body_timeout)")
        }
        ProtocolFault::Version => {
            (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "the gateway supports only HTTP/1.1 and HTTP/1.0")
        }
        ProtocolFault::TransferCoding => (StatusCode::NOT_IMPLEMENTED, "chunked is the only supported transfer coding"),
        ProtocolFault::Expectation => {
            (StatusCode::EXPECTATION_FAILED, "100-continue is the only supported expectation")
        }
    }
}

// === impl ProblemType ===

impl ProblemType {
    const fn passing(self) -> Self {
        Self { passing: true, ..self }
    }

    const fn perhaps_executed(self) -> Self {
        Self { may_be_executed: true, ..self }
    }

    const fn retry_after(self, span: Duration) -> Self {
        Self { retry_after: Some(span), ..self }
    }
}

const fn bad_request(name: &'static str, title: &'static str) -> ProblemType {
    row(StatusCode::BAD_REQUEST, name, BAD, title)
}

const fn forbidden(name: &'static str, title: &'static str) -> ProblemType {
    row(StatusCode::FORBIDDEN, name, DENIED, title)
}

const fn too_many(name: &'static str, title: &'static str) -> ProblemType {
    row(StatusCode::TOO_MANY_REQUESTS, name, DENIED, title)
}

const fn unavailable(name: &'static str, error: &'static str, title: &'static str) -> ProblemType {
    row(StatusCode::SERVICE_UNAVAILABLE, name, error, title)
}

const fn row(status: StatusCode, name: &'static str, error: &'static str, title: &'static str) -> ProblemType {
    ProblemType { name, status, title, error, passing: false, may_be_executed: false, retry_after: None }
}
