//! The last calls that were sent, kept for a post-mortem in case Zoho reports a lock that the ledger did not expect.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::{Caller, Key, SlotRequest, Step};
use crate::os::clock;

/// How many calls of all windows are kept: some megabytes, and more than a busy gateway sends in a minute.
const CALLS: usize = 16_384;

/// How many incidents are kept; the store keeps the same number.
const INCIDENTS: usize = 32;

/// The last calls of all windows, and the last incidents.
#[derive(Debug, Default)]
pub struct CallHistory {
    calls: Mutex<Calls>,
    incidents: Mutex<VecDeque<serde_json::Value>>,
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
pub(super) struct Incident<'a> {
    /// When the lock was reported, as RFC 3339.
    pub(super) at: String,
    pub(super) account: &'a str,
    pub(super) route: &'a str,
    /// The threshold.
    pub(super) requests: u32,
    pub(super) window_seconds: f64,
    /// How many slots of our own calls were in use.
    pub(super) charged: u32,
    pub(super) locked_for_seconds: f64,
    /// Our own calls of the last window, oldest first.
    pub(super) calls: Vec<SentCall>,
    /// Whether `calls` has all of them; older ones may no longer be kept.
    pub(super) calls_are_complete: bool,
}

/// One of our own calls.
#[derive(Debug, Serialize)]
pub(super) struct SentCall {
    caller: String,
    request_id: Box<str>,
    sent_at: String,
    /// `null` without an answer.
    answered_after_seconds: Option<f64>,
}

impl CallHistory {
    /// Starts with the incidents of earlier processes, oldest first.
    #[must_use]
    pub fn with(incidents: &[String]) -> Self {
        let parsed = incidents.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        Self { calls: Mutex::default(), incidents: Mutex::new(parsed) }
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
            sent_at: rfc3339(wall.checked_sub(now.saturating_duration_since(sent.at)).unwrap_or(wall)),
            answered_after_seconds: sent.ended.filter(|end| end.answered).map(|end| (end.at - sent.at).as_secs_f64()),
        };
        (calls.kept.iter().filter(arrived).map(call).collect(), complete)
    }

    /// Adds an incident. Returns its JSON.
    pub(super) fn keep(&self, incident: &Incident<'_>) -> String {
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

/// A moment as RFC 3339, in milliseconds.
pub(super) fn rfc3339(wall: SystemTime) -> String {
    let rounded = jiff::Timestamp::try_from(wall).and_then(|at| at.round(jiff::Unit::Millisecond));
    rounded.map_or_else(|_| String::new(), |at| at.to_string())
}
