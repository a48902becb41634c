//! What a limiter decides under its mutex: who may wait, who is next, and who waits in vain.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    super::{
        Arrival, Caller, SlotRequest, Urgency,
        queue::{Joined, Queue, Ticket},
        queue_capacity::Limit,
        slots::{Allowance, Outlook, Slots},
        waiter_signal::WaiterSignal,
    },
    Refused,
};

/// Added to a `Retry-After` that depends on a call without an answer yet.
const A_WHILE: Duration = Duration::from_secs(1);

/// How often promises are looked at again that something may have broken: so seldom that it costs a few percent of one
/// core, since each look takes about a tenth of this per waiter.
const REVIEW_PER_WAITER: Duration = Duration::from_micros(2);

#[derive(Debug)]
pub(super) struct State {
    slots: Arc<dyn Slots>,
    pub(super) queue: Queue<Waiter>,
    /// Those who have left the queue because they can no longer be served in time, until they learn so.
    pub(super) told: HashMap<Ticket, Refused>,
    pub(super) external_locks: u64,
    /// The gateway's end, once it is known.
    closes: Option<Instant>,
    review: Review,
}

#[derive(Debug)]
pub(super) struct Waiter {
    deadline: Instant,
    signal: Arc<WaiterSignal>,
}

/// When promises are looked at again.
#[derive(Debug, Default)]
struct Review {
    /// Not before this moment.
    not_before: Option<Instant>,
    due: bool,
}

/// Whether a caller with `ahead` others before it is served in time, and before the gateway stops.
fn admits(outlook: &Outlook, closes: Option<Instant>, ahead: usize, deadline: Instant) -> Result<(), Refused> {
    let expected = outlook.at(ahead).0;
    if expected > deadline {
        return Err(refused(outlook, ahead));
    }
    if closes.is_some_and(|closes| expected > closes) { Err(Refused::Closing) } else { Ok(()) }
}

/// What a caller is told that has `ahead` others before it and cannot wait for its turn.
fn refused(outlook: &Outlook, ahead: usize) -> Refused {
    let (expected, daily) = outlook.at(ahead);
    if let (Some(until), false) = (outlook.locked_until, daily) {
        return Refused::Locked { retry_after: until.saturating_duration_since(outlook.now) };
    }
    let unanswered = if outlook.unanswered { A_WHILE } else { Duration::ZERO };
    Refused::Saturated { retry_after: expected.saturating_duration_since(outlook.now) + unanswered, daily }
}

impl State {
    pub(super) fn new(slots: Arc<dyn Slots>) -> Self {
        Self {
            slots,
            queue: Queue::new(),
            told: HashMap::new(),
            external_locks: 0,
            closes: None,
            review: Review::default(),
        }
    }

    /// Whether it can be served in time.
    pub(super) fn admits(&mut self, request: &SlotRequest, now: Instant) -> Result<(), Refused> {
        let ahead = self.queue.position(&request.caller, request.arrival, request.urgency, now);
        let outlook = self.slots.outlook(now);
        if request.deadline <= now {
            return Err(refused(&outlook, ahead));
        }
        admits(&outlook, self.closes, ahead, request.deadline)
    }

    /// Nobody is served after `at`.
    pub(super) fn close(&mut self, at: Instant, now: Instant) {
        self.closes = Some(at);
        self.review(now);
    }

    pub(super) fn join(&mut self, request: &SlotRequest, signal: Arc<WaiterSignal>, now: Instant) -> Ticket {
        let waiter = Waiter { deadline: request.deadline, signal };
        let Joined { ticket, delays } = self.queue.join(&request.caller, request.arrival, request.urgency, now, waiter);
        if delays {
            // Those behind it were promised a turn that now comes later.
            self.review(now);
        }
        ticket
    }

    pub(super) fn full(&mut self, request: &SlotRequest, now: Instant, limit: Limit) -> Refused {
        let expected = self.expected(&request.caller, request.urgency, now);
        Refused::Full { retry_after: expected.saturating_duration_since(now), limit }
    }

    /// When a newcomer like this could be served.
    pub(super) fn expected(&mut self, caller: &Caller, urgency: Urgency, now: Instant) -> Instant {
        let ahead = self.queue.position(caller, Arrival::New, urgency, now);
        self.slots.outlook(now).at(ahead).0
    }

    pub(super) fn allowance(&self, now: Instant) -> Allowance {
        let mut allowance = self.slots.allowance(now);
        if !self.queue.is_empty() {
            allowance.route.remaining = 0;
        }
        allowance
    }

    pub(super) fn refused(&self, now: Instant, ahead: usize) -> Refused {
        refused(&self.slots.outlook(now), ahead)
    }

    pub(super) fn wake_head(&self) {
        if let Some(head) = self.queue.head().and_then(|head| self.queue.get(head)) {
            head.signal.ring();
        }
    }

    /// Something happened after which promises may not be kept: they are looked at again, at once unless that was done
    /// a moment ago. Then whoever heads the queue does it a moment later, and has to be woken for that.
    pub(super) fn review(&mut self, now: Instant) {
        self.review.due = true;
        self.review_if_due(now);
    }

    /// Tells everybody who can no longer be served in time. Those who stay move up behind them.
    fn tell_hopeless(&mut self, now: Instant) {
        let outlook = self.slots.outlook(now);
        let mut staying = 0;
        let mut hopeless = Vec::new();
        for (ticket, waiter) in self.queue.in_order() {
            match admits(&outlook, self.closes, staying, waiter.deadline) {
                Ok(()) => staying += 1,
                Err(refused) => hopeless.push((ticket, refused)),
            }
        }
        for (ticket, refused) in hopeless {
            if let Some(waiter) = self.queue.leave(ticket) {
                self.told.insert(ticket, refused);
                waiter.signal.ring();
            }
        }
    }

    /// When somebody has to look again because of [`review_if_due`](Self::review_if_due).
    pub(super) fn next_review(&self) -> Option<Instant> {
        self.review.not_before.filter(|_| self.review.due)
    }

    /// Looks at all promises again, if some may be broken and the last look is long enough ago.
    pub(super) fn review_if_due(&mut self, now: Instant) {
        if self.review.due && self.review.not_before.is_none_or(|at| at <= now) {
            self.tell_hopeless(now);
            let waiters = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
            self.review = Review { not_before: Some(now + REVIEW_PER_WAITER * waiters), due: false };
        }
    }
}
