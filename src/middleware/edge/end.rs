//! How a request ended.

use crate::{
    call::{CacheOutcome, MergedInto, RequestSummary, request_log::RequestLog},
    problem::Cause,
};

/// What the answer says, and how it came about.
#[derive(Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    /// `None` without an answer.
    pub(super) status: Option<u16>,
    pub(super) problem: Option<&'static str>,
    pub(super) detail: Option<String>,
    pub(super) summary: Option<RequestSummary>,
    pub(super) cache: Option<CacheOutcome>,
    pub(super) merged_into: Option<MergedInto>,
}

/// The message of a request's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// By Zoho, by the cache, or by a part of the gateway that does what was asked.
    Answered,
    /// The gateway did not make the call.
    Refused,
    /// The gateway tried to make the call and has no answer of Zoho's.
    Failed,
    /// A bug in the gateway.
    Broken,
    /// The caller left before its answer.
    Abandoned,
}

impl End {
    /// Without an answer, because the caller has left.
    pub(super) fn abandoned() -> Self {
        Self {
            outcome: Outcome::Abandoned,
            status: None,
            problem: None,
            detail: None,
            summary: None,
            cache: None,
            merged_into: None,
        }
    }

    /// The request's account, if known.
    pub(super) fn account<'a>(&'a self, log: &'a RequestLog) -> Option<&'a str> {
        let context = || log.context().map(|context| context.account.name.as_str());
        self.summary.as_ref().map(|summary| summary.account.as_str()).or_else(context)
    }

    /// The request's route, if known.
    pub(super) fn route<'a>(&'a self, log: &'a RequestLog) -> Option<&'a str> {
        let context = || log.context().map(|context| context.route.id.as_str());
        self.summary.as_ref().map(|summary| summary.route.as_str()).or_else(context)
    }
}

impl Outcome {
    pub(super) fn of(cause: &Cause) -> Self {
        match cause {
            Cause::UpstreamUnreachable(_)
            | Cause::UpstreamInvalidResponse(_)
            | Cause::UpstreamTimeout(_)
            | Cause::CutOff(_) => Self::Failed,
            Cause::Internal => Self::Broken,
            _ => Self::Refused,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed | Self::Broken => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}
