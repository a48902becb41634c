//! Why the gateway itself answers a call instead of Zoho.
//!
//! StackDeps return a [`Refusal`]; [`crate::problem::respond`] alone makes HTTP of it.

pub mod ratelimit;
pub mod respond;

use std::time::Duration;

use http::Method;

use crate::{
    call::{CallContext, attempt_log::Fate},
    ledger::{Allowance, Caller, Limit, Refused},
    message::{payload_error::Fault, protocol::ProtocolFault},
    zoho::{account::AccountName, catalogue::RouteId, data_center::DataCenter, scope::Scopes},
};

/// A call that is not answered by Zoho.
#[derive(Debug)]
pub struct Refusal {
    /// Why; boxed, so that a room's `Result` stays small.
    pub cause: Box<Cause>,
    /// Whose call it was, once known.
    pub account: Option<AccountName>,
    /// Which call it was, once known.
    pub route: Option<RouteId>,
    /// What is left for the call, where that is the reason.
    pub allowance: Option<Allowance>,
}

impl Refusal {
    /// The same refusal, told whose and which call it was.
    #[must_use]
    pub fn of(mut self, context: &CallContext) -> Self {
        self.account = Some(context.account.name.clone());
        self.route = Some(context.route.id.clone());
        self
    }

    /// The same refusal, with what is left for the call.
    #[must_use]
    pub fn with_allowance(mut self, allowance: Allowance) -> Self {
        self.allowance = Some(allowance);
        self
    }
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Self {
        Self { cause: Box::new(cause), account: None, route: None, allowance: None }
    }
}

/// The reasons, one for each problem type of the interface.
#[derive(Debug, Clone)]
pub enum Cause {
    /// It is no request that HTTP knows, or none that the gateway takes.
    Protocol(ProtocolFault),
    /// It looks as if a web page in a browser had made it.
    ForeignOrigin(Foreign),
    /// The payload breaks the route's documented rules.
    InvalidPayload(Vec<Fault>),
    /// Callers are configured, and this is none of them.
    CallerUnauthenticated(Unauthenticated),
    /// A token cannot be judged, because its issuer's keys were never had.
    IssuerUnavailable {
        /// Which issuer, as the configuration names it.
        issuer: String,
        /// Until they are asked for again.
        retry_after: Duration,
    },
    /// The caller is known, and may not do this.
    CallerForbidden(Forbidden),
    /// The caller asks more often than it may.
    CallerLimit {
        /// Until it may ask again.
        retry_after: Duration,
    },
    /// No row of the catalogue fits, and unknown calls are denied; or the target is none of Zoho's.
    UnknownRoute {
        /// What to do about it.
        detail: String,
    },
    /// `Gateway-Account` names none, or is needed and missing.
    UnknownAccount {
        /// What to do about it.
        detail: String,
    },
    /// The body is larger than it may be.
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
        /// It is a form, and the limit is `proxy.max_form`; else it is `proxy.max_body`.
        form: bool,
    },
    /// The caller broke off while sending its body.
    BodyIncomplete,
    /// A body without a type, which streamed, has a parameter that could make another call of this one.
    BodyOverrides,
    /// The body is compressed, or in a charset in which it may say something else than in UTF-8.
    BodyEncoded {
        /// How it is encoded.
        encoding: Encoding,
        /// Why it is read at all.
        reader: Reader,
    },
    /// No slot comes free within the caller's wait.
    ThresholdSaturated {
        /// Until the call could succeed.
        retry_after: Duration,
        /// It is the account's daily limit that has no room.
        daily: bool,
    },
    /// Zoho has locked the call for longer than the caller waits.
    ThresholdLocked {
        /// Until the lock ends.
        retry_after: Duration,
    },
    /// As many callers wait as may.
    QueueFull {
        /// Until the call could succeed.
        retry_after: Duration,
        /// What there is too much of.
        limit: Limit,
    },
    /// The state store cannot be written to, and nothing is sent unrecorded.
    StateUnavailable,
    /// The audit cannot be written to, and no write is sent without its line.
    AuditUnavailable,
    /// No connection to Zoho could be had; nothing was sent.
    UpstreamUnreachable(UpstreamFault),
    /// Zoho's answer was no HTTP, or broke off before its head was complete.
    UpstreamInvalidResponse(UpstreamFault),
    /// Zoho did not answer in time.
    UpstreamTimeout(UpstreamFault),
    /// Zoho no longer takes the account's credentials.
    AccountUnauthorised {
        /// The error value that Zoho gave.
        reason: String,
    },
    /// The credentials are those of another data centre.
    WrongDataCenter {
        /// Where the account is said to live.
        configured: DataCenter,
        /// Where its credentials are good.
        valid_at: DataCenter,
    },
    /// The account's token lacks the scope that the route needs.
    ScopeMissing {
        /// Those of which one would suffice; empty where the catalogue names none.
        scopes: Vec<String>,
        /// How that is known.
        evidence: ScopeEvidence,
    },
    /// Zoho, or our own ledger on its behalf, allows no further token request for now.
    TokenThrottled {
        /// Until a token could be had.
        retry_after: Duration,
    },
    /// The caller wants an answer from the cache, and there is none to be used.
    NotCached,
    /// The gateway takes no new work.
    ShuttingDown,
    /// The gateway stops before the call is answered.
    CutOff(Fate),
    /// A defect of the gateway.
    Internal,
}

impl Cause {
    /// The same of a token request, after which the call itself was not sent.
    #[must_use]
    pub fn before_the_call(mut self) -> Self {
        if let Self::UpstreamUnreachable(fault) | Self::UpstreamInvalidResponse(fault) | Self::UpstreamTimeout(fault) =
            &mut self
        {
            fault.before_the_call = true;
        }
        self
    }

    /// Whether Zoho may have executed the call, or may yet.
    #[must_use]
    pub fn may_be_executed(&self) -> bool {
        match self {
            Self::Protocol(_)
            | Self::ForeignOrigin(_)
            | Self::InvalidPayload(_)
            | Self::CallerUnauthenticated(_)
            | Self::IssuerUnavailable { .. }
            | Self::CallerForbidden(_)
            | Self::CallerLimit { .. }
            | Self::UnknownRoute { .. }
            | Self::UnknownAccount { .. }
            | Self::BodyEncoded { .. }
            | Self::ThresholdSaturated { .. }
            | Self::ThresholdLocked { .. }
            | Self::QueueFull { .. }
            | Self::StateUnavailable
            | Self::AuditUnavailable
            | Self::UpstreamUnreachable(_)
            | Self::AccountUnauthorised { .. }
            | Self::WrongDataCenter { .. }
            | Self::ScopeMissing { .. }
            | Self::TokenThrottled { .. }
            | Self::NotCached
            | Self::ShuttingDown
            | Self::CutOff(Fate::NotSent | Fate::NotExecuted) => false,
            Self::UpstreamInvalidResponse(fault) | Self::UpstreamTimeout(fault) => !fault.before_the_call,
            // A part of the body was sent.
            Self::BodyIncomplete | Self::BodyOverrides | Self::BodyTooLarge { .. } => true,
            Self::CutOff(Fate::Unknown) | Self::Internal => true,
        }
    }

    /// Whether it says nothing about the call itself: Zoho could not be asked just now.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::ThresholdSaturated { .. }
            | Self::ThresholdLocked { .. }
            | Self::QueueFull { .. }
            | Self::StateUnavailable
            | Self::AuditUnavailable
            | Self::UpstreamUnreachable(_)
            | Self::UpstreamInvalidResponse(_)
            | Self::UpstreamTimeout(_)
            | Self::AccountUnauthorised { .. }
            | Self::TokenThrottled { .. }
            | Self::CutOff(_) => true,
            Self::Protocol(_)
            | Self::ForeignOrigin(_)
            | Self::InvalidPayload(_)
            | Self::CallerUnauthenticated(_)
            | Self::IssuerUnavailable { .. }
            | Self::CallerForbidden(_)
            | Self::CallerLimit { .. }
            | Self::UnknownRoute { .. }
            | Self::UnknownAccount { .. }
            | Self::BodyIncomplete
            | Self::BodyOverrides
            | Self::BodyEncoded { .. }
            | Self::BodyTooLarge { .. }
            | Self::WrongDataCenter { .. }
            | Self::ScopeMissing { .. }
            | Self::NotCached
            | Self::ShuttingDown
            | Self::Internal => false,
        }
    }
}

impl From<Refused> for Cause {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Saturated { retry_after, daily } => Self::ThresholdSaturated { retry_after, daily },
            Refused::Locked { retry_after } => Self::ThresholdLocked { retry_after },
            Refused::Full { retry_after, limit } => Self::QueueFull { retry_after, limit },
            Refused::Unrecorded => Self::StateUnavailable,
            Refused::Closing => Self::CutOff(Fate::NotSent),
        }
    }
}

/// Why it is not known who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unauthenticated {
    /// The request has neither a key nor a token, and its connection no certificate.
    NothingShown,
    /// What it shows is a token of Zoho's.
    ZohoToken,
    /// `Authorization` says `Bearer` in a way that cannot be read.
    Malformed,
    /// The key is nobody's.
    UnknownKey,
    /// The certificate has no name of a caller.
    UnknownCertificate,
    /// The certificate has names of several callers.
    SeveralCallers,
    /// The token is not taken.
    BadToken(BadToken),
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadToken {
    /// It is longer than any is.
    TooLong,
    /// Its header makes no sense, or names an algorithm that is never taken.
    Header,
    /// Its `crit` names fields that nobody here knows.
    Critical,
    /// Its claims make no sense.
    Claims,
    /// Its `iss` is none that is configured, or missing.
    UnknownIssuer,
    /// Its algorithm is not one that is taken of its issuer.
    Algorithm,
    /// Its `aud` is somebody else.
    Audience,
    /// It has no `exp`.
    NoExpiry,
    /// Its `exp` is over.
    Expired,
    /// Its `nbf` or `iat` is to come.
    NotYetValid,
    /// Its issuer publishes no such key.
    UnknownKey,
    /// Several of its issuer's keys could be meant.
    AmbiguousKey,
    /// Its signature is not that of the key.
    Signature,
    /// Its `sub` is no caller's, or missing.
    UnknownSubject,
}

impl From<Unauthenticated> for Cause {
    fn from(why: Unauthenticated) -> Self {
        Self::CallerUnauthenticated(why)
    }
}

/// How a body is encoded that the gateway cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// By `Content-Encoding`.
    Compressed,
    /// By `charset`, named as it is shown.
    Charset(String),
}

/// Why the gateway reads a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The route has rules for its parameters.
    Rules,
    /// A parameter of a form could make another call of this one.
    Overrides,
}

/// By which field a web page shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// `Sec-Fetch-Site`: it is of another site.
    Site,
    /// `Origin`: it is of another origin.
    Origin,
    /// `Host`: its name was made to lead here.
    Host,
}

/// What a caller may not do.
#[derive(Debug, Clone)]
pub enum Forbidden {
    /// Use the account.
    Account,
    /// Make the call.
    Route {
        /// Who may not.
        caller: Caller,
        /// What.
        route: RouteId,
    },
    /// Make it by a method that may change something.
    Write {
        /// Who may not.
        caller: Caller,
        /// By which method.
        method: Method,
        /// What.
        route: RouteId,
        /// Whether it is a call of the catalogue, and not what stands for those that are none.
        known: bool,
    },
}

/// How it is known that a login lacks a scope.
#[derive(Debug, Clone)]
pub enum ScopeEvidence {
    /// Zoho refused a call with this code.
    Code(String),
    /// These are all that were granted; nothing was sent.
    Granted(Scopes),
}

/// What went wrong between the gateway and Zoho.
#[derive(Debug, Clone)]
pub struct UpstreamFault {
    /// The error type of RFC 9209 section 2.3, for `Proxy-Status`.
    pub error: &'static str,
    /// Which server: `people.zoho.com`, `accounts.zoho.com`.
    pub server: String,
    /// The cause chain, for the log.
    pub log: String,
    /// The call itself was not sent: a token request failed, or no connection came about.
    pub before_the_call: bool,
    /// The proxy's part in it, in words for callers; `None` without one.
    pub proxy: Option<String>,
}
