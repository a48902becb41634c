//! The calls that are sent as one, and the way of each part of the answer to its caller.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use tower::util::BoxCloneService;

use super::similar::Key;
use crate::{
    call::{Answer, Call, attempt_log::MergedLogs},
    problem::{Cause, Refusal},
};

/// The layers below [`Gather`](super::Gather), through which a part of a merged call is sent again.
pub(super) type Service = BoxCloneService<Call, Answer, Refusal>;

pub(super) type Outcome = Result<Answer, Refusal>;

/// Several calls that are sent as one; the first is the leader, whose slot they use.
pub(super) struct MergedCall {
    pub(super) key: Key,
    pub(super) calls: Vec<OneCall>,
    pub(super) logs: MergedLogs,
    pub(super) parts: Vec<PartChannel>,
}

/// One of its calls.
pub(super) struct OneCall {
    pub(super) call: Call,
    pub(super) numbers: Vec<String>,
    pub(super) service: Service,
    pub(super) outcome: oneshot::Sender<Outcome>,
}

/// The way to a call's caller.
pub(super) struct PartChannel {
    pub(super) to: oneshot::Sender<Part>,
    pub(super) outcome: oneshot::Receiver<Outcome>,
}

/// What a call's caller waits for. The task of the merged call ends when all callers have left.
#[derive(Debug)]
pub(super) struct Part {
    outcome: oneshot::Receiver<Outcome>,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl MergedCall {
    pub(super) fn new(key: Key, calls: Vec<OneCall>, parts: Vec<PartChannel>) -> Self {
        let logs = merge_logs(&calls);
        Self { key, calls, logs, parts }
    }
}

/// From now on what happens to the first call happens to all.
pub(super) fn merge_logs(calls: &[OneCall]) -> MergedLogs {
    let logs = calls[1..].iter().map(|one| one.call.attempt_log.clone()).collect();
    calls[0].call.attempt_log.merge(&calls[0].call.request_id, logs)
}

impl OneCall {
    pub(super) fn has_left(&self) -> bool {
        self.outcome.is_closed()
    }

    pub(super) fn gets(self, outcome: Outcome) {
        // A caller that has left needs none.
        let _ = self.outcome.send(outcome);
    }
}

impl Part {
    pub(super) fn new(outcome: oneshot::Receiver<Outcome>, task: Arc<AbortOnDropHandle<()>>) -> Self {
        Self { outcome, _task: task }
    }

    pub(super) async fn answer(self) -> Outcome {
        // Only a panic of the task leaves a caller without an outcome.
        self.outcome.await.unwrap_or_else(|_| Err(Cause::Internal.into()))
    }
}
