//! One job: what it is, and in which stage.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::UNIX_EPOCH,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    budget::Held,
    id::JobId,
    kept::{KeptAnswer, KeptRequest},
};
use crate::{
    call::{CallContext, RequestSummary, attempt_log::AttemptLog, request_id::RequestId},
    ledger::{Caller, Terms, Urgency},
    os::clock,
    problem::Refusal,
    zoho::{account::Account, catalogue::Route},
};

/// A job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) facts: Facts,
    pub(super) caller: Caller,
    pub(super) account: Arc<Account>,
    /// `None` if the catalogue no longer has it.
    pub(super) route: Option<Arc<Route>>,
    /// Its caller asked for a job. Otherwise the call lasts as long as somebody waits for it.
    asked: AtomicBool,
    /// The store has it as a job.
    kept: AtomicBool,
    stage: watch::Sender<Stage>,
    /// Each waiting request holds a receiver.
    pub(super) attended: watch::Sender<()>,
    /// While this is locked, the stage does not change, so the store gets all changes in their order.
    pub(super) parts: Mutex<Parts>,
}

/// What a job holds.
#[derive(Debug)]
pub(super) struct Parts {
    /// When its wait for a slot ends.
    pub(super) deadline: Instant,
    /// Until the job has ended.
    pub(super) request: Option<Arc<KeptRequest>>,
    /// The answer, until it is stored.
    pub(super) unsaved: Option<Arc<KeptAnswer>>,
    /// Its bytes.
    pub(super) held: Held,
    /// What happens to it at Zoho.
    pub(super) attempt_log: AttemptLog,
    /// For the log line of a request that waited for it.
    pub(super) summary: Option<RequestSummary>,
    /// While it is being sent, the drain waits for it.
    pub(super) in_flight: Option<TaskTrackerToken>,
}

/// What does not change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) caller: String,
    pub(super) weight: NonZeroU32,
    pub(super) max_share: Option<NonZeroU32>,
    pub(super) route: String,
    pub(super) method: String,
    pub(super) request_id: String,
    pub(super) urgency: u8,
    pub(super) key: Option<String>,
    pub(super) fingerprint: String,
    /// It may be sent again although Zoho may have executed it.
    pub(super) repeatable: bool,
    /// In milliseconds of the Unix epoch. The wall clock decides only how long jobs are kept, never when calls are sent.
    pub(super) created: u64,
    /// The span of the request that made it, if that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<String>,
}

impl Facts {
    /// The terms on which its call waits. A reserve belongs to its caller, not to a call.
    fn terms(&self) -> Terms {
        Terms { weight: self.weight, max_share: self.max_share, ..Terms::default() }
    }
}

/// Where a job is.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// It is not stored yet.
    New,
    /// It waits for its slot.
    Queued,
    /// Its caller removes it, and the store does not know yet.
    Removing,
    /// It is about to be sent, or was sent.
    Sending,
    /// It has ended, and the store does not know yet.
    Answered(Ending),
    /// It has ended.
    Ended(Ending),
    /// It no longer exists; what waiting requests get.
    Removed(Refusal),
}

/// How a job ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) state: State,
    /// The status of Zoho's answer.
    pub(super) status: Option<u16>,
    pub(super) answer: Answer,
    /// In milliseconds of the Unix epoch.
    pub(super) at: u64,
    /// The bytes of the answer.
    pub(super) size: u64,
    /// The refusal, for requests that wait for it in this process.
    #[serde(skip)]
    pub(super) refusal: Option<Refusal>,
}

/// What is left of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// There is none.
    Missing,
    Kept,
    TooLarge,
}

/// The state of a job, as its caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for its slot.
    Queued,
    /// It is about to be sent, or was sent and has no answer yet.
    Sending,
    /// Zoho answered.
    Done,
    /// It was not executed, and Zoho gave no answer; its answer is the gateway's problem.
    Failed,
    /// It was sent, and no answer came: Zoho may have executed it.
    Unknown,
}

impl State {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Sending, Self::Done, Self::Failed, Self::Unknown];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

// === impl Job ===

impl Job {
    pub(super) fn new(
        id: JobId,
        facts: Facts,
        (account, route): (Arc<Account>, Option<Arc<Route>>),
        deadline: Instant,
        asked: bool,
        stage: Stage,
        (request, held): (Option<Arc<KeptRequest>>, Held),
    ) -> Arc<Self> {
        let attempt_log = AttemptLog::default();
        let parts = Parts { deadline, request, unsaved: None, held, attempt_log, summary: None, in_flight: None };
        Arc::new(Self {
            id,
            caller: Caller::with_terms(&facts.caller, facts.terms()),
            facts,
            account,
            route,
            asked: AtomicBool::new(asked),
            kept: AtomicBool::new(false),
            stage: watch::Sender::new(stage),
            attended: watch::Sender::new(()),
            parts: Mutex::new(parts),
        })
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Must be called with `parts` locked.
    pub(super) fn enters(&self, stage: Stage) {
        if let Some(state) = stage.state() {
            tracing::debug!(job = %self.id, caller = self.caller.name(), route = self.facts.route, state = state.as_str(), "job");
        }
        self.stage.send_replace(stage);
    }

    /// Its state; `None` if it is no job, or not yet, or no longer.
    pub(super) fn state(&self) -> Option<State> {
        self.stage.borrow().state().filter(|_| self.is_asked())
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    pub(super) fn ask(&self, asked: bool) {
        self.asked.store(asked, Ordering::Release);
    }

    /// Whether the store has it as a job.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    pub(super) fn is_now_kept(&self) {
        self.kept.store(true, Ordering::Release);
    }

    pub(super) fn urgency(&self) -> Urgency {
        Urgency::new(self.facts.urgency).unwrap_or_default()
    }

    pub(super) fn request_id(&self) -> RequestId {
        RequestId::restored(&self.facts.request_id)
    }

    pub(super) fn context(&self) -> Option<CallContext> {
        let (caller, account) = (self.caller.clone(), Arc::clone(&self.account));
        Some(CallContext { caller, account, route: self.route.clone()? })
    }
}

impl Stage {
    fn state(&self) -> Option<State> {
        match self {
            Self::New | Self::Removed(_) => None,
            Self::Queued | Self::Removing => Some(State::Queued),
            // `done` is said only of what survives the process.
            Self::Sending | Self::Answered(_) => Some(State::Sending),
            Self::Ended(ending) => Some(ending.state),
        }
    }
}

/// Now, in milliseconds of the Unix epoch.
pub(super) fn now() -> u64 {
    let since = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
