//! A bucket with a fair queue before it.
//!
//! Only the caller at the head of the queue sleeps until the next slot; the others sleep until they are woken. Whoever
//! leaves the head, served, refused or gone, wakes the next one. A slot is handed out when the store knows of it.

mod queue_guard;
mod state;

use std::{mem, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};

use self::{
    queue_guard::{Entered, Look, QueueGuard},
    state::State,
};
use super::{
    Caller, LimiterContext, Limits, Permit, Quota, SlotRequest, Urgency, Window,
    call_history::{Incident, rfc3339},
    daily::Daily,
    journal::{Recorded, Unrecorded},
    queue_capacity::Limit,
    sync::{Mutex, sleep_until},
    waiter_signal::WaiterSignal,
    window::Grant,
};
use crate::{
    ledger::store::{Key, Row},
    os::clock,
    zoho::catalogue::Threshold,
};

/// The queue and the slots of one account and route.
#[derive(Debug)]
pub struct RouteLimiter {
    key: Arc<Key>,
    state: Mutex<State>,
    context: LimiterContext,
    /// Tells permits that are held, but not yet used, of a lock.
    locked: Notify,
}

/// The caller was not given a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// None comes free within its wait; the earliest could be in `retry_after`.
    Saturated {
        /// Until a call could succeed.
        retry_after: Duration,
        /// It is the account's daily limit that has no room.
        daily: bool,
    },
    /// The call is locked for longer than its wait.
    Locked {
        /// Until the lock ends.
        retry_after: Duration,
    },
    /// As many wait as may.
    Full {
        /// Until a call could succeed.
        retry_after: Duration,
        /// What there is too much of.
        limit: Limit,
    },
    /// The state store cannot be written to, and nothing is sent unrecorded.
    Unrecorded,
    /// The gateway stops, and no slot comes free before its end.
    Closing,
}

/// A lock that an answer told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockHit {
    /// Its end.
    pub until: Instant,
    /// It came while the ledger had free slots, so another client uses the same quota.
    pub external_use: bool,
}

/// What is left of the limits that a call counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Of the route's threshold.
    pub route: Quota,
    /// Of the account's day, where it has a limit.
    pub daily: Option<Quota>,
}

/// How a line stands, for operators.
#[derive(Debug)]
pub struct Standing {
    /// Whose line it is, and of which route.
    pub key: Arc<Key>,
    /// What is left for newcomers.
    pub allowance: Allowance,
    /// Until the lock ends.
    pub locked: Option<Duration>,
    /// How many wait.
    pub waiting: usize,
    /// How long a plain newcomer would wait.
    pub expected: Duration,
    /// How many locks came while the ledger had free slots.
    pub external_use: u64,
}

impl RouteLimiter {
    /// An empty line before this bucket, and before the account's daily one.
    pub(super) fn new(key: Key, window: Window, daily: Option<Arc<Daily>>, context: LimiterContext) -> Arc<Self> {
        let state = Mutex::new(State::new(window, daily));
        let limiter = Arc::new(Self { key: Arc::new(key), state, context, locked: Notify::new() });
        let recorded: Arc<dyn Recorded> = limiter.clone();
        limiter.context.journal.knows(Arc::downgrade(&recorded));
        limiter
    }

    /// A line by itself, forgotten with the process.
    #[must_use]
    pub fn in_memory(threshold: Threshold, limits: Limits) -> Arc<Self> {
        let context = LimiterContext::in_memory(limits);
        Self::new(Key::default(), Window::new(threshold, clock::now()), None, context)
    }

    /// Waits for a slot until the claim's deadline.
    ///
    /// Dropping the future leaves the queue; nothing is spent.
    ///
    /// # Errors
    /// [`Refused`], at once when no slot can come free in time, at the latest at the deadline.
    pub async fn permit(self: &Arc<Self>, request: SlotRequest) -> Result<Permit, Refused> {
        let permit = self.slot(request).await?;
        // The slot is given back where the store does not take it.
        self.context.journal.recorded().await.map_err(|Unrecorded| Refused::Unrecorded)?;
        Ok(permit)
    }

    async fn slot(self: &Arc<Self>, request: SlotRequest) -> Result<Permit, Refused> {
        let deadline = request.deadline;
        let guard = match self.enter(request)? {
            Entered::Served(permit) => return Ok(permit),
            Entered::Waiting(guard) => guard,
        };
        loop {
            // Listening starts before looking, so that no wake-up falls between the two.
            let woken = guard.listen();
            let until = match guard.look()? {
                Look::Served(permit) => return Ok(permit),
                Look::Wait { until } => until.map_or(deadline, |until| until.min(deadline)),
            };
            tokio::select! {
                () = woken => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Nobody waits beyond this moment any more: the gateway stops then. Those who cannot be served before hear so at once,
    /// or as soon as it shows.
    pub fn close(self: &Arc<Self>, at: Instant) {
        let now = clock::now();
        let mut state = self.state.lock();
        state.close(at, now);
        state.wake_head();
    }

    /// What is left for newcomers. Whoever waits comes first, so then nothing is left of the route's threshold.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        self.state.lock().allowance(clock::now())
    }

    /// What would become of this claim if it came now: how long it would wait, and why it would be refused, if it would.
    ///
    /// Asks the same questions in the same order as [`permit`](Self::permit), and changes nothing.
    pub fn verdict(&self, request: &SlotRequest) -> (Duration, Result<(), Refused>) {
        let now = clock::now();
        let mut state = self.state.lock();
        let expected = state.expected(&request.caller, request.urgency, now).saturating_duration_since(now);
        let judged = if self.context.journal.is_failing() {
            Err(Refused::Unrecorded)
        } else if state.queue.is_empty() && state.has_room(now) {
            return (Duration::ZERO, Ok(()));
        } else {
            state
                .admits(request, now)
                .and_then(|()| self.context.room.admits(request).map_err(|limit| state.full(request, now, limit)))
        };
        (expected, judged)
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let now = clock::now();
        let mut state = self.state.lock();
        Standing {
            key: Arc::clone(&self.key),
            allowance: state.allowance(now),
            locked: state.window.locked_until(now).map(|until| until.saturating_duration_since(now)),
            waiting: state.queue.len(),
            expected: state.expected(&Caller::anonymous(), Urgency::default(), now).saturating_duration_since(now),
            external_use: state.external_use,
        }
    }

    fn enter(self: &Arc<Self>, request: SlotRequest) -> Result<Entered, Refused> {
        if self.context.journal.is_failing() {
            return Err(Refused::Unrecorded);
        }
        let now = clock::now();
        let mut state = self.state.lock();
        if state.queue.is_empty()
            && let Ok(grant) = state.take(now)
        {
            self.note(&mut state);
            return Ok(Entered::Served(Permit::new(Arc::clone(self), grant, request)));
        }
        state.admits(&request, now)?;
        let signal = Arc::new(WaiterSignal::default());
        let admission =
            self.context.room.enter(&request, &signal, now).map_err(|limit| state.full(&request, now, limit))?;
        let ticket = state.join(&request, Arc::clone(&signal), now);
        Ok(Entered::Waiting(QueueGuard::new(Arc::clone(self), ticket, signal, request, admission)))
    }

    /// Has the store told of a change, once until it has taken it.
    fn note(self: &Arc<Self>, state: &mut State) {
        if !mem::replace(&mut state.noted, true) {
            self.context.journal.changed(self.clone());
        }
    }
}

/// For permits.
impl RouteLimiter {
    pub(super) fn context(&self) -> &LimiterContext {
        &self.context
    }

    pub(super) fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// Changes the bucket, and the account's daily one in the same way, and wakes the head of the queue, for which
    /// something may have come free.
    pub(super) fn change(self: &Arc<Self>, change: impl Fn(&mut Window, Instant)) {
        let mut state = self.state.lock();
        state.change(clock::now(), change);
        state.wake_head();
        self.note(&mut state);
    }

    /// The same for a change for the worse: who can no longer be served in time is to hear so at once.
    pub(super) fn worsen(self: &Arc<Self>, change: impl Fn(&mut Window, Instant)) {
        let mut state = self.state.lock();
        let now = clock::now();
        state.change(now, change);
        state.review(now);
        state.wake_head();
        self.note(&mut state);
    }

    /// Locks the bucket. `None` when the lock has no length.
    pub(super) fn lock(self: &Arc<Self>, retry_after: Option<Duration>) -> Option<LockHit> {
        let now = clock::now();
        let (hit, quota) = {
            let mut state = self.state.lock();
            let external_use = state.window.shows_room(now);
            let quota = state.window.quota(now);
            let until = state.window.locked(now, retry_after)?;
            state.external_use += u64::from(external_use);
            state.review(now);
            state.wake_head();
            self.note(&mut state);
            (LockHit { until, external_use }, quota)
        };
        // A process that ends now must not leave a successor that knows nothing of the lock.
        self.context.journal.hurry();
        self.locked.notify_waiters();
        if hit.external_use {
            self.report(hit.until, quota, now);
        }
        Some(hit)
    }

    /// The end of a lock that came after this slot was taken.
    pub(super) fn overtaken(&self, grant: Grant) -> Option<Instant> {
        self.state.lock().window.overtaken(grant)
    }

    /// Resolves when such a lock comes.
    pub(super) async fn overtaking(&self, grant: Grant) -> Instant {
        loop {
            let mut locked = std::pin::pin!(self.locked.notified());
            // Listening starts before looking, so that no lock falls between the two.
            locked.as_mut().enable();
            if let Some(until) = self.overtaken(grant) {
                return until;
            }
            locked.await;
        }
    }

    /// Keeps the record of the last window for a post-mortem.
    fn report(&self, until: Instant, quota: Quota, now: Instant) {
        let since = now.checked_sub(quota.window).unwrap_or(now);
        let (calls, calls_are_complete) = self.context.history.calls(&self.key, since);
        let text = self.context.history.keep(&Incident {
            at: rfc3339(clock::wall()),
            account: &self.key.account,
            route: &self.key.meter,
            requests: quota.requests.get(),
            window_seconds: quota.window.as_secs_f64(),
            charged: quota.requests.get() - quota.remaining,
            locked_for_seconds: until.saturating_duration_since(now).as_secs_f64(),
            calls,
            calls_are_complete,
        });
        self.context.journal.keep_incident(text);
    }
}

impl Recorded for RouteLimiter {
    fn record(&self) -> (Key, Row) {
        let mut state = self.state.lock();
        state.noted = false;
        ((*self.key).clone(), state.window.row(clock::now()))
    }
}
