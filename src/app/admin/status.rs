//! `/status`: the state of every limiter, the ledgers that gateways share, and locks that point to external use.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ledger::{CallSelector, Health, LimiterStatus, Limiters, Pause, Quota, SharedStatus, WaitReason},
    os::{clock, shutdown::Shutdown},
};

/// How long the page waits for the server of a shared ledger.
const SERVER_WAIT: Duration = Duration::from_millis(500);

/// The whole page. Spans count from `at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusPage {
    /// The moment of the page, as RFC 3339.
    pub at: String,
    /// The state of the store in a few words; `ok` if it is good.
    pub state: String,
    /// Whether new calls are refused, because the gateway ends or an operator drains it.
    #[serde(default)]
    pub draining: bool,
    /// How many requests are in flight.
    #[serde(default)]
    pub in_flight: usize,
    /// What operators have paused.
    #[serde(default)]
    pub paused: Vec<PausedCalls>,
    /// How many calls wait.
    pub waiting: usize,
    /// Each limiter.
    pub buckets: Vec<Bucket>,
    /// The last incidents.
    pub incidents: Vec<Value>,
    /// Each ledger that is shared with other gateways.
    pub shared: Vec<SharedStatus>,
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
    /// How many calls wait.
    pub waiting: usize,
    /// How many turns are kept for calls that were refused.
    #[serde(default)]
    pub booked: usize,
    /// Who waits.
    pub callers: Vec<WaitingCaller>,
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
    /// What is left of it.
    pub remaining: u32,
    /// When a slot comes free.
    pub next_slot_in_seconds: Option<f64>,
}

/// The waiting calls of a caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitingCaller {
    /// Its name.
    pub caller: String,
    /// How many of its calls wait.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub waited_seconds: f64,
}

/// The waiting call that goes next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextCall {
    /// When it goes, as far as that can be known.
    pub in_seconds: f64,
    /// What it waits for.
    pub waits_for: WaitReason,
}

/// The page of this gateway, at once, and what other gateways share with it as far as the server says it in time.
pub(super) async fn status(limiters: &Limiters, shutdown: &Shutdown) -> StatusPage {
    let context = limiters.context();
    let shared = context.backend.shared_status(clock::now() + SERVER_WAIT).await;
    let at = jiff::Timestamp::try_from(clock::wall()).and_then(|at| at.round(jiff::Unit::Millisecond));
    StatusPage {
        at: at.map_or_else(|_| String::new(), |at| at.to_string()),
        state: state(&context.backend.health()),
        draining: shutdown.refuses_work(),
        in_flight: shutdown.requests(),
        paused: limiters.pauses().into_iter().map(PausedCalls::from).collect(),
        waiting: context.capacity.waiting(),
        buckets: limiters.status().into_iter().map(Bucket::from).collect(),
        incidents: context.history.incidents(),
        shared,
    }
}

/// The state of the store in a few words; `ok` if it is good.
pub(super) fn state(health: &Health) -> String {
    match health {
        Health::Good => "ok".to_owned(),
        Health::InMemory => "in memory".to_owned(),
        Health::Failing(reason) => format!("state-unavailable: {reason}"),
    }
}

impl From<Pause> for PausedCalls {
    fn from(Pause { selector: CallSelector { caller, account, route, .. }, until }: Pause) -> Self {
        let left = until.map(|until| until.saturating_duration_since(clock::now()).as_secs_f64());
        Self { caller, account, route: route.map(|route| route.to_string()), for_seconds: left }
    }
}

impl From<LimiterStatus> for Bucket {
    fn from(status: LimiterStatus) -> Self {
        let LimiterStatus { key, allowance, locked, waiting, booked, callers, next_call, expected, external_locks } =
            status;
        let caller = |(caller, waiting, waited): (String, usize, Duration)| WaitingCaller {
            caller,
            waiting,
            waited_seconds: waited.as_secs_f64(),
        };
        Self {
            account: key.account.clone(),
            route: key.limit.clone(),
            threshold: Remaining::of(&allowance.route),
            daily: allowance.daily.as_ref().map(Remaining::of),
            locked_for_seconds: locked.map(|locked| locked.as_secs_f64()),
            waiting,
            booked,
            callers: callers.into_iter().map(caller).collect(),
            next_call: next_call.map(|(after, waits_for)| NextCall { in_seconds: after.as_secs_f64(), waits_for }),
            expected_wait_seconds: expected.as_secs_f64(),
            external_use: external_locks,
        }
    }
}

impl Remaining {
    fn of(quota: &Quota) -> Self {
        Self {
            requests: quota.requests.get(),
            window_seconds: quota.window.as_secs_f64(),
            remaining: quota.remaining,
            next_slot_in_seconds: quota.reset.map(|reset| reset.as_secs_f64()),
        }
    }
}
