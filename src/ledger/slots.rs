//! The port between the upper part of the ledger, which belongs to this process (queue, fairness, forecast), and the lower
//! part, which counts slots and records them.

use std::{fmt::Debug, future::Future, pin::Pin, time::Duration};

use tokio::{sync::Notify, time::Instant};

use super::{
    Key, LockHit, Quota, Step,
    forecast::Forecast,
    window::{Denied, Grant},
};
use crate::zoho::catalogue::Threshold;

/// Zoho does not say when its day begins, so any span of this length counts. No limit has a longer window.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// One limit that a call counts against.
#[derive(Debug, Clone)]
pub struct LimitSpec {
    /// Its name.
    pub key: Key,
    /// Its size.
    pub threshold: Threshold,
    /// Whether calls of other routes count against it too.
    pub shared: bool,
    /// What counts as sent after the record of the time before this process was lost.
    pub after_loss: AfterLoss,
}

/// How much of a limit counts as used when nobody knows what was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLoss {
    /// All of it.
    All,
    /// All but one call, where waiting for the whole window costs more than one call too many could.
    AllButOne,
}

/// Where slots come from: it makes the counter of each route's calls.
pub trait Backend: Debug + Send + Sync {
    /// Counts calls that are subject to all these limits. `own` has the route's locks and its pace. A limit that is shared
    /// is the same for all that name it.
    fn slots(&self, own: LimitSpec, wider: Vec<LimitSpec>) -> Box<dyn Slots>;

    /// The limits that an earlier process left a record of, and that nobody has asked for yet.
    fn left(&self) -> Vec<Key>;

    /// Keeps a report for a post-mortem.
    fn keep_incident(&self, report: String);

    /// Whether what has to be recorded is recorded.
    fn health(&self) -> Health;
}

/// Counts the calls of one route against all of its limits.
///
/// A slot is taken in two parts, so that many calls at once share one commit: [`take`](Self::take) decides, and the slot
/// may be used when [`recorded`](Self::recorded), called after it, resolves.
pub trait Slots: Debug + Send + Sync {
    /// Takes a slot of each limit, or none of any.
    ///
    /// # Errors
    /// [`Denied`] says when to ask again.
    fn take(&self, now: Instant) -> Result<Grant, Denied>;

    /// Resolves when every slot that was taken until now outlives this process.
    ///
    /// # Errors
    /// [`Unrecorded`] when they do not.
    fn recorded(&self) -> Recorded<'_>;

    /// Takes in a step of the attempt that has this grant; never waits.
    fn note(&self, grant: Grant, step: &Step, now: Instant);

    /// Takes in that Zoho has locked the route, for at least as long as `retry_after`. `None` when the lock has no length.
    fn lock(&self, retry_after: Option<Duration>, now: Instant) -> Option<LockHit>;

    /// Wakes those who listen when a lock came, wherever it was seen.
    fn locks(&self) -> &Notify;

    /// Whether this grant may not be used any more because a lock came after it: the lock's end.
    fn held_back(&self, grant: Grant) -> Option<Instant>;

    /// Whether it is certain that nothing can be recorded now.
    fn is_failing(&self) -> bool;

    /// Whether [`take`](Self::take) would take now, the pace left aside.
    fn has_room(&self, now: Instant) -> bool;

    /// What is left of the limits.
    fn allowance(&self, now: Instant) -> Allowance;

    /// When slots come free.
    fn outlook(&self, now: Instant) -> Outlook;
}

/// A future of [`Slots::recorded`].
pub type Recorded<'a> = Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send + 'a>>;

/// The state store cannot be written to, so nothing may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecorded;

/// How the store is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// There is none: this ledger is meant to be forgotten.
    InMemory,
    /// What has to be durable is.
    Good,
    /// It cannot be written to, for this reason.
    Failing(String),
}

/// What is left of the limits that a call counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Of the route's own limit: the tightest where it has several.
    pub route: Quota,
    /// Of the account's day, where it has a limit.
    pub daily: Option<Quota>,
}

/// The future of a route's slots.
#[derive(Debug)]
pub struct Outlook {
    /// When this was asked.
    pub(super) now: Instant,
    /// Of each limit, and whether other routes share it.
    pub(super) forecasts: Vec<(Forecast, bool)>,
    /// The end of a lock.
    pub(super) locked_until: Option<Instant>,
    /// The next slot depends on a call in flight, and nobody knows how long that takes.
    pub(super) unanswered: bool,
}

impl Outlook {
    /// When a caller is served that has `ahead` others before it, and whether it waits for a limit that is shared.
    pub(super) fn at(&self, ahead: usize) -> (Instant, bool) {
        let latest = |of_shared| {
            let forecasts = self.forecasts.iter().filter(|(_, shared)| *shared == of_shared);
            forecasts.map(|(forecast, _)| forecast.at(ahead)).max()
        };
        let own = latest(false).unwrap_or(self.now);
        latest(true).filter(|shared| *shared > own).map_or((own, false), |shared| (shared, true))
    }
}

impl LimitSpec {
    /// A limit of one route alone.
    #[must_use]
    pub fn own(key: Key, threshold: Threshold) -> Self {
        Self { key, threshold, shared: false, after_loss: AfterLoss::All }
    }
}
