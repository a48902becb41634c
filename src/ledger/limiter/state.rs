//! What a limiter decides under its mutex: which calls may wait, which is next, and which can no longer be served.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::{
        Arrival, Caller, Observer, SlotRequest, Urgency,
        queue::{Joined, Queue, Ticket},
        queue_capacity::Limit,
        slots::{Allowance, Outlook, Slots, Wish},
        waiter_signal::WaiterSignal,
    },
    Refused, WaitReason,
};

/// Added to a `Retry-After` that depends on a call without an answer.
const UNANSWERED_DELAY: Duration = Duration::from_secs(1);

/// How many calls of one caller other processes hear of: no record grants more at a time.
const MAX_WISHES: usize = 256;

/// The least time between two reviews of the queue, per waiter. A review takes about a tenth of this, so reviews cost
/// a few percent of one core.
const REVIEW_PER_WAITER: Duration = Duration::from_micros(2);

#[derive(Debug)]
pub(super) struct LimiterState {
    slots: Arc<dyn Slots>,
    pub(super) queue: Queue<Waiter>,
    /// The refusals of calls that were removed from the queue and have not read their refusal yet.
    pub(super) refusals: HashMap<Ticket, Refused>,
    pub(super) external_locks: u64,
    /// When the gateway stops, once that is known.
    pub(super) closes: Option<Instant>,
    review: Review,
    /// The length of the route's window.
    window: Duration,
    /// Who was served in the last window, if other processes have to know it.
    served: VecDeque<(Instant, Caller)>,
}

#[derive(Debug)]
pub(super) struct Waiter {
    deadline: Instant,
    observer: Option<Arc<dyn Observer>>,
    signal: Arc<WaiterSignal>,
}

/// A check whether all waiting calls can still be served in time.
#[derive(Debug, Default)]
struct Review {
    not_before: Option<Instant>,
    due: bool,
}

/// Whether a call with `ahead` others before it is served before its deadline and before the gateway stops.
fn admits(outlook: &Outlook, closes: Option<Instant>, ahead: usize, deadline: Instant) -> Result<(), Refused> {
    let expected = outlook.at(ahead).0;
    if expected > deadline {
        return Err(refused(outlook, ahead));
    }
    if closes.is_some_and(|closes| expected > closes) { Err(Refused::Closing) } else { Ok(()) }
}

/// The refusal of a call that has `ahead` others before it and cannot wait for its turn.
pub(super) fn refused(outlook: &Outlook, ahead: usize) -> Refused {
    if outlook.unreachable {
        return Refused::Unrecorded;
    }
    let (expected, daily) = outlook.at(ahead);
    if let (Some(until), false) = (outlook.locked_until, daily) {
        return Refused::Locked { retry_after: until.saturating_duration_since(outlook.now) };
    }
    let unanswered = if outlook.unanswered { UNANSWERED_DELAY } else { Duration::ZERO };
    Refused::Saturated { retry_after: expected.saturating_duration_since(outlook.now) + unanswered, daily }
}

impl LimiterState {
    pub(super) fn new(slots: Arc<dyn Slots>, window: Duration) -> Self {
        Self {
            slots,
            queue: Queue::new(),
            refusals: HashMap::new(),
            external_locks: 0,
            closes: None,
            review: Review::default(),
            window,
            served: VecDeque::new(),
        }
    }

    /// A call of this caller got a slot.
    pub(super) fn used(&mut self, caller: &Caller, now: Instant) {
        if self.slots.are_shared() {
            self.served.push_back((now, caller.clone()));
        }
    }

    /// By caller, who waits and who used slots in the last window.
    pub(super) fn wishes(&mut self, now: Instant) -> BTreeMap<String, Wish> {
        while self.served.front().is_some_and(|(at, _)| *at + self.window <= now) {
            self.served.pop_front();
        }
        let mut wishes: BTreeMap<String, Wish> = BTreeMap::new();
        let wish =
            |caller: &Caller| Wish { weight: caller.weight().get(), waiting: 0, urgency: 7, waited: 0, using: 0 };
        for flow in self.queue.by_caller(now) {
            let waiting = flow.waiting.min(MAX_WISHES) as u32;
            let waited = u64::try_from(flow.waited.as_millis()).unwrap_or(u64::MAX);
            let found = Wish { waiting, urgency: flow.urgency.get(), waited, ..wish(&flow.caller) };
            wishes.insert(flow.caller.name().to_owned(), found);
        }
        for (_, caller) in &self.served {
            wishes.entry(caller.name().to_owned()).or_insert_with(|| wish(caller)).using += 1;
        }
        let requeued = self.queue.requeued();
        if requeued > 0 {
            // They had a slot before, so no caller uses more because of them. No caller has an empty name.
            let first = Wish { weight: 1, waiting: requeued.min(MAX_WISHES) as u32, urgency: 0, waited: 0, using: 0 };
            wishes.insert(String::new(), first);
        }
        wishes
    }

    /// Whether a new request can be served in time.
    pub(super) fn admits(&mut self, request: &SlotRequest, now: Instant) -> Result<(), Refused> {
        let ahead = self.queue.position(&request.caller, request.arrival, request.urgency, now);
        let outlook = self.slots.outlook(now);
        if request.deadline <= now {
            return Err(refused(&outlook, ahead));
        }
        admits(&outlook, self.closes, ahead, request.deadline)
    }

    pub(super) fn join(&mut self, request: &SlotRequest, signal: Arc<WaiterSignal>, now: Instant) -> Ticket {
        let waiter = Waiter { deadline: request.deadline, observer: request.observer.clone(), signal };
        let Joined { ticket, delays } = self.queue.join(&request.caller, request.arrival, request.urgency, now, waiter);
        if delays {
            // Calls behind it are now served later than they were promised.
            self.review(now);
        }
        ticket
    }

    pub(super) fn full(&mut self, request: &SlotRequest, now: Instant, limit: Limit) -> Refused {
        Refused::Full { retry_after: self.expected(&request.caller, request.urgency, now), limit }
    }

    /// How long a new call would wait.
    pub(super) fn expected(&mut self, caller: &Caller, urgency: Urgency, now: Instant) -> Duration {
        let ahead = self.queue.position(caller, Arrival::New, urgency, now);
        self.slots.outlook(now).at(ahead).0.saturating_duration_since(now)
    }

    /// How many calls go before the waiting call with this observer, and how long it still waits.
    pub(super) fn place(&self, observer: &Arc<dyn Observer>, now: Instant) -> Option<(usize, Duration)> {
        let is_same = |other: &Arc<dyn Observer>| Arc::as_ptr(other).cast::<()>() == Arc::as_ptr(observer).cast::<()>();
        let ahead = self.queue.in_order().position(|(_, waiter)| waiter.observer.as_ref().is_some_and(is_same))?;
        Some((ahead, self.slots.outlook(now).at(ahead).0.saturating_duration_since(now)))
    }

    /// By caller, how many calls wait, and how long the first of them has waited. Calls that had a slot before are not
    /// among them.
    pub(super) fn waiting_callers(&self, now: Instant) -> Vec<(String, usize, Duration)> {
        let flows = self.queue.by_caller(now).into_iter();
        flows.map(|flow| (flow.caller.name().to_owned(), flow.waiting, flow.waited)).collect()
    }

    /// When the first waiting call goes, and what it waits for.
    pub(super) fn next_call(&self, now: Instant) -> Option<(Duration, WaitReason)> {
        if self.queue.is_empty() {
            return None;
        }
        let outlook = self.slots.outlook(now);
        let (at, daily) = outlook.at(0);
        let reason = if outlook.unreachable || self.slots.is_failing() {
            WaitReason::State
        } else if daily {
            WaitReason::DailyLimit
        } else if outlook.locked_until.is_some() {
            WaitReason::Lock
        } else if outlook.unanswered {
            WaitReason::Answer
        } else {
            WaitReason::Slot
        };
        Some((at.saturating_duration_since(now), reason))
    }

    pub(super) fn allowance(&self, now: Instant) -> Allowance {
        let mut allowance = self.slots.allowance(now);
        if !self.queue.is_empty() {
            allowance.route.remaining = 0;
        }
        allowance
    }

    pub(super) fn wake_head(&self) {
        if let Some(head) = self.queue.head().and_then(|head| self.queue.get(head)) {
            head.signal.wake();
        }
    }

    /// Reviews the queue after an event that may delay waiting calls: at once, unless the last review was just before.
    /// Then the head of the queue does it a moment later, and has to be woken for that.
    pub(super) fn review(&mut self, now: Instant) {
        self.review.due = true;
        self.review_if_due(now);
    }

    /// Removes all calls that can no longer be served in time. The others move up.
    fn refuse_late_calls(&mut self, now: Instant) {
        let outlook = self.slots.outlook(now);
        let mut staying = 0;
        let mut late = Vec::new();
        for (ticket, waiter) in self.queue.in_order() {
            match admits(&outlook, self.closes, staying, waiter.deadline) {
                Ok(()) => staying += 1,
                Err(refused) => late.push((ticket, refused)),
            }
        }
        for (ticket, refused) in late {
            if let Some(waiter) = self.queue.leave(ticket) {
                self.refusals.insert(ticket, refused);
                waiter.signal.wake();
            }
        }
    }

    /// When the head of the queue has to call [`review_if_due`](Self::review_if_due).
    pub(super) fn next_review(&self) -> Option<Instant> {
        self.review.not_before.filter(|_| self.review.due)
    }

    /// Reviews the queue if that is due and the last review is long enough ago.
    pub(super) fn review_if_due(&mut self, now: Instant) {
        if self.review.due && self.review.not_before.is_none_or(|at| at <= now) {
            self.refuse_late_calls(now);
            let waiters = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
            self.review = Review { not_before: Some(now + REVIEW_PER_WAITER * waiters), due: false };
        }
    }
}
