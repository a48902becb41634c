//! The lines of one write: one before each attempt, and one with the outcome.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::UNIX_EPOCH,
};

use http::{Method, uri::PathAndQuery};
use tokio::time::Instant;
use uuid::{ContextV7, Timestamp, Uuid};

use super::hash::{self, BodyHash};
use crate::{
    call::{
        Call, CallContext,
        attempt_log::{AttemptLog, AttemptRecorder, Steps, Unrecorded},
        request_id::RequestId,
    },
    os::clock,
    telemetry::{self, AUDIT, milliseconds},
};

/// The counter that distinguishes ids of the same millisecond.
static SEQUENCE: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// A write in progress. Dropping it writes the line of its outcome, if it is not written yet.
#[derive(Debug)]
pub(super) struct Entry {
    facts: Arc<Facts>,
    attempt_log: AttemptLog,
    began: Instant,
    told: bool,
}

/// The fields that all lines of a write share.
#[derive(Debug)]
struct Facts {
    /// Unique, unlike request ids, which a caller may repeat.
    audit_id: Uuid,
    context: CallContext,
    method: Method,
    target: PathAndQuery,
    request_id: String,
    body: BodyHash,
    /// Whether an attempt that cannot be recorded must not be sent.
    required: bool,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Zoho's answer says that it was done.
    Executed,
    /// Zoho's answer says that it was not done.
    Failed,
    /// It is unknown whether it was done.
    Unknown,
    /// It was announced, but not sent.
    NotSent,
}

impl Entry {
    /// Starts an entry. Returns the call, whose attempts are recorded and whose body is hashed.
    pub(super) fn begin(call: Call, required: bool) -> (Self, Call) {
        let request_id = call.request_id.as_str().to_owned();
        let (body, call) = call.map_payload(BodyHash::watch);
        let facts = Arc::new(Facts {
            audit_id: audit_id(),
            context: call.context.clone(),
            method: call.method.clone(),
            target: call.target.clone(),
            request_id,
            body,
            required,
        });
        let attempt_log = call.attempt_log.clone();
        attempt_log.record(facts.clone());
        (Self { facts, attempt_log, began: clock::now(), told: false }, call)
    }

    /// Resolves when the outcome is written or writing has failed.
    pub(super) async fn finish(mut self) {
        // The writer counts and logs failures; the call was executed anyway.
        let _ = telemetry::audited(|| self.tell()).await;
    }

    /// Writes the line of the outcome, once.
    fn tell(&mut self) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let steps = self.attempt_log.steps();
        let Some(outcome) = Outcome::of(steps) else { return };
        // An unanswered attempt has no status; the status of the previous one would mislead.
        let status = steps.status.filter(|_| !steps.under_way);
        let facts = &self.facts;
        tracing::info!(
            target: AUDIT,
            audit_id = %facts.audit_id,
            request_id = facts.request_id,
            caller = facts.context.caller.name(),
            account = facts.context.account.name.as_str(),
            route = facts.context.route.id.as_str(),
            method = %facts.method,
            path = facts.target.path(),
            query_sha256 = facts.query_hash(),
            body_sha256 = facts.body.hash(),
            verdict = outcome.as_str(),
            status = status.map(|status| status.as_u16()),
            attempts = steps.attempts,
            merged_into = self.attempt_log.merged_into().as_ref().map(RequestId::as_str),
            took_ms = milliseconds(clock::now().saturating_duration_since(self.began)),
            "audit"
        );
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tell();
    }
}

impl Facts {
    fn query_hash(&self) -> Option<String> {
        self.target.query().and_then(|query| hash::of(query.as_bytes()))
    }

    /// Writes the line of an attempt.
    fn tell(&self, attempt: u32, merged_into: Option<&RequestId>) {
        tracing::info!(
            target: AUDIT,
            audit_id = %self.audit_id,
            request_id = self.request_id,
            caller = self.context.caller.name(),
            account = self.context.account.name.as_str(),
            route = self.context.route.id.as_str(),
            method = %self.method,
            path = self.target.path(),
            query_sha256 = self.query_hash(),
            body_sha256 = self.body.hash(),
            attempt,
            merged_into = merged_into.map(RequestId::as_str),
            "sending"
        );
    }
}

impl AttemptRecorder for Facts {
    fn sending(
        &self,
        attempt: u32,
        merged_into: Option<RequestId>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send + '_>> {
        Box::pin(async move {
            match telemetry::audited(|| self.tell(attempt, merged_into.as_ref())).await {
                Err(telemetry::Unwritten) if self.required => Err(Unrecorded::Audit),
                Ok(()) | Err(telemetry::Unwritten) => Ok(()),
            }
        })
    }
}

fn audit_id() -> Uuid {
    let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(&SEQUENCE, now.as_secs(), now.subsec_nanos()))
}

impl Outcome {
    /// `None` if no attempt was announced.
    fn of(steps: Steps) -> Option<Self> {
        match steps {
            Steps { merged: true, .. } => Some(Self::Unknown),
            Steps { attempts: 0, announced, .. } => announced.then_some(Self::NotSent),
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
            Self::NotSent => "not_sent",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn the_newest_attempt_decides_the_outcome() {
        let status = Some(StatusCode::OK);
        let steps = Steps { announced: true, attempts: 1, status, executed: Some(true), ..Steps::default() };
        for (steps, expected) in [
            (Steps::default(), None),
            (Steps { announced: true, ..Steps::default() }, Some(Outcome::NotSent)),
            // Its caller left, and the merged call with its payload may be sent.
            (Steps { merged: true, ..Steps::default() }, Some(Outcome::Unknown)),
            (steps, Some(Outcome::Executed)),
            (Steps { executed: Some(false), ..steps }, Some(Outcome::Failed)),
            (Steps { executed: None, ..steps }, Some(Outcome::Unknown)),
            // The first attempt met a lock, the second has no answer.
            (Steps { attempts: 2, under_way: true, executed: Some(false), ..steps }, Some(Outcome::Unknown)),
        ] {
            assert_eq!(Outcome::of(steps), expected, "{steps:?}");
        }
    }
}
