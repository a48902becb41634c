//! The upper part of the ledger: a fair queue in front of the slots of one account and route.
//!
//! [`schedule`] has the rule by which slots are handed out. Only the call that is next sleeps until it may go; the others
//! sleep until they are woken. A call that leaves the queue, for any reason, wakes the next one. A slot is handed out once
//! it is recorded.

mod attempt;
mod bookings;
#[cfg(test)]
mod bookings_tests;
mod entry;
#[cfg(test)]
mod fairness_simulation;
mod last_lock;
#[cfg(test)]
mod pace_tests;
mod queue_guard;
mod recent_use;
mod schedule;
mod state;
#[cfg(test)]
mod trial;
mod without_place;

use std::{
    ops::ControlFlow,
    sync::{Arc, Weak},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use self::{
    attempt::{Attempt, Unlimited},
    last_lock::LastLock,
    state::{CallerBookings, CallerQueue},
    without_place::WaitingWithoutPlace,
};
use self::{queue_guard::QueueGuard, recent_use::RecentUse, state::LimiterState};
use super::{
    Allowance, CallSelector, Caller, Key, LimitSpec, LimiterContext, LockHit, Observer, SlotRequest, Slots, Step,
    queue_capacity::Limit,
    slots::{Unrecorded, WaitingCalls, Wish},
    sync::{Mutex, sleep_until},
    waiter_signal::WaiterSignal,
    window::Grant,
};
use crate::{os::clock, zoho::catalogue::Threshold};

/// Hands out the slots of one account and route.
#[derive(Debug)]
pub struct RouteLimiter {
    key: Arc<Key>,
    slots: Arc<dyn Slots>,
    state: Mutex<LimiterState>,
    context: LimiterContext,
}

/// Why a call got no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No slot comes free within its wait; the earliest could be in `retry_after`.
    Saturated {
        /// Until a call could succeed.
        retry_after: Duration,
        /// Whether the account's daily limit is the reason.
        daily: bool,
        /// How many calls go before this one, if its turn is kept for its return.
        position: Option<usize>,
    },
    /// The route is locked for longer than the call's wait.
    Locked {
        /// Until the lock ends.
        retry_after: Duration,
    },
    /// The queue is full.
    Full {
        /// Until a call could succeed.
        retry_after: Duration,
        /// The limit that the call would exceed.
        limit: Limit,
    },
    /// The state store cannot be written to, and only recorded calls are sent.
    Unrecorded,
    /// The gateway stops before a slot comes free.
    Closing,
    /// An operator has paused the call.
    Paused {
        /// Until it may ask again.
        retry_after: Duration,
    },
    /// An operator has cancelled the waiting call.
    Cancelled,
}

/// The state of a limiter, for operators.
#[derive(Debug)]
pub struct LimiterStatus {
    /// Its account and route.
    pub key: Arc<Key>,
    /// What is left for new calls.
    pub allowance: Allowance,
    /// Until the lock ends.
    pub locked: Option<Duration>,
    /// The last lock that Zoho reported to this process.
    pub last_lock: Option<LastLock>,
    /// How many calls wait.
    pub waiting: usize,
    /// How many turns are kept for calls that were refused.
    pub booked: usize,
    /// By caller, the calls that wait.
    pub callers: Vec<CallerQueue>,
    /// By caller, the turns that are kept.
    pub bookings: Vec<CallerBookings>,
    /// When the first of them goes, and what it waits for.
    pub next_call: Option<(Duration, WaitReason)>,
    /// How long a new anonymous call of default urgency would wait.
    pub expected: Duration,
    /// How many locks came while the ledger had free slots.
    pub external_locks: u64,
    /// How many calls others made of the login, at least: the slots that were free at those locks.
    pub external_calls: u64,
}

/// What the first waiting call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitReason {
    /// The state cannot be recorded or reached.
    State,
    /// The account's daily limit.
    DailyLimit,
    /// The end of a lock.
    Lock,
    /// The answer to a call, so the moment is not known.
    Answer,
    /// A slot of the route.
    Slot,
}

impl RouteLimiter {
    /// A limiter with an empty queue. Each call counts against `own` and against all of `wider`. `callers` are those with
    /// a `reserve` or a `max_share`.
    pub(super) fn new(own: LimitSpec, wider: Vec<LimitSpec>, callers: &[Caller], context: LimiterContext) -> Arc<Self> {
        Arc::new_cyclic(|limiter: &Weak<Self>| {
            let (key, recent) = (Arc::new(own.key.clone()), RecentUse::new(&own.threshold, callers));
            let (thresholds, callers) = (thresholds(&own, &wider), recent.with_reserves(callers));
            let slots: Arc<dyn Slots> = context.backend.slots(own, wider, &callers, Weak::clone(limiter) as _).into();
            let mut state = LimiterState::new(Arc::clone(&slots), recent);
            state.thresholds = thresholds;
            Self { key, state: Mutex::new(state), slots, context }
        })
    }

    /// Changes the limits with which it was made, and the callers with a `reserve` or a `max_share`. The calls in the queue
    /// keep their places; those that can no longer be served in time are refused. Slots in use, and the lock, stay.
    pub(super) fn change(&self, own: &LimitSpec, wider: &[LimitSpec], callers: &[Caller]) {
        let (now, thresholds) = (clock::now(), thresholds(own, wider));
        if self.state.lock().thresholds != thresholds {
            let since = now.checked_sub(own.threshold.window);
            let past = since.and_then(|since| self.context.history.ends(&self.key, since));
            self.slots.change(own, wider, past.as_deref(), now);
        }
        let mut state = self.state.lock();
        state.thresholds = thresholds;
        state.recent.change(&own.threshold, callers, now);
        self.slots.change_callers(own.threshold, &state.recent.with_reserves(callers), now);
        state.review(now);
        state.wake_next(now);
    }

    /// Waits for a slot until the request's deadline.
    ///
    /// Dropping the future leaves the queue and uses no slot.
    ///
    /// # Errors
    /// [`Refused`], at once when no slot can come free in time, at the latest at the deadline.
    pub async fn attempt(self: &Arc<Self>, mut request: SlotRequest) -> Result<Attempt, Refused> {
        let (caller, now) = (request.caller.clone(), clock::now());
        self.check_pause(&caller, now)?;
        request.deadline = request.deadline.max(now + self.slots.asking_takes());
        let attempt = self.take_slot(request).await?;
        // A pause refuses the calls that wait, and this one may have joined the queue a moment later.
        self.check_pause(&caller, clock::now())?;
        // If the slot cannot be recorded, dropping the attempt gives it back.
        self.slots.recorded().await.map_err(|Unrecorded| Refused::Unrecorded)?;
        Ok(attempt)
    }

    async fn take_slot(self: &Arc<Self>, request: SlotRequest) -> Result<Attempt, Refused> {
        let guard = match self.enter(request)? {
            ControlFlow::Break(attempt) => return Ok(attempt),
            ControlFlow::Continue(guard) => guard,
        };
        loop {
            // Listening starts first, so that no wake-up between the two is missed.
            let woken = guard.listen();
            let until = match guard.try_take()? {
                ControlFlow::Break(attempt) => return Ok(attempt),
                ControlFlow::Continue(until) => until,
            };
            tokio::select! {
                () = woken => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// The gateway stops at this moment. A call that waits and cannot be served before it is refused at once, or as
    /// soon as this is known.
    pub fn close(self: &Arc<Self>, at: Instant) {
        let now = clock::now();
        let mut state = self.state.lock();
        state.closes = Some(at);
        state.review(now);
        state.wake_next(now);
    }

    /// What is left for new calls. Waiting calls go first: while there are any, nothing is left of the route's
    /// threshold.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        self.state.lock().allowance(clock::now())
    }

    /// How long this request would wait if it came now, and whether it would be refused.
    ///
    /// Makes the same checks in the same order as [`attempt`](Self::attempt), and changes nothing.
    pub fn verdict(&self, request: &SlotRequest) -> (Duration, Result<(), Refused>) {
        let now = clock::now();
        let mut state = self.state.lock();
        if let Err(paused) = self.check_pause(&request.caller, now) {
            return (state.expected(request, now), Err(paused));
        }
        if self.slots.is_failing() {
            return (state.expected(request, now), Err(Refused::Unrecorded));
        }
        if state.can_take_at_once(&request.caller, now) {
            return (Duration::ZERO, Ok(()));
        }
        let (expected, verdict) = state.verdict(request, now);
        let goes_at_once = expected.is_zero() && self.slots.can_take(now);
        let judged = if goes_at_once {
            Ok(())
        } else {
            verdict
                .and_then(|()| self.context.capacity.admits(request).map_err(|limit| state.full(request, now, limit)))
        };
        (expected, judged)
    }

    /// How many calls go before the waiting call with this observer, and how long it is expected to wait still. `None`
    /// if it does not wait.
    #[must_use]
    pub fn place(&self, observer: &Arc<dyn Observer>) -> Option<(usize, Duration)> {
        self.state.lock().place(observer, clock::now())
    }

    /// Its state, for operators.
    #[must_use]
    pub fn status(&self) -> LimiterStatus {
        let now = clock::now();
        let mut state = self.state.lock();
        // First, because it ends the bookings that have lapsed.
        let expected = state.expected(&SlotRequest::plain(now), now);
        LimiterStatus {
            key: Arc::clone(&self.key),
            allowance: state.allowance(now),
            locked: self.locked(now),
            last_lock: state.last_lock,
            waiting: state.waiting(),
            booked: state.booked(),
            callers: state.waiting_callers(now),
            bookings: state.bookings(now),
            next_call: state.next_call(now),
            expected,
            external_locks: state.external_locks,
            external_calls: state.external_calls,
        }
    }

    /// How long the route stays locked.
    #[must_use]
    pub fn locked(&self, now: Instant) -> Option<Duration> {
        self.slots.outlook(now).locked_until.map(|until| until.saturating_duration_since(now))
    }

    fn check_pause(&self, caller: &Caller, now: Instant) -> Result<(), Refused> {
        let hold = self.context.pauses.hold(&self.key, caller, now);
        hold.map_or(Ok(()), |retry_after| Err(Refused::Paused { retry_after }))
    }

    /// Takes a slot at once if that is this call's turn, or joins the queue.
    fn enter(self: &Arc<Self>, request: SlotRequest) -> Result<ControlFlow<Attempt, QueueGuard>, Refused> {
        if self.slots.is_failing() {
            return Err(Refused::Unrecorded);
        }
        let now = clock::now();
        let mut state = self.state.lock();
        if let Some(grant) = state.take_at_once(&request.caller, now) {
            return Ok(ControlFlow::Break(Attempt::with_slot(self, grant, request)));
        }
        state.want(&request.caller, now);
        let signal = Arc::new(WaiterSignal::default());
        let (ticket, delays) = state.join(&request, Arc::clone(&signal), now);
        let (at, verdict) = state.admits(ticket, &request, now);
        if at <= now
            && let Ok(grant) = state.take(ticket, &request.caller, now)
        {
            return Ok(ControlFlow::Break(Attempt::with_slot(self, grant, request)));
        }
        if let Err(refused) = verdict {
            return Err(state.refuse(ticket, &request, refused, now));
        }
        let admission = match self.context.capacity.enter(&request, &signal, now) {
            Ok(admission) => admission,
            Err(limit) => {
                state.withdraw(ticket, &request, now);
                return Err(state.full(&request, now, limit));
            }
        };
        request.waited.set();
        if delays {
            // Calls behind it are now served later than they were promised.
            state.review(now);
        }
        let limiter = Arc::clone(self);
        Ok(ControlFlow::Continue(QueueGuard { limiter, ticket, signal, request, _admission: admission }))
    }
}

fn thresholds(own: &LimitSpec, wider: &[LimitSpec]) -> Box<[Threshold]> {
    [own].into_iter().chain(wider).map(|limit| limit.threshold).collect()
}

impl WaitingCalls for RouteLimiter {
    fn waiting_calls(&self, now: Instant) -> Vec<(Option<Caller>, Wish)> {
        self.state.lock().wishes(now)
    }

    fn wake(&self) {
        let (mut state, now) = (self.state.lock(), clock::now());
        state.recent.passed.clear();
        state.review(now);
        state.wake_next(now);
    }
}

/// For operators.
impl RouteLimiter {
    /// Refuses the calls that wait and are selected. Returns their number.
    pub(super) fn refuse(&self, selector: &CallSelector, refused: Refused) -> usize {
        if !selector.covers(&self.key) {
            return 0;
        }
        let mut state = self.state.lock();
        let calls = state.refuse_selected(|caller, request_id| selector.selects(caller, request_id), refused);
        state.wake_next(clock::now());
        calls
    }

    /// Ends a lock although Zoho may still hold it. One call goes alone next, as after every lock. Returns whether the
    /// route was locked.
    pub(super) fn lift_lock(&self) -> bool {
        let now = clock::now();
        let lifted = self.slots.lift_lock(now);
        let mut state = self.state.lock();
        state.review(now);
        state.wake_next(now);
        lifted
    }

    /// The account and route.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }
}

/// For attempts.
impl RouteLimiter {
    /// Applies a step of an attempt, and wakes the next call, for which a slot may have come free.
    pub(super) fn note(&self, grant: Grant, step: &Step) {
        if !step.counts() {
            return;
        }
        let now = clock::now();
        self.slots.note(grant, step, now);
        let mut state = self.state.lock();
        if *step == Step::Lost {
            // Its slot comes free later than expected: waiting calls that are now too late are refused at once.
            state.review(now);
        }
        state.wake_next(now);
    }

    /// Records that Zoho has locked the route. `None` when the lock has no length.
    pub(super) fn lock(&self, retry_after: Option<Duration>) -> Option<LockHit> {
        let now = clock::now();
        let allowance = self.slots.allowance(now);
        let hit = self.slots.lock(retry_after, now)?;
        {
            let mut state = self.state.lock();
            if hit.external {
                state.external_locks += 1;
                state.external_calls += u64::from(allowance.route.remaining);
            }
            self.keep(&mut state.last_lock, hit, allowance.route, now);
            state.review(now);
            state.wake_next(now);
        }
        if hit.external {
            self.report(hit.until, allowance.route, now);
        }
        Some(hit)
    }
}
