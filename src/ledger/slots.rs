//! The port between the upper part of the ledger (queue, fairness, forecast), which belongs to this process, and the
//! lower part, which counts slots and records them.

use std::{
    fmt::Debug,
    future::{Future, ready},
    pin::Pin,
    sync::Weak,
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::Notify, time::Instant};

use super::{
    Caller, Key, LockHit, Quota, SharedStatus, Step,
    forecast::Forecast,
    window::{Denied, Grant},
};
use crate::zoho::catalogue::Threshold;

/// The window of daily limits, and the longest of all. Zoho does not say when its day begins, so any span of this
/// length counts.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One limit that a call counts against.
#[derive(Debug, Clone)]
pub struct LimitSpec {
    /// Its name.
    pub key: Key,
    /// Its number of calls and its window.
    pub threshold: Threshold,
    /// Whether calls of other routes also count against it.
    pub shared: bool,
    /// How many calls count as sent after a lost store.
    pub after_loss: AfterLoss,
}

/// How much of a limit counts as used when the calls before this process are unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLoss {
    /// All of it.
    All,
    /// All but one call, for limits where waiting for a whole window costs more than one call too many.
    AllButOne,
}

/// Creates the [`Slots`] of each route.
pub trait Backend: Debug + Send + Sync {
    /// The slots of calls that count against all these limits. `own` has the route's locks and its pace. A shared limit
    /// is one window for all routes that name it. `callers` have a `max_share` or a reserve of so many slots; the slots of
    /// several processes keep to that themselves.
    /// `calls` are those that wait for these slots.
    fn slots(
        &self,
        own: LimitSpec,
        wider: Vec<LimitSpec>,
        callers: &[(Caller, u32)],
        calls: Weak<dyn WaitingCalls>,
    ) -> Box<dyn Slots>;

    /// The limits that an earlier process recorded and that are not in use yet.
    fn left(&self) -> Vec<Key>;

    /// Stores an incident for a post-mortem.
    fn keep_incident(&self, report: String);

    /// Whether records can be written.
    fn health(&self) -> Health;

    /// What processes share, for operators: for each account in use what is known at the deadline. None if nothing is
    /// shared.
    fn shared_status(&self, _deadline: Instant) -> SharedRecords<'_> {
        Box::pin(ready(Vec::new()))
    }

    /// Tells other processes that this one ends. No call may be in flight any more.
    fn close(&self) -> Recorded<'_> {
        Box::pin(ready(Ok(())))
    }
}

/// The calls that wait at one limiter, as other processes have to know them.
pub trait WaitingCalls: Debug + Send + Sync {
    /// By caller, who waits and who used slots in the last window. `None`: calls that had a slot before.
    fn waiting_calls(&self, now: Instant) -> Vec<(Option<Caller>, Wish)>;

    /// Wakes the first of them, because a slot may have come free.
    fn wake(&self);
}

/// What one caller waits for and uses in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Wish {
    /// Its share relative to others.
    pub weight: u32,
    /// How many of its calls wait.
    pub waiting: u32,
    /// The urgency of the one that goes first, 0 to 7, and one step less for each time of ageing that it has waited.
    pub urgency: u8,
    /// How long that one has waited, in milliseconds.
    pub waited: u64,
    /// How many slots it uses.
    pub using: u32,
}

/// Counts the calls of one route against all of its limits.
///
/// Taking a slot has two parts, so that many calls share one commit: [`take`](Self::take) decides, and the slot may be
/// used when [`recorded`](Self::recorded), called after it, resolves.
pub trait Slots: Debug + Send + Sync {
    /// Takes a slot of each limit, or none. `None` has had a slot before, so no limit of its caller counts.
    ///
    /// # Errors
    /// [`Denied`] says when to try again.
    fn take(&self, caller: Option<&Caller>, now: Instant) -> Result<Grant, Denied>;

    /// Resolves when each slot taken so far is recorded.
    ///
    /// # Errors
    /// [`Unrecorded`] if the record cannot be written.
    fn recorded(&self) -> Recorded<'_>;

    /// Applies a step of the attempt that has this grant; never waits.
    fn note(&self, grant: Grant, step: &Step, now: Instant);

    /// Changes the thresholds of the limits that these slots were made with, in the same order. The calls of the last window
    /// of `own` ended at the moments of `past`, if these are known.
    fn change(&self, own: &LimitSpec, wider: &[LimitSpec], past: Option<&[Instant]>, now: Instant);

    /// The callers that have a `max_share` or a reserve of so many slots, and the route's threshold. A limiter keeps to both
    /// itself if no other process uses these slots.
    fn change_callers(&self, _threshold: Threshold, _callers: &[(Caller, u32)], _now: Instant) {}

    /// Records that Zoho has locked the route, for at least `retry_after`. `None` when the lock has no length.
    fn lock(&self, retry_after: Option<Duration>, now: Instant) -> Option<LockHit>;

    /// Ends a lock although Zoho may still hold it; one call goes alone next. Returns whether there was one.
    fn lift_lock(&self, now: Instant) -> bool;

    /// Notifies all waiting tasks of each new lock and threshold.
    fn locks(&self) -> &Notify;

    /// The end of a lock that came after this grant and during which it must not be used. If the threshold has become
    /// smaller and too many slots are in use, the present moment: the call has to take a slot again.
    fn held_back(&self, grant: Grant) -> Option<Instant>;

    /// Whether other processes use slots of these limits too.
    fn are_shared(&self) -> bool {
        false
    }

    /// How long asking other processes for a slot takes at most: a call waits that long even if it does not want to.
    fn asking_takes(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether it is certain that a record cannot be written now.
    fn is_failing(&self) -> bool;

    /// Whether [`take`](Self::take) would succeed now, regardless of the pace.
    fn can_take(&self, now: Instant) -> bool;

    /// What is left of the limits.
    fn allowance(&self, now: Instant) -> Allowance;

    /// When slots come free.
    fn outlook(&self, now: Instant) -> Outlook;
}

/// The future of [`Slots::recorded`].
pub type Recorded<'a> = Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send + 'a>>;

/// The future of [`Backend::shared_status`].
pub type SharedRecords<'a> = Pin<Box<dyn Future<Output = Vec<SharedStatus>> + Send + 'a>>;

/// The state store cannot be written to, so no call may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecorded;

/// Whether the store can be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// There is no store.
    InMemory,
    /// The last write succeeded.
    Good,
    /// The store cannot be written to, for this reason.
    Failing(String),
}

/// What is left of the limits that a call counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Of the route's own limits, the tightest one.
    pub route: Quota,
    /// Of the account's daily limit, if it has one.
    pub daily: Option<Quota>,
}

/// When a route's slots come free.
#[derive(Debug)]
pub struct Outlook {
    /// The moment of this outlook.
    pub(super) now: Instant,
    /// The forecast of each limit, and whether other routes share it.
    pub(super) forecasts: Vec<(Forecast, bool)>,
    /// The end of a lock.
    pub(super) locked_until: Option<Instant>,
    /// Whether the next slot depends on a call in flight, so that its moment is unknown.
    pub(super) unanswered: bool,
    /// Whether no slot can be used because the state that processes share cannot be reached.
    pub(super) unreachable: bool,
    /// How many calls of other processes go before each one here, at most.
    pub(super) others: usize,
    /// When the limits of single callers have slots. `None`: the limiter itself keeps to reserves and to each `max_share`.
    pub(super) callers: Option<CallerForecasts>,
}

/// The forecasts of limits that not all calls count against.
#[derive(Debug, Default)]
pub(super) struct CallerForecasts {
    /// Of the slots that no reserve keeps.
    pub(super) unreserved: Option<Forecast>,
    pub(super) callers: Vec<(Caller, CallerForecast)>,
}

/// The forecasts of one caller's limits.
#[derive(Debug)]
pub(super) struct CallerForecast {
    pub(super) max_share: Option<Forecast>,
    pub(super) reserve: Option<Forecast>,
}

/// How many slots the calls before one take: all of its caller, those of them in its reserve, and those of all callers
/// outside reserves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TakenBefore {
    pub(super) own: usize,
    pub(super) reserved: usize,
    pub(super) unreserved: usize,
}

impl CallerForecasts {
    /// When the limits of this caller have a slot for its next call, and whether that one is in its reserve.
    pub(super) fn at(&self, caller: &Caller, taken: TakenBefore, now: Instant) -> (Instant, bool) {
        let own = self.of(caller);
        let at = |forecast: Option<&Forecast>, ahead| forecast.map(|forecast| forecast.at(ahead));
        let share = at(own.and_then(|own| own.max_share.as_ref()), taken.own).unwrap_or(now);
        let unreserved = at(self.unreserved.as_ref(), taken.unreserved).unwrap_or(now);
        let reserved = self.reserved_at(caller, taken.reserved);
        let is_reserved = reserved.is_some_and(|reserved| reserved <= unreserved);
        (share.max(reserved.map_or(unreserved, |reserved| reserved.min(unreserved))), is_reserved)
    }

    /// When this caller's reserve has a slot after so many others. `None`: it has no reserve.
    pub(super) fn reserved_at(&self, caller: &Caller, ahead: usize) -> Option<Instant> {
        Some(self.of(caller)?.reserve.as_ref()?.at(ahead))
    }

    fn of(&self, caller: &Caller) -> Option<&CallerForecast> {
        self.callers.iter().find(|(other, _)| other == caller).map(|(_, own)| own)
    }
}

impl Outlook {
    /// When a call with `ahead` others before it is served, and whether it waits for a shared limit.
    pub(super) fn at(&self, ahead: usize) -> (Instant, bool) {
        self.at_before_others(ahead + self.others.min(ahead + 1))
    }

    /// The same if no call of other processes goes before it.
    pub(super) fn at_before_others(&self, ahead: usize) -> (Instant, bool) {
        let latest = |of_shared| {
            let forecasts = self.forecasts.iter().filter(|(_, shared)| *shared == of_shared);
            forecasts.map(|(forecast, _)| forecast.at(ahead)).max()
        };
        let own = latest(false).unwrap_or(self.now);
        latest(true).filter(|shared| *shared > own).map_or((own, false), |shared| (shared, true))
    }
}

impl Outlook {
    /// How many slots the tightest of the route's own limits has.
    pub(super) fn requests(&self) -> usize {
        let own = self.forecasts.iter().filter(|(_, shared)| !shared);
        own.map(|(forecast, _)| forecast.requests as usize).min().unwrap_or(1)
    }

    /// When the call after `ahead` others finds the slot of one of them free again, if those take theirs at these moments.
    pub(super) fn again(&self, ahead: usize, taken: &[Instant]) -> Option<Instant> {
        let again = |forecast: &Forecast| {
            Some(*taken.get(ahead.checked_sub(forecast.requests as usize)?)? + forecast.generation)
        };
        self.forecasts.iter().filter_map(|(forecast, _)| again(forecast)).max()
    }
}

impl LimitSpec {
    /// A limit of a single route.
    #[must_use]
    pub fn own(key: Key, threshold: Threshold) -> Self {
        Self { key, threshold, shared: false, after_loss: AfterLoss::All }
    }
}
