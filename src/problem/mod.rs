//! Problems: the gateway answers a call itself instead of Zoho.
//!
//! A layer returns a [`Refusal`]. [`table`] has a row for each problem type, and [`respond`] turns a refusal into HTTP.
//! A new problem type needs a variant of [`Cause`], its row, its detail and a row in `docs/`; the compiler asks for the
//! first three.

pub mod ratelimit;
pub mod respond;
pub mod table;

use std::time::Duration;

use http::Method;

use crate::{
    call::{CallContext, attempt_log::Fate},
    ledger::{Allowance, Caller, Limit, Refused},
    message::{payload_error::Fault, protocol::ProtocolFault},
    zoho::{
        account::AccountName,
        catalogue::{Route, RouteId},
        data_center::DataCenter,
        scope::Scopes,
    },
};

/// A call that is not answered by Zoho.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The reason; boxed, so that a layer's `Result` stays small.
    pub cause: Box<Cause>,
    /// The account of the call, once known.
    pub account: Option<AccountName>,
    /// The route of the call, once known.
    pub route: Option<RouteId>,
    /// What is left of the call's limits, where that is the reason; boxed for the same reason.
    pub allowance: Option<Box<Allowance>>,
    /// The wait that the caller preferred, as far as it was granted.
    pub applied_wait: Option<Duration>,
    /// Zoho's page with the rules that the payload breaks.
    pub page: Option<Box<str>>,
}

impl Refusal {
    /// Adds account and route of the call.
    #[must_use]
    pub fn of(mut self, context: &CallContext) -> Self {
        self.account = Some(context.account.name.clone());
        self.route = Some(context.route.id.clone());
        self
    }

    /// Adds Zoho's page with the rules, where a payload breaks them.
    #[must_use]
    pub fn with_page_of(mut self, route: &Route) -> Self {
        let is_there = matches!(*self.cause, Cause::InvalidPayload(_)) && route.source.starts_with("https://");
        self.page = is_there.then(|| route.source.as_str().into());
        self
    }

    /// Adds what is left of the call's limits.
    #[must_use]
    pub fn with_allowance(mut self, allowance: Allowance) -> Self {
        self.allowance = Some(Box::new(allowance));
        self
    }

    /// Adds the wait that the caller preferred, as far as it was granted.
    #[must_use]
    pub fn with_applied_wait(mut self, wait: Duration) -> Self {
        self.applied_wait = Some(wait);
        self
    }
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Self {
        Self { cause: Box::new(cause), account: None, route: None, allowance: None, applied_wait: None, page: None }
    }
}

/// The reasons. Each belongs to one problem type.
#[derive(Debug, Clone)]
pub enum Cause {
    /// The request is not valid HTTP, or the gateway does not support it.
    Protocol(ProtocolFault),
    /// A web page in a browser seems to have sent it.
    ForeignOrigin(Foreign),
    /// The payload breaks the route's documented rules.
    InvalidPayload(Vec<Fault>),
    /// Callers are configured, and authentication failed.
    CallerUnauthenticated(Unauthenticated),
    /// The gateway cannot verify a token, because it never had the keys of its issuer.
    IssuerUnavailable {
        /// The issuer's name in the configuration.
        issuer: String,
        /// Until the gateway fetches them again.
        retry_after: Duration,
    },
    /// The caller is known, but not allowed to do this.
    CallerForbidden(Forbidden),
    /// The caller has reached its own limit.
    CallerLimit {
        /// The caller.
        caller: Caller,
        /// Until its next call is allowed.
        retry_after: Duration,
    },
    /// No row of the catalogue matches and unknown calls are denied, or the target does not belong to Zoho.
    UnknownRoute {
        /// What to do about it.
        detail: String,
    },
    /// `Gateway-Account` names an unknown account, or it is missing where it is needed.
    UnknownAccount {
        /// What to do about it.
        detail: String,
    },
    /// The body is too large.
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
        /// The body is a form and the limit is `proxy.max_form`; otherwise it is `proxy.max_body`.
        form: bool,
    },
    /// The caller stopped before the end of its body.
    BodyIncomplete,
    /// A streamed body without a type has a parameter that could override the call.
    BodyOverrides,
    /// The body is compressed, or in a charset in which it may mean something else than in UTF-8.
    BodyEncoded {
        /// The encoding of the body.
        encoding: Encoding,
        /// Why the gateway reads the body at all.
        reader: Reader,
    },
    /// No slot comes free within the caller's wait.
    ThresholdSaturated {
        /// Until the call could succeed.
        retry_after: Duration,
        /// The account's daily limit is the reason.
        daily: bool,
        /// How many calls go before this one, if its turn is kept for its return.
        position: Option<usize>,
    },
    /// Zoho has locked the call for longer than the caller waits.
    ThresholdLocked {
        /// Until the lock ends.
        retry_after: Duration,
    },
    /// An operator has paused the caller, the account or the route.
    Paused {
        /// Until the call may be sent again.
        retry_after: Duration,
    },
    /// An operator has cancelled the call while it waited.
    Cancelled,
    /// The queue is full.
    QueueFull {
        /// Until the call could succeed.
        retry_after: Duration,
        /// The limit of the queue that is reached.
        limit: Limit,
    },
    /// The gateway cannot write to the state store, and it sends nothing unrecorded.
    StateUnavailable,
    /// The gateway cannot write to the audit log, and it sends no write without an audit line.
    AuditUnavailable,
    /// The gateway got no connection to Zoho and sent nothing.
    UpstreamUnreachable(UpstreamFault),
    /// Zoho's answer was not valid HTTP, or ended before its head was complete.
    UpstreamInvalidResponse(UpstreamFault),
    /// Zoho did not answer in time.
    UpstreamTimeout(UpstreamFault),
    /// Zoho no longer accepts the account's credentials.
    AccountUnauthorised {
        /// The error value that Zoho gave.
        reason: String,
    },
    /// The credentials belong to another data centre.
    WrongDataCenter {
        /// The account's data centre in the configuration.
        configured: DataCenter,
        /// The data centre where the credentials are valid.
        valid_at: DataCenter,
    },
    /// The account's token lacks the scope that the route needs.
    ScopeMissing {
        /// Each of these scopes is enough; empty where the catalogue names none.
        scopes: Vec<String>,
        /// How the gateway knows.
        evidence: ScopeEvidence,
    },
    /// Zoho, or our ledger of token requests, allows no further token request for now.
    TokenThrottled {
        /// Until the next token request is allowed.
        retry_after: Duration,
    },
    /// The caller wants an answer from the cache, and the cache has no usable one.
    NotCached,
    /// There is no such job, or it is another caller's.
    UnknownJob,
    /// The resource has no such method.
    MethodNotAllowed {
        /// The methods that it has, for `Allow`.
        allowed: &'static str,
    },
    /// The job can no longer be removed, because it was sent.
    JobSent,
    /// The job has no answer yet.
    JobNotEnded {
        /// Until it is expected to have one.
        retry_after: Duration,
    },
    /// The job's answer was larger than answers that are kept.
    JobAnswerTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// It is not known whether Zoho executed the job.
    JobOutcomeUnknown,
    /// No further job can be kept.
    JobsFull {
        /// The limit that is reached.
        limit: JobLimit,
        /// Until one could be kept.
        retry_after: Duration,
    },
    /// A request with the same `Idempotency-Key` still waits.
    IdempotencyConflict {
        /// Until it is expected to be answered.
        retry_after: Duration,
    },
    /// The `Idempotency-Key` belongs to another request.
    IdempotencyKeyReused,
    /// The gateway accepts no new work.
    ShuttingDown,
    /// The gateway stops before the call is answered.
    CutOff(Fate),
    /// A bug in the gateway.
    Internal,
}

impl Cause {
    /// Says that a token request failed, so the call itself was not sent.
    #[must_use]
    pub fn before_the_call(mut self) -> Self {
        if let Self::UpstreamUnreachable(fault) | Self::UpstreamInvalidResponse(fault) | Self::UpstreamTimeout(fault) =
            &mut self
        {
            fault.before_the_call = true;
        }
        self
    }
}

impl From<Refused> for Cause {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Saturated { retry_after, daily, position } => {
                Self::ThresholdSaturated { retry_after, daily, position }
            }
            Refused::Locked { retry_after } => Self::ThresholdLocked { retry_after },
            Refused::Full { retry_after, limit } => Self::QueueFull { retry_after, limit },
            Refused::Unrecorded => Self::StateUnavailable,
            Refused::Closing => Self::CutOff(Fate::NotSent),
            Refused::Paused { retry_after } => Self::Paused { retry_after },
            Refused::Cancelled => Self::Cancelled,
        }
    }
}

/// Why authentication failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unauthenticated {
    /// The request has neither a key nor a token, and its connection has no certificate.
    NothingShown,
    /// The request carries a Zoho token.
    ZohoToken,
    /// `Authorization` is not one valid `Bearer` credential.
    Malformed,
    /// The key belongs to no caller.
    UnknownKey,
    /// The certificate has no name of a caller.
    UnknownCertificate,
    /// The certificate has names of several callers.
    SeveralCallers,
    /// The token is not accepted.
    BadToken(BadToken),
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadToken {
    /// It is longer than any real token.
    TooLong,
    /// Its header is invalid, or names an algorithm that is never accepted.
    Header,
    /// Its `crit` names fields that the gateway does not know.
    Critical,
    /// Its claims are invalid.
    Claims,
    /// Its `iss` is not configured, or missing.
    UnknownIssuer,
    /// Its algorithm is not accepted from its issuer.
    Algorithm,
    /// Its `aud` is not this gateway.
    Audience,
    /// It has no `exp`.
    NoExpiry,
    /// Its `exp` has passed.
    Expired,
    /// Its `nbf` or `iat` lies in the future.
    NotYetValid,
    /// Its issuer publishes no such key.
    UnknownKey,
    /// Several keys of its issuer are possible.
    AmbiguousKey,
    /// Its signature does not match the key.
    Signature,
    /// Its `sub` belongs to no caller, or is missing.
    UnknownSubject,
}

impl From<Unauthenticated> for Cause {
    fn from(why: Unauthenticated) -> Self {
        Self::CallerUnauthenticated(why)
    }
}

/// The encoding of a body that the gateway cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// By `Content-Encoding`.
    Compressed,
    /// By `charset`; its printable name.
    Charset(String),
}

/// Why the gateway reads a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The route has rules for its parameters.
    Rules,
    /// A parameter of a form could override the call.
    Overrides,
}

/// Which limit of the jobs is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobLimit {
    /// Their number.
    Jobs,
    /// Their bytes.
    Bytes,
}

/// The field that shows a web page as the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// `Sec-Fetch-Site`: a page of another site.
    Site,
    /// `Origin`: a page of another origin.
    Origin,
    /// `Host`: a foreign name that was made to resolve to this machine.
    Host,
}

/// What a caller is not allowed to do.
#[derive(Debug, Clone)]
pub enum Forbidden {
    /// Use the account.
    Account,
    /// Make the call.
    Route {
        /// The caller.
        caller: Caller,
        /// The route of the call.
        route: RouteId,
    },
    /// Make the call by a method that may change something.
    Write {
        /// The caller.
        caller: Caller,
        /// The method of the call.
        method: Method,
        /// The route of the call.
        route: RouteId,
        /// Whether the catalogue knows the call; otherwise the route is the default for unknown calls.
        known: bool,
    },
}

/// How the gateway knows that a login lacks a scope.
#[derive(Debug, Clone)]
pub enum ScopeEvidence {
    /// Zoho refused a call with this code.
    Code(String),
    /// The login has only these scopes; nothing was sent.
    Granted(Scopes),
}

/// What went wrong between the gateway and Zoho.
#[derive(Debug, Clone)]
pub struct UpstreamFault {
    /// The error type of RFC 9209 section 2.3, for `Proxy-Status`.
    pub error: &'static str,
    /// The server, for example `people.zoho.com` or `accounts.zoho.com`.
    pub server: String,
    /// The cause chain, for the log.
    pub log: String,
    /// The call itself was not sent: a token request failed, or there was no connection.
    pub before_the_call: bool,
    /// What the proxy did, in words for callers; `None` without a proxy.
    pub proxy: Option<String>,
}
