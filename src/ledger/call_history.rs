//! The last calls that were sent, kept for a post-mortem in case Zoho reports a lock that the ledger did not expect.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Caller, Key, NO_ANSWER_GRACE, SlotRequest, Step};
use crate::os::clock;

/// How many calls of all windows are kept: some megabytes, and more than a busy gateway sends in a minute.
const CALLS: usize = 16_384;

/// How many incidents are kept; the store keeps the same number.
const INCIDENTS: usize = 32;

/// The last calls of all windows, and the last incidents.
#[derive(Debug)]
pub struct CallHistory {
    /// The calls of earlier processes are not known.
    began: Instant,
    calls: Mutex<Calls>,
    incidents: Mutex<VecDeque<serde_json::Value>>,
    last_lock: Mutex<Option<PostMortem>>,
}

/// Why Zoho has locked a route, as far as the ledger can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockCause {
    /// The ledger had free slots: another client uses the login, or Zoho allows fewer calls than the configuration says.
    ExternalUse,
    /// All slots were in use: another client uses the login, or Zoho allows fewer calls than the configuration says, but
    /// our own calls may have sufficed.
    ThresholdUsedUp,
    /// An earlier process or another gateway of the shared ledger knows.
    NotKnown,
}

/// The calls before a lock, whatever its cause.
#[derive(Debug, Clone)]
pub struct PostMortem {
    /// When Zoho refused the first call.
    pub at: Instant,
    /// What the ledger says about its cause.
    pub cause: LockCause,
    /// The lock and our own calls of the last window.
    pub incident: Arc<Incident>,
}

impl Default for CallHistory {
    fn default() -> Self {
        Self { began: clock::now(), calls: Mutex::default(), incidents: Mutex::default(), last_lock: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Calls {
    kept: VecDeque<Sent>,
    /// The number of the first call in `kept`.
    first: u64,
}

#[derive(Debug)]
struct Sent {
    /// `None` for a call that was not sent after all. It stays in the list, because removing it would change the
    /// numbers of the calls after it.
    window: Option<Arc<Key>>,
    caller: Caller,
    request_id: Arc<str>,
    at: Instant,
    ended: Option<End>,
}

/// When a call ended for the gateway.
#[derive(Debug, Clone, Copy)]
struct End {
    at: Instant,
    answered: bool,
}

/// A lock that came while the ledger had free slots: another client, probably another gateway, uses the same quota.
#[derive(Debug, Serialize)]
pub struct Incident {
    /// When the lock was reported, as RFC 3339.
    pub at: String,
    /// The account.
    pub account: String,
    /// The route.
    pub route: String,
    /// The threshold.
    pub requests: u32,
    /// Its window.
    pub window_seconds: f64,
    /// How many slots of our own calls were in use.
    pub charged: u32,
    /// The length of the lock.
    pub locked_for_seconds: f64,
    /// Our own calls of the last window, oldest first.
    pub calls: Vec<SentCall>,
    /// Whether `calls` has all of them; older ones may no longer be kept.
    pub calls_are_complete: bool,
}

/// One of our own calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SentCall {
    /// Whose call it is.
    pub caller: String,
    /// Its id in logs and answers.
    pub request_id: Box<str>,
    /// When it was sent, as RFC 3339.
    pub sent_at: String,
    /// `null` without an answer.
    pub answered_after_seconds: Option<f64>,
}

impl CallHistory {
    /// Starts with the incidents of earlier processes, oldest first.
    #[must_use]
    pub fn with(incidents: &[String]) -> Self {
        let parsed = incidents.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        Self { incidents: Mutex::new(parsed), ..Self::default() }
    }

    /// The last lock that Zoho reported to this process, whatever its cause.
    #[must_use]
    pub fn last_lock(&self) -> Option<PostMortem> {
        self.last_lock.lock().clone()
    }

    pub(super) fn keep_last_lock(&self, incident: Incident, at: Instant, cause: LockCause) {
        *self.last_lock.lock() = Some(PostMortem { at, cause, incident: Arc::new(incident) });
    }

    /// The last incidents, oldest first.
    #[must_use]
    pub fn incidents(&self) -> Vec<serde_json::Value> {
        self.incidents.lock().iter().cloned().collect()
    }

    /// Adds a call that is sent at `at`. Returns its number.
    pub(super) fn sent(&self, window: &Arc<Key>, request: &SlotRequest, at: Instant) -> u64 {
        let sent = Sent {
            window: Some(Arc::clone(window)),
            caller: request.caller.clone(),
            request_id: request.request_id.clone(),
            at,
            ended: None,
        };
        let mut calls = self.calls.lock();
        if calls.kept.len() == CALLS {
            calls.kept.pop_front();
            calls.first += 1;
        }
        calls.kept.push_back(sent);
        calls.first + calls.kept.len() as u64 - 1
    }

    /// Applies a step to the call of this number.
    pub(super) fn step(&self, number: u64, step: &Step) {
        let answered = match step {
            Step::NotSent => None,
            Step::Answered { .. } => Some(true),
            Step::Lost => Some(false),
            _ => return,
        };
        if let Some(sent) = self.calls.lock().get_mut(number) {
            match answered {
                Some(answered) => sent.ended = Some(End { at: clock::now(), answered }),
                None => sent.window = None,
            }
        }
    }

    /// The calls of a window that may have arrived since `since`, and whether the list is complete.
    pub(super) fn calls(&self, window: &Key, since: Instant) -> (Vec<SentCall>, bool) {
        let (now, wall) = (clock::now(), clock::wall());
        let calls = self.calls.lock();
        let complete = calls.first == 0 || calls.kept.front().is_some_and(|first| first.at < since);
        let arrived =
            |sent: &&Sent| sent.window.as_deref() == Some(window) && sent.ended.is_none_or(|end| end.at >= since);
        let call = |sent: &Sent| SentCall {
            caller: sent.caller.name().to_owned(),
            request_id: Box::from(&*sent.request_id),
            sent_at: clock::rfc3339(wall.checked_sub(now.saturating_duration_since(sent.at)).unwrap_or(wall)),
            answered_after_seconds: sent.ended.filter(|end| end.answered).map(|end| (end.at - sent.at).as_secs_f64()),
        };
        (calls.kept.iter().filter(arrived).map(call).collect(), complete)
    }

    /// When the calls of a window ended that ended since `since`, later for a call without an answer. `None` if not all of
    /// them are known.
    pub(super) fn ends(&self, window: &Key, since: Instant) -> Option<Vec<Instant>> {
        let calls = self.calls.lock();
        let complete = if calls.first == 0 { self.began < since } else { calls.kept.front()?.at < since };
        let ended =
            calls.kept.iter().filter(|sent| sent.window.as_deref() == Some(window)).filter_map(|sent| sent.ended);
        let ends = ended.map(|End { at, answered }| if answered { at } else { at + NO_ANSWER_GRACE });
        complete.then(|| ends.filter(|end| *end >= since).collect())
    }

    /// Adds an incident. Returns its JSON.
    pub(super) fn keep(&self, incident: &Incident) -> String {
        let value = serde_json::to_value(incident).unwrap_or_default();
        let text = value.to_string();
        let mut incidents = self.incidents.lock();
        if incidents.len() == INCIDENTS {
            incidents.pop_front();
        }
        incidents.push_back(value);
        text
    }
}

impl Calls {
    fn get_mut(&mut self, number: u64) -> Option<&mut Sent> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.kept.get_mut(index)
    }
}
