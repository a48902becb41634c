//! The upper part of the ledger: a fair queue in front of the slots of one account and route.
//!
//! Only the caller at the head of the queue sleeps until the next slot; the others sleep until they are woken. A caller
//! that leaves the head, served, refused or gone, wakes the next one. A slot is handed out when it is recorded.

mod attempt;
mod queue_guard;
mod state;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

pub use self::attempt::{Attempt, Unlimited};
use self::{
    queue_guard::{Entered, Look, QueueGuard},
    state::State,
};
use super::{
    Allowance, Caller, Key, LimitSpec, LimiterContext, Limits, LockHit, SlotRequest, Slots, Step, Urgency,
    call_history::{Incident, rfc3339},
    queue_capacity::Limit,
    slots::Unrecorded,
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
    state: Mutex<State>,
    context: LimiterContext,
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

/// The state of a limiter, for operators.
#[derive(Debug)]
pub struct LimiterStatus {
    /// Its account and route.
    pub key: Arc<Key>,
    /// What is left for new calls.
    pub allowance: Allowance,
    /// Until the lock ends.
    pub locked: Option<Duration>,
    /// How many wait.
    pub waiting: usize,
    /// How long a new call with nothing special about it would wait.
    pub expected: Duration,
    /// How many locks came while the ledger had free slots.
    pub external_locks: u64,
}

impl RouteLimiter {
    /// With an empty queue. Each call counts against `own` and against all of `wider`.
    pub(super) fn new(own: LimitSpec, wider: Vec<LimitSpec>, context: LimiterContext) -> Arc<Self> {
        let key = Arc::new(own.key.clone());
        let slots: Arc<dyn Slots> = context.backend.slots(own, wider).into();
        Arc::new(Self { key, state: Mutex::new(State::new(Arc::clone(&slots))), slots, context })
    }

    /// One that is forgotten with the process.
    #[must_use]
    pub fn in_memory(threshold: Threshold, limits: Limits) -> Arc<Self> {
        Self::new(LimitSpec::own(Key::default(), threshold), Vec::new(), LimiterContext::in_memory(limits))
    }

    /// Waits for a slot until the request's deadline.
    ///
    /// Dropping the future leaves the queue; nothing is spent.
    ///
    /// # Errors
    /// [`Refused`], at once when no slot can come free in time, at the latest at the deadline.
    pub async fn attempt(self: &Arc<Self>, request: SlotRequest) -> Result<Attempt, Refused> {
        let attempt = self.slot(request).await?;
        // The slot is given back where it cannot be recorded.
        self.slots.recorded().await.map_err(|Unrecorded| Refused::Unrecorded)?;
        Ok(attempt)
    }

    async fn slot(self: &Arc<Self>, request: SlotRequest) -> Result<Attempt, Refused> {
        let deadline = request.deadline;
        let guard = match self.enter(request)? {
            Entered::Served(attempt) => return Ok(attempt),
            Entered::Waiting(guard) => guard,
        };
        loop {
            // Listening starts before looking, so that no wake-up falls between the two.
            let woken = guard.listen();
            let until = match guard.look()? {
                Look::Served(attempt) => return Ok(attempt),
                Look::Wait { until } => until.map_or(deadline, |until| until.min(deadline)),
            };
            tokio::select! {
                () = woken => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Nobody waits beyond this moment any more: the gateway stops then. Callers that cannot be served before it are told at
    /// once, or as soon as this is known.
    pub fn close(self: &Arc<Self>, at: Instant) {
        let now = clock::now();
        let mut state = self.state.lock();
        state.close(at, now);
        state.wake_head();
    }

    /// What is left for new calls. Calls that wait come first, so then nothing is left of the route's threshold.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        self.state.lock().allowance(clock::now())
    }

    /// What would become of this request if it came now: how long it would wait, and why it would be refused, if it would.
    ///
    /// Asks the same questions in the same order as [`attempt`](Self::attempt), and changes nothing.
    pub fn verdict(&self, request: &SlotRequest) -> (Duration, Result<(), Refused>) {
        let now = clock::now();
        let mut state = self.state.lock();
        let expected = state.expected(&request.caller, request.urgency, now).saturating_duration_since(now);
        let judged = if self.slots.is_failing() {
            Err(Refused::Unrecorded)
        } else if state.queue.is_empty() && self.slots.has_room(now) {
            return (Duration::ZERO, Ok(()));
        } else {
            state
                .admits(request, now)
                .and_then(|()| self.context.room.admits(request).map_err(|limit| state.full(request, now, limit)))
        };
        (expected, judged)
    }

    /// Its state, for operators.
    #[must_use]
    pub fn status(&self) -> LimiterStatus {
        let now = clock::now();
        let mut state = self.state.lock();
        LimiterStatus {
            key: Arc::clone(&self.key),
            allowance: state.allowance(now),
            locked: self.locked(now),
            waiting: state.queue.len(),
            expected: state.expected(&Caller::anonymous(), Urgency::default(), now).saturating_duration_since(now),
            external_locks: state.external_locks,
        }
    }

    /// How long the route stays locked.
    #[must_use]
    pub fn locked(&self, now: Instant) -> Option<Duration> {
        self.slots.outlook(now).locked_until.map(|until| until.saturating_duration_since(now))
    }

    fn enter(self: &Arc<Self>, request: SlotRequest) -> Result<Entered, Refused> {
        if self.slots.is_failing() {
            return Err(Refused::Unrecorded);
        }
        let now = clock::now();
        let mut state = self.state.lock();
        if state.queue.is_empty()
            && let Ok(grant) = self.slots.take(now)
        {
            return Ok(Entered::Served(Attempt::with_slot(self, grant, request)));
        }
        state.admits(&request, now)?;
        let signal = Arc::new(WaiterSignal::default());
        let admission =
            self.context.room.enter(&request, &signal, now).map_err(|limit| state.full(&request, now, limit))?;
        let ticket = state.join(&request, Arc::clone(&signal), now);
        Ok(Entered::Waiting(QueueGuard::new(Arc::clone(self), ticket, signal, request, admission)))
    }
}

/// For attempts.
impl RouteLimiter {
    pub(super) fn context(&self) -> &LimiterContext {
        &self.context
    }

    pub(super) fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// Takes in a step of an attempt, and wakes the head of the queue, for which a slot may have come free.
    pub(super) fn note(&self, grant: Grant, step: &Step) {
        if !step.counts() {
            return;
        }
        let now = clock::now();
        self.slots.note(grant, step, now);
        let mut state = self.state.lock();
        if *step == Step::Lost {
            // Its slot comes free later than was expected: callers that can no longer be served in time are told at once.
            state.review(now);
        }
        state.wake_head();
    }

    /// Takes in that Zoho has locked the route. `None` when the lock has no length.
    pub(super) fn lock(&self, retry_after: Option<Duration>) -> Option<LockHit> {
        let now = clock::now();
        let left = self.slots.allowance(now);
        let hit = self.slots.lock(retry_after, now)?;
        {
            let mut state = self.state.lock();
            state.external_locks += u64::from(hit.external);
            state.review(now);
            state.wake_head();
        }
        if hit.external {
            self.report(hit.until, &left, now);
        }
        Some(hit)
    }

    /// The end of a lock that came after this slot was taken.
    pub(super) fn held_back(&self, grant: Grant) -> Option<Instant> {
        self.slots.held_back(grant)
    }

    /// Resolves when such a lock comes.
    pub(super) async fn holding_back(&self, grant: Grant) -> Instant {
        loop {
            let mut locked = std::pin::pin!(self.slots.locks().notified());
            // Listening starts before looking, so that no lock falls between the two.
            locked.as_mut().enable();
            if let Some(until) = self.held_back(grant) {
                return until;
            }
            locked.await;
        }
    }

    /// Keeps the calls of the last window for a post-mortem.
    fn report(&self, until: Instant, left: &Allowance, now: Instant) {
        let quota = left.route;
        let since = now.checked_sub(quota.window).unwrap_or(now);
        let (calls, calls_are_complete) = self.context.history.calls(&self.key, since);
        let text = self.context.history.keep(&Incident {
            at: rfc3339(clock::wall()),
            account: &self.key.account,
            route: &self.key.limit,
            requests: quota.requests.get(),
            window_seconds: quota.window.as_secs_f64(),
            charged: quota.requests.get() - quota.remaining,
            locked_for_seconds: until.saturating_duration_since(now).as_secs_f64(),
            calls,
            calls_are_complete,
        });
        self.context.backend.keep_incident(text);
    }
}
