//! Records what happens to a call at Zoho, over all its attempts: for the audit, for the cache, and for the answer to a
//! call that is cut off.

use std::{fmt::Debug, future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use http::StatusCode;
use parking_lot::Mutex;

use super::{request_id::RequestId, trace::Trace};
use crate::ledger::{AttemptOf, Observer, Step};

/// The record of a call's attempts. The edge creates one for each request.
#[derive(Debug, Clone, Default)]
pub struct AttemptLog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    steps: Mutex<Steps>,
    recorders: Mutex<Vec<Arc<dyn AttemptRecorder>>>,
    /// The logs of the calls that are sent in this one, so that its steps are theirs too.
    merged: Mutex<Vec<AttemptLog>>,
    /// The id of the merged call in which this one is or was sent.
    merged_into: Mutex<Option<RequestId>>,
    /// For the spans of what happens to it.
    trace: Trace,
}

/// The logs of a merged call. When it is dropped, its calls are calls of their own again.
#[derive(Debug)]
pub struct MergedLogs {
    leader: AttemptLog,
}

/// Records each attempt before it is sent.
pub trait AttemptRecorder: Debug + Send + Sync {
    /// Resolves when attempt number `attempt` is recorded as about to be sent, in the merged call with the id
    /// `merged_into` if it is part of one.
    fn sending(
        &self,
        attempt: u32,
        merged_into: Option<RequestId>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send + '_>>;

    /// The newest attempt was not sent after all, or Zoho did not execute it. It must not block.
    fn not_executed(&self) {}
}

/// Why an attempt could not be recorded, so that it must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecorded {
    /// The audit log cannot be written.
    Audit,
    /// The state store cannot be written.
    State,
}

/// The attempts so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps {
    /// An attempt was recorded before it was sent.
    pub announced: bool,
    /// How often it was sent.
    pub attempts: u32,
    /// How long it waited for a slot until its newest attempt, or until it was refused one.
    pub waited: Option<Duration>,
    /// It is part of a merged call, which may be sent at any moment.
    pub merged: bool,
    /// The newest attempt has no answer yet.
    pub under_way: bool,
    /// The status of the newest answer, whatever happened to its body.
    pub status: Option<StatusCode>,
    /// Whether that answer says that the call was executed; `None` if it broke off too early.
    pub executed: Option<bool>,
    /// Zoho may have executed an attempt, at least in part: it was sent, and Zoho did not refuse it unexecuted.
    pub may_be_executed: bool,
}

/// What is known about a call that ends without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// None of its bytes were sent.
    NotSent,
    /// It was sent, and Zoho answered that it did not execute it.
    NotExecuted,
    /// It was sent, and Zoho may have executed it.
    Unknown,
}

impl Steps {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Sending => {
                self.attempts += 1;
                (self.under_way, self.may_be_executed) = (true, true);
            }
            Step::NotSent => {
                self.attempts = self.attempts.saturating_sub(1);
                (self.under_way, self.may_be_executed) = (false, false);
            }
            Step::Answered { status, .. } => {
                (self.under_way, self.status) = (false, Some(status));
                // A status other than 2xx already says that the call was not executed.
                self.executed = (!status.is_success()).then_some(false);
            }
            // Another attempt follows only after such an answer.
            Step::Refused => self.may_be_executed = false,
            Step::Locked(_) => (self.may_be_executed, self.executed) = (false, Some(false)),
            Step::Judged { executed } => self.executed = self.executed.or(Some(executed)),
            Step::PayloadRefused(_) | Step::Unused | Step::Lost | Step::Unread => {}
        }
    }

    /// The fate of the call if it ends here.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self { merged: true, .. } => Fate::Unknown,
            Self { attempts: 0, .. } => Fate::NotSent,
            Self { may_be_executed: false, .. } => Fate::NotExecuted,
            // A server error does not tell how much Zoho executed.
            Self { may_be_executed: true, .. } => Fate::Unknown,
        }
    }
}

impl AttemptLog {
    /// A new record, of a call with this trace.
    #[must_use]
    pub fn traced(trace: Trace) -> Self {
        Self(Arc::new(Shared { trace, ..Shared::default() }))
    }

    /// The trace of its call.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.0.trace
    }

    /// The traces of its call and of those that are sent in it, as far as they are recorded.
    #[must_use]
    pub fn traces(&self) -> Vec<Trace> {
        let merged = self.0.merged.lock();
        let logs = merged.iter().chain([self]).filter(|log| log.trace().is_recorded());
        logs.map(|log| log.trace().clone()).collect()
    }

    /// Adds a recorder that each attempt waits for.
    pub fn record(&self, recorder: Arc<dyn AttemptRecorder>) {
        self.0.recorders.lock().push(recorder);
    }

    /// The attempts so far.
    #[must_use]
    pub fn steps(&self) -> Steps {
        *self.0.steps.lock()
    }

    /// The call left the queue after this time.
    pub fn waited(&self, waited: Duration) {
        self.0.steps.lock().waited = Some(waited);
    }

    /// The fate of the call if it ends now.
    #[must_use]
    pub fn fate(&self) -> Fate {
        self.steps().fate()
    }

    /// Must be awaited before an attempt is sent: resolves when all recorders have it.
    ///
    /// # Errors
    /// [`Unrecorded`], when the attempt must not be sent.
    pub async fn announced(&self) -> Result<(), Unrecorded> {
        let merged = self.0.merged.lock().clone();
        self.own_announced().await?;
        try_join_all(merged.iter().map(Self::own_announced)).await.map(drop)
    }

    async fn own_announced(&self) -> Result<(), Unrecorded> {
        let recorders = self.0.recorders.lock().clone();
        if recorders.is_empty() {
            return Ok(());
        }
        let attempt = {
            let mut steps = self.0.steps.lock();
            steps.announced = true;
            steps.attempts.saturating_add(1)
        };
        for recorder in recorders {
            recorder.sending(attempt, self.merged_into()).await?;
        }
        Ok(())
    }

    /// Merges the calls of `others` into the call of this log, which has this id: what happens to it happens to them.
    #[must_use]
    pub fn merge(&self, id: &RequestId, others: Vec<Self>) -> MergedLogs {
        for log in others.iter().chain([self]) {
            log.0.steps.lock().merged = true;
            *log.0.merged_into.lock() = Some(id.clone());
        }
        *self.0.merged.lock() = others;
        MergedLogs { leader: self.clone() }
    }

    /// The next attempt is for this call alone.
    pub fn sent_alone(&self) {
        *self.0.merged_into.lock() = None;
    }

    /// The id of the merged call in which it is or was sent.
    #[must_use]
    pub fn merged_into(&self) -> Option<RequestId> {
        self.0.merged_into.lock().clone()
    }

    /// This log as the observer of an attempt.
    #[must_use]
    pub fn observer(&self) -> Arc<dyn Observer> {
        self.0.clone()
    }
}

impl Observer for Shared {
    fn step(&self, _: &AttemptOf<'_>, step: &Step) {
        self.apply(step);
        self.merged.lock().iter().for_each(|log| log.0.apply(step));
    }
}

impl Shared {
    fn apply(&self, step: &Step) {
        self.steps.lock().apply(step);
        if matches!(step, Step::NotSent | Step::Refused | Step::Locked(_)) {
            self.recorders.lock().iter().for_each(|recorder| recorder.not_executed());
        }
    }
}

impl Drop for MergedLogs {
    fn drop(&mut self) {
        let others = std::mem::take(&mut *self.leader.0.merged.lock());
        others.iter().chain([&self.leader]).for_each(|log| log.0.steps.lock().merged = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{Caller, Key},
        os::clock,
    };

    /// Keeps the attempts that it was asked to record.
    #[derive(Debug, Default)]
    struct Attempts(Mutex<Vec<u32>>);

    impl AttemptRecorder for Attempts {
        fn sending(
            &self,
            attempt: u32,
            _: Option<RequestId>,
        ) -> Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send + '_>> {
            self.0.lock().push(attempt);
            Box::pin(async { Ok(()) })
        }
    }

    /// The steps that an attempt reports.
    impl AttemptLog {
        pub(crate) fn step(&self, step: Step) {
            let (key, caller) = (Key::default(), Caller::anonymous());
            self.observer().step(&AttemptOf { key: &key, caller: &caller, request_id: "" }, &step);
        }

        pub(crate) fn sends(&self) {
            self.step(Step::Sending);
        }

        pub(crate) fn not_sent(&self) {
            self.step(Step::NotSent);
        }

        pub(crate) fn refused(&self) {
            self.step(Step::Refused);
        }

        pub(crate) fn answered(&self, status: StatusCode) {
            self.step(Step::Answered { sent_at: clock::now(), status });
        }
    }

    fn recorded() -> (AttemptLog, Arc<Attempts>) {
        let (attempt_log, attempts) = (AttemptLog::default(), Arc::new(Attempts::default()));
        attempt_log.record(attempts.clone());
        (attempt_log, attempts)
    }

    #[tokio::test]
    async fn an_unsent_attempt_gives_its_number_to_the_next() {
        let (attempt_log, attempts) = recorded();
        for sent in [false, true, true] {
            attempt_log.announced().await.unwrap();
            attempt_log.sends();
            if !sent {
                attempt_log.not_sent();
            }
        }
        assert_eq!(*attempts.0.lock(), [1, 1, 2]);
        assert!(AttemptLog::default().announced().await.is_ok());
    }

    #[test]
    fn an_unsent_attempt_leaves_the_one_before_unchanged() {
        let attempt_log = AttemptLog::default();
        attempt_log.sends();
        attempt_log.answered(StatusCode::TOO_MANY_REQUESTS);
        attempt_log.refused();
        attempt_log.sends();
        assert!(attempt_log.steps().under_way && attempt_log.steps().may_be_executed);
        attempt_log.not_sent();
        let status = Some(StatusCode::TOO_MANY_REQUESTS);
        let left = Steps { attempts: 1, status, executed: Some(false), ..Steps::default() };
        assert_eq!(attempt_log.steps(), left);
    }

    #[test]
    fn the_fate_of_a_call_follows_its_newest_attempt() {
        let attempt_log = AttemptLog::default();
        assert_eq!(attempt_log.fate(), Fate::NotSent);
        attempt_log.sends();
        assert_eq!(attempt_log.fate(), Fate::Unknown, "no answer yet");
        attempt_log.not_sent();
        assert_eq!(attempt_log.fate(), Fate::NotSent, "no connection");
        attempt_log.sends();
        attempt_log.answered(StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(attempt_log.fate(), Fate::Unknown, "its body has not arrived");
        attempt_log.refused();
        assert_eq!(attempt_log.fate(), Fate::NotExecuted, "its body reported a lock");
        attempt_log.sends();
        assert_eq!(attempt_log.fate(), Fate::Unknown, "the second attempt has no answer yet");
        attempt_log.not_sent();
        assert_eq!(attempt_log.fate(), Fate::NotExecuted, "the second attempt was not sent either");
        attempt_log.sends();
        attempt_log.answered(StatusCode::OK);
        assert_eq!(attempt_log.fate(), Fate::Unknown);
    }

    #[test]
    fn only_a_success_status_waits_for_its_body() {
        let (attempt_log, _) = recorded();
        attempt_log.sends();
        attempt_log.answered(StatusCode::OK);
        assert_eq!(attempt_log.steps().executed, None);
        attempt_log.step(Step::Judged { executed: false });
        assert_eq!(attempt_log.steps().executed, Some(false));
        attempt_log.answered(StatusCode::BAD_GATEWAY);
        attempt_log.step(Step::Judged { executed: true });
        assert_eq!(attempt_log.steps().executed, Some(false));
    }

    #[test]
    fn a_refused_call_was_not_executed() {
        let attempt_log = AttemptLog::default();
        assert!(!attempt_log.steps().may_be_executed);
        attempt_log.sends();
        assert!(attempt_log.steps().may_be_executed, "a missing answer is not a refusal");
        attempt_log.answered(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(attempt_log.steps().may_be_executed, "a part may be executed");
        attempt_log.refused();
        assert!(!attempt_log.steps().may_be_executed);
    }

    #[tokio::test]
    async fn the_steps_of_a_merged_call_are_those_of_all_its_calls() {
        let ((leader, _), (other, announced)) = (recorded(), recorded());
        let id = RequestId::generate();
        let merged = leader.merge(&id, vec![other.clone()]);
        assert_eq!((other.fate(), leader.fate()), (Fate::Unknown, Fate::Unknown), "it may be sent at any moment");
        leader.announced().await.unwrap();
        leader.sends();
        leader.answered(StatusCode::OK);
        leader.step(Step::Judged { executed: true });
        drop(merged);
        let steps = other.steps();
        assert!(steps.announced && !steps.merged);
        assert_eq!((steps.attempts, steps.status, steps.executed), (1, Some(StatusCode::OK), Some(true)));
        assert_eq!(*announced.0.lock(), [1]);
        assert_eq!(other.merged_into().unwrap().as_str(), id.as_str());
        leader.sends();
        assert_eq!(other.steps().attempts, 1, "the next attempt is the leader's own");
    }

    #[test]
    fn the_calls_of_a_merged_call_that_is_not_sent_were_not_sent() {
        let (leader, other) = (AttemptLog::default(), AttemptLog::default());
        drop(leader.merge(&RequestId::generate(), vec![other.clone()]));
        assert_eq!((leader.fate(), other.fate()), (Fate::NotSent, Fate::NotSent));
    }
}
