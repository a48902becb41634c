//! The lower part of the ledger for one process: windows in memory, and a copy of them in the store.
//!
//! Memory decides while the process lives. The store tells the next process what was sent.

mod journal;
mod recorded_window;
mod recovered;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use self::recorded_window::{RecordedWindow, WindowState};
pub use self::{journal::Journal, recovered::Recovered};
use super::{
    Backend, Caller, Health, Key, LimitSpec, LockHit, Slots, Step,
    slots::{Allowance, Outlook, Recorded, WaitingCalls},
    window::{Denied, Grant},
};
use crate::os::clock;

/// How often a limit that other routes share is looked at again: they cannot wake this route's callers.
const SHARED_AGAIN: Duration = Duration::from_secs(1);

/// The backend for one process: windows in memory, with a copy in the store.
#[derive(Debug)]
pub struct RecordedBackend {
    recovered: Arc<Recovered>,
    journal: Journal,
    /// The limits that several routes share.
    shared: Mutex<HashMap<Key, Arc<RecordedWindow>>>,
}

impl RecordedBackend {
    /// Windows start where earlier processes left them, and are recorded in this journal.
    #[must_use]
    pub fn new(recovered: Arc<Recovered>, journal: Journal) -> Self {
        Self { recovered, journal, shared: Mutex::default() }
    }

    /// A backend that is forgotten with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Arc::new(Recovered::none()), Journal::in_memory())
    }

    fn window(&self, limit: &LimitSpec, keeps_locks: bool) -> Arc<RecordedWindow> {
        let now = clock::now();
        let mut window = self.recovered.window(limit, now);
        if !keeps_locks {
            // After calls without an answer, or a loss, one call goes alone. The route's own limit ensures that; this
            // limit would never get the result of that call.
            window.forget_lock();
        }
        let window = RecordedWindow::new(limit.key.clone(), limit.shared, window);
        self.journal.register(Arc::downgrade(&window));
        window
    }
}

impl Backend for RecordedBackend {
    fn slots(
        &self,
        own: LimitSpec,
        wider: Vec<LimitSpec>,
        _callers: &[(Caller, u32)],
        _calls: Weak<dyn WaitingCalls>,
    ) -> Box<dyn Slots> {
        let window = |limit: &LimitSpec| {
            if limit.shared {
                let mut shared = self.shared.lock();
                Arc::clone(shared.entry(limit.key.clone()).or_insert_with(|| self.window(limit, false)))
            } else {
                self.window(limit, false)
            }
        };
        let wider = wider.iter().map(window).collect();
        Box::new(RecordedSlots {
            own: self.window(&own, true),
            wider,
            journal: self.journal.clone(),
            locks: Notify::new(),
        })
    }

    fn left(&self) -> Vec<Key> {
        self.recovered.left().into_iter().map(|(key, _)| key).collect()
    }

    fn keep_incident(&self, report: String) {
        self.journal.keep_incident(report);
    }

    fn health(&self) -> Health {
        self.journal.health()
    }
}

/// The windows that the calls of one route count against. Several are locked in the order of `wider`, and `own` last.
#[derive(Debug)]
struct RecordedSlots {
    /// Keeps the route's locks and its pace.
    own: Arc<RecordedWindow>,
    wider: Box<[Arc<RecordedWindow>]>,
    journal: Journal,
    locks: Notify,
}

impl RecordedSlots {
    fn windows(&self) -> impl Iterator<Item = &Arc<RecordedWindow>> {
        self.wider.iter().chain([&self.own])
    }

    fn changed(&self, window: &Arc<RecordedWindow>, state: &mut WindowState) {
        if state.note_change() {
            self.journal.changed(Arc::clone(window));
        }
    }

    /// Takes a slot in each of these windows and in the route's own, or none in any.
    fn take_all(&self, wider: &[Arc<RecordedWindow>], now: Instant) -> Result<Grant, Denied> {
        let Some((window, rest)) = wider.split_first() else {
            let mut state = self.own.lock();
            let grant = state.window.take(now)?;
            self.changed(&self.own, &mut state);
            return Ok(grant);
        };
        let mut state = window.lock();
        state.window.check(now).map_err(|denied| if window.shared { within_a_second(denied, now) } else { denied })?;
        let grant = self.take_all(rest, now)?;
        // It has a free slot, and it has no pace.
        state.window.take(now)?;
        self.changed(window, &mut state);
        Ok(grant)
    }
}

impl Slots for RecordedSlots {
    fn take(&self, _caller: Option<&Caller>, now: Instant) -> Result<Grant, Denied> {
        self.take_all(&self.wider, now)
    }

    fn recorded(&self) -> Recorded<'_> {
        Box::pin(self.journal.recorded())
    }

    fn note(&self, grant: Grant, step: &Step, now: Instant) {
        for window in self.windows() {
            let mut state = window.lock();
            state.window.apply(grant, step, now);
            self.changed(window, &mut state);
        }
    }

    fn change(&self, own: &LimitSpec, wider: &[LimitSpec], past: Option<&[Instant]>, now: Instant) {
        for (window, limit) in self.wider.iter().zip(wider).chain([(&self.own, own)]) {
            let mut state = window.lock();
            let from = state.window.span();
            state.window.change(limit.threshold, from, now);
            state.window.recount(from, past, now);
            self.changed(window, &mut state);
        }
        self.journal.write_soon();
        self.locks.notify_waiters();
    }

    fn lock(&self, retry_after: Option<Duration>, now: Instant) -> Option<LockHit> {
        // It is external use only if our calls cannot have exceeded any of the route's own limits.
        let external = self.wider.iter().all(|wider| wider.shared || wider.lock().window.has_free_slots(now));
        let hit = {
            let mut state = self.own.lock();
            let external = external && state.window.has_free_slots(now);
            let until = state.window.locked(now, retry_after)?;
            self.changed(&self.own, &mut state);
            LockHit { until, external }
        };
        // If the process ends now, the next one must still know of the lock.
        self.journal.write_soon();
        self.locks.notify_waiters();
        Some(hit)
    }

    fn lift_lock(&self, now: Instant) -> bool {
        let mut state = self.own.lock();
        let lifted = state.window.lift_lock(now);
        self.changed(&self.own, &mut state);
        lifted
    }

    fn locks(&self) -> &Notify {
        &self.locks
    }

    fn held_back(&self, grant: Grant) -> Option<Instant> {
        let now = clock::now();
        let surplus = || self.windows().any(|window| window.lock().window.has_surplus(now)).then_some(now);
        let locked = self.own.lock().window.held_back(grant);
        locked.or_else(surplus)
    }

    fn is_failing(&self) -> bool {
        self.journal.is_failing()
    }

    fn can_take(&self, now: Instant) -> bool {
        self.windows().all(|window| window.lock().window.check(now).is_ok())
    }

    fn allowance(&self, now: Instant) -> Allowance {
        let mut allowance = Allowance { route: self.own.lock().window.quota(now), daily: None };
        for wider in &self.wider {
            let quota = wider.lock().window.quota(now);
            if wider.shared {
                allowance.daily = Some(quota);
            } else if quota.is_tighter_than(&allowance.route) {
                allowance.route = quota;
            }
        }
        allowance
    }

    fn outlook(&self, now: Instant) -> Outlook {
        let forecast = |window: &Arc<RecordedWindow>| window.lock().window.forecast(now);
        let mut wider: Vec<_> = self.wider.iter().map(|wider| (forecast(wider), wider.shared)).collect();
        let mut state = self.own.lock();
        wider.insert(0, (state.window.forecast(now), false));
        let (locked_until, unanswered) = (state.window.locked_until(now), state.window.is_unanswered());
        Outlook { now, forecasts: wider, locked_until, unanswered, unreachable: false, others: 0, callers: None }
    }
}

/// When to check a limit again that calls of other routes may free at any time.
fn within_a_second(denied: Denied, now: Instant) -> Denied {
    let soon = now + SHARED_AGAIN;
    match denied {
        Denied::Until(at) => Denied::Until(at.min(soon)),
        Denied::Unanswered | Denied::ForCaller => Denied::Until(soon),
    }
}
