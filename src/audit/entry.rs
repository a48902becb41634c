//! One line of the audit.

use http::{Method, uri::PathAndQuery};
use tokio::time::Instant;

use super::hash::{self, Hashed};
use crate::{
    call::{Call, Subject},
    clock,
    telemetry::{AUDIT, milliseconds},
    trail::{Steps, Trail},
};

/// A write under way. Dropping it writes its line, if it was sent.
#[derive(Debug)]
pub(super) struct Entry {
    subject: Subject,
    method: Method,
    target: PathAndQuery,
    request_id: String,
    body: Hashed,
    trail: Trail,
    began: Instant,
}

/// What is known of a write that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Zoho's answer says that it was done.
    Executed,
    /// Zoho's answer says that it was not done.
    Failed,
    /// Nobody knows.
    Unknown,
}

impl Entry {
    /// Begins one; the call goes on with its body watched.
    pub(super) fn begin(call: Call) -> (Self, Call) {
        let request_id = call.request_id().to_owned();
        let (body, payload) = Hashed::watch(call.payload);
        let entry = Self {
            subject: call.subject.clone(),
            method: call.method.clone(),
            target: call.target.clone(),
            request_id,
            body,
            trail: call.trail.clone(),
            began: clock::now(),
        };
        (entry, Call { payload, ..call })
    }
}

impl Verdict {
    /// `None` of a call that was never sent.
    fn of(steps: Steps) -> Option<Self> {
        match steps {
            Steps { attempts: 0, .. } => None,
            Steps { under_way: true, .. } | Steps { executed: None, .. } => Some(Self::Unknown),
            Steps { executed: Some(true), .. } => Some(Self::Executed),
            Steps { executed: Some(false), .. } => Some(Self::Failed),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let steps = self.trail.steps();
        let Some(verdict) = Verdict::of(steps) else { return };
        // An attempt without an answer has no status; that of the one before would mislead.
        let status = steps.status.filter(|_| !steps.under_way);
        tracing::info!(
            target: AUDIT,
            request_id = self.request_id,
            caller = self.subject.caller.name(),
            account = self.subject.account.name.as_str(),
            route = self.subject.route.id.as_str(),
            method = %self.method,
            path = self.target.path(),
            query_sha256 = self.target.query().and_then(|query| hash::of(query.as_bytes())),
            body_sha256 = self.body.hash(),
            verdict = verdict.as_str(),
            status = status.map(|status| status.as_u16()),
            attempts = steps.attempts,
            took_ms = milliseconds(clock::now().saturating_duration_since(self.began)),
            "audit"
        );
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_verdict_is_what_the_newest_attempt_left() {
        let status = Some(StatusCode::OK);
        let steps = Steps { attempts: 1, status, executed: Some(true), ..Steps::default() };
        for (steps, expected) in [
            (Steps::default(), None),
            (steps, Some(Verdict::Executed)),
            (Steps { executed: Some(false), ..steps }, Some(Verdict::Failed)),
            (Steps { executed: None, ..steps }, Some(Verdict::Unknown)),
            // The first attempt met a lock, the second has no answer.
            (Steps { attempts: 2, under_way: true, executed: Some(false), ..steps }, Some(Verdict::Unknown)),
        ] {
            assert_eq!(Verdict::of(steps), expected, "{steps:?}");
        }
    }
}
