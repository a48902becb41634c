//! The form of `/status`. It is stable: members are added, and none changes its meaning or goes away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    app::admin::reload::ReloadReport,
    ledger::{LockCause, SentCall, SharedStatus, WaitReason},
    middleware::token::TokenStatus,
    telemetry::RecentRefusal,
};

/// The whole page. Spans count from `at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusPage {
    /// The moment of the page, as RFC 3339.
    pub at: String,
    /// The process.
    pub gateway: GatewayStatus,
    /// Whether `/readyz` answers 200.
    pub ready: bool,
    /// Its checks by name.
    pub checks: BTreeMap<String, String>,
    /// The state of the store in a few words; `ok` if it is good.
    pub state: String,
    /// How many calls wait.
    pub waiting: usize,
    /// Each limiter.
    pub buckets: Vec<Bucket>,
    /// Each account and its token.
    pub accounts: Vec<AccountStatus>,
    /// Each caller.
    pub callers: Vec<CallerStatus>,
    /// The jobs, if the gateway keeps any.
    pub jobs: Option<JobsStatus>,
    /// What operators have paused.
    #[serde(default)]
    pub paused: Vec<PausedCalls>,
    /// The last answers that the gateway made instead of Zoho, newest first.
    pub refusals: Vec<RecentRefusal>,
    /// The last lock that Zoho reported to this process.
    pub last_lock: Option<PostMortem>,
    /// The last locks that came while the ledger had free slots, with our own calls before them.
    pub incidents: Vec<Value>,
    /// Each ledger that is shared with other gateways.
    pub shared: Vec<SharedStatus>,
    /// How the last reload of the configuration ended, if there was one.
    #[serde(default)]
    pub reload: Option<ReloadReport>,
}

/// Calls that an operator has paused: those to which everything applies that is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PausedCalls {
    /// Their caller.
    pub caller: Option<String>,
    /// Their account.
    pub account: Option<String>,
    /// Their route, in which a star matches any characters.
    pub route: Option<String>,
    /// Until the pause ends by itself.
    pub for_seconds: Option<f64>,
}

/// The process that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// The version of the program.
    pub version: String,
    /// The commit from which it was built, if that is known.
    pub commit: Option<String>,
    /// The host and the process, as other gateways of a shared ledger show it.
    pub name: String,
    /// The number of the process.
    pub process: u32,
    /// Its uptime.
    pub started_seconds_ago: f64,
    /// Whether new calls are refused, because it ends or an operator drains it.
    pub draining: bool,
    /// How many requests are in flight.
    pub in_flight: usize,
}

/// The limiter of an account and route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// The account.
    pub account: String,
    /// The route.
    pub route: String,
    /// What is left of the route's threshold.
    pub threshold: Remaining,
    /// What is left of the account's daily limit, if it has one.
    pub daily: Option<Remaining>,
    /// Until the lock ends.
    pub locked_for_seconds: Option<f64>,
    /// The lock and its cause.
    pub lock: Option<LockStatus>,
    /// How many calls wait.
    pub waiting: usize,
    /// How many turns are kept for calls that were refused.
    pub booked: usize,
    /// Who waits. Calls that go a second time after a lock are not among them.
    pub callers: Vec<WaitingCaller>,
    /// For whom turns are kept.
    pub bookings: Vec<Booking>,
    /// The first of the waiting calls.
    pub next_call: Option<NextCall>,
    /// How long a new call would wait.
    pub expected_wait_seconds: f64,
    /// How many locks came while the ledger had free slots.
    pub external_use: u64,
}

/// What is left of a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remaining {
    /// The whole limit.
    pub requests: u32,
    /// Its window.
    pub window_seconds: f64,
    /// How many slots are in use; during a lock, all of them.
    pub used: u32,
    /// What is left of it for new calls: nothing while others wait.
    pub remaining: u32,
    /// When a slot comes free.
    pub next_slot_in_seconds: Option<f64>,
}

/// A lock of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LockStatus {
    /// When it ends.
    pub ends_in_seconds: f64,
    /// When Zoho reported it to this process.
    pub began_seconds_ago: Option<f64>,
    /// What the ledger says about its cause.
    pub cause: LockCause,
    /// How many slots our own calls used then.
    pub used: Option<u32>,
    /// The threshold then.
    pub requests: Option<u32>,
    /// The cause in words.
    pub explanation: String,
}

/// The waiting calls of a caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitingCaller {
    /// Its name.
    pub caller: String,
    /// How many of its calls wait.
    pub waiting: usize,
    /// How long the one that goes first has waited.
    pub waited_seconds: f64,
    /// When that one goes, as far as that can be known.
    pub first_in_seconds: Option<f64>,
    /// When the last of them goes, as far as that can be known.
    pub last_in_seconds: Option<f64>,
    /// The request ids of those that go first, ten at most; `zoho-gateway cancel --request-id` ends one.
    #[serde(default)]
    pub request_ids: Vec<String>,
}

/// The turns that are kept for a caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Booking {
    /// Its name.
    pub caller: String,
    /// How many.
    pub booked: usize,
    /// When the first of them comes.
    pub first_in_seconds: f64,
}

/// The waiting call that goes next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextCall {
    /// When it goes, as far as that can be known.
    pub in_seconds: f64,
    /// What it waits for.
    pub waits_for: WaitReason,
}

/// An account and its token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// Its name.
    pub account: String,
    /// Its data centre.
    pub data_center: String,
    /// The part of its limits that this gateway uses.
    pub share: String,
    /// Its token.
    pub token: TokenStatus,
}

/// A caller, over all routes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallerStatus {
    /// Its name.
    pub caller: String,
    /// How many of its calls wait.
    pub waiting: usize,
    /// The longest time that the first call of a queue has waited.
    pub waited_seconds: Option<f64>,
    /// How many turns are kept for it.
    pub booked: usize,
}

/// The jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobsStatus {
    /// How many jobs each state has.
    pub states: BTreeMap<String, usize>,
    /// Why no job can be accepted, if that is so.
    pub failure: Option<String>,
}

/// A lock and our own calls before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostMortem {
    /// The account.
    pub account: String,
    /// The route.
    pub route: String,
    /// When Zoho reported it.
    pub seconds_ago: f64,
    /// The length of the lock.
    pub lasts_seconds: f64,
    /// What the ledger says about its cause.
    pub cause: LockCause,
    /// How many slots our own calls used then.
    pub used: u32,
    /// The threshold.
    pub requests: u32,
    /// Its window.
    pub window_seconds: f64,
    /// By caller, how many of these calls it made.
    pub by_caller: Vec<CallersCalls>,
    /// Our own calls that Zoho can have counted, oldest first.
    pub calls: Vec<SentCall>,
    /// Whether `calls` has all of them; older ones may no longer be kept.
    pub calls_are_complete: bool,
    /// The cause in words.
    pub explanation: String,
}

/// How many calls a caller made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallersCalls {
    /// Its name.
    pub caller: String,
    /// How many.
    pub calls: usize,
}

impl CallerStatus {
    pub(super) fn named(caller: &str) -> Self {
        Self { caller: caller.to_owned(), waiting: 0, waited_seconds: None, booked: 0 }
    }

    pub(super) fn add(&mut self, one: &WaitingCaller) {
        self.waiting += one.waiting;
        let waited = self.waited_seconds.unwrap_or_default();
        self.waited_seconds = Some(waited.max(one.waited_seconds));
    }
}

/// Why a route is locked, and whose fault that is.
pub(super) fn explanation(cause: LockCause, sent: Option<(u32, u32)>) -> String {
    let sent = sent.map(|(used, requests)| format!("Zoho refused a call while we had sent {used} of {requests}"));
    match (cause, sent) {
        (LockCause::ExternalUse, Some(sent)) => format!("{sent}, so another program uses this login"),
        (LockCause::ThresholdUsedUp, Some(sent)) => {
            format!("{sent}, so Zoho allows fewer calls than that, or another program uses this login too")
        }
        (LockCause::NotKnown, Some(sent)) => {
            format!("{sent}, and calls of other gateways of the shared ledger count too")
        }
        (_, None) => {
            "an earlier process or another gateway met the lock, so what was sent before is not known".to_owned()
        }
    }
}
