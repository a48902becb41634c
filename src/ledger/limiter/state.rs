//! What a line decides under its lock: who gets a slot, who may wait, and who waits in vain.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    super::{
        Arrival, Caller, SlotRequest, Urgency, Window,
        daily::Daily,
        forecast::Forecast,
        queue::{Joined, Queue, Ticket},
        queue_capacity::Limit,
        waiter_signal::WaiterSignal,
        window::{Denied, Grant},
    },
    Allowance, Refused,
};

/// Added to a `Retry-After` that depends on a call without an answer yet; and how often the head of a line looks whether
/// another line has given back a slot of the day.
const A_WHILE: Duration = Duration::from_secs(1);

/// How often promises are looked at again that something may have broken: so seldom that it costs a few percent of one
/// core, since each look takes about a tenth of this per waiter.
const REVIEW_PER_WAITER: Duration = Duration::from_micros(2);

#[derive(Debug)]
pub(super) struct State {
    pub(super) window: Window,
    daily: Option<Arc<Daily>>,
    pub(super) queue: Queue<Waiter>,
    /// Those who have left the queue because they can no longer be served in time, until they hear so.
    pub(super) told: HashMap<Ticket, Refused>,
    /// The store has been told that something changed.
    pub(super) noted: bool,
    pub(super) external_use: u64,
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

/// The line's future: that of its bucket, and that of the account's day.
struct Outlook {
    now: Instant,
    route: Forecast,
    day: Option<Forecast>,
    locked_until: Option<Instant>,
    /// The next slot depends on a call on its way, and nobody knows how long that will take.
    unanswered: bool,
    closes: Option<Instant>,
}

impl Outlook {
    /// When the caller is served that has `ahead` others before it, and whether it is the day that it waits for.
    fn at(&self, ahead: usize) -> (Instant, bool) {
        let route = self.route.at(ahead);
        let day = self.day.as_ref().map(|day| day.at(ahead)).filter(|day| *day > route);
        (day.unwrap_or(route), day.is_some())
    }

    /// Whether the caller is served in time that has `ahead` others before it.
    fn admits(&self, ahead: usize, deadline: Instant) -> Result<(), Refused> {
        let expected = self.at(ahead).0;
        if expected > deadline {
            return Err(self.refused(ahead));
        }
        if self.closes.is_some_and(|closes| expected > closes) { Err(Refused::Closing) } else { Ok(()) }
    }

    /// What the caller is told that has `ahead` others before it and cannot wait for its turn.
    fn refused(&self, ahead: usize) -> Refused {
        let (expected, daily) = self.at(ahead);
        if let (Some(until), false) = (self.locked_until, daily) {
            return Refused::Locked { retry_after: until.saturating_duration_since(self.now) };
        }
        let unanswered = if self.unanswered { A_WHILE } else { Duration::ZERO };
        Refused::Saturated { retry_after: expected.saturating_duration_since(self.now) + unanswered, daily }
    }
}

impl State {
    pub(super) fn new(window: Window, daily: Option<Arc<Daily>>) -> Self {
        Self {
            window,
            daily,
            queue: Queue::new(),
            told: HashMap::new(),
            noted: false,
            external_use: 0,
            closes: None,
            review: Review::default(),
        }
    }

    /// Takes a slot of the route and one of the day, or neither.
    pub(super) fn take(&mut self, now: Instant) -> Result<Grant, Denied> {
        let Some(daily) = &self.daily else { return self.window.take(now) };
        self.window.room(now)?;
        daily.change(|day| {
            // Another line may give one back at any time, and it cannot wake this one.
            day.room(now).map_err(|denied| match denied {
                Denied::Until(at) => Denied::Until(at.min(now + A_WHILE)),
                Denied::Unanswered => Denied::Until(now + A_WHILE),
            })?;
            let grant = self.window.take(now)?;
            day.take(now)?;
            Ok(grant)
        })
    }

    /// Whether [`take`](Self::take) would take now.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        self.window.room(now).is_ok() && self.daily.as_ref().is_none_or(|daily| daily.window().room(now).is_ok())
    }

    pub(super) fn change(&mut self, now: Instant, change: impl Fn(&mut Window, Instant)) {
        change(&mut self.window, now);
        if let Some(daily) = &self.daily {
            daily.change(|day| change(day, now));
        }
    }

    /// Whether it can be served in time.
    pub(super) fn admits(&mut self, request: &SlotRequest, now: Instant) -> Result<(), Refused> {
        let ahead = self.queue.position(&request.caller, request.arrival, request.urgency, now);
        let outlook = self.outlook(now);
        if request.deadline <= now {
            return Err(outlook.refused(ahead));
        }
        outlook.admits(ahead, request.deadline)
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
        self.outlook(now).at(ahead).0
    }

    pub(super) fn allowance(&mut self, now: Instant) -> Allowance {
        let mut route = self.window.quota(now);
        if !self.queue.is_empty() {
            route.remaining = 0;
        }
        Allowance { route, daily: self.daily.as_ref().map(|daily| daily.window().quota(now)) }
    }

    pub(super) fn refused(&mut self, now: Instant, ahead: usize) -> Refused {
        self.outlook(now).refused(ahead)
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
        let outlook = self.outlook(now);
        let mut staying = 0;
        let mut hopeless = Vec::new();
        for (ticket, waiter) in self.queue.in_order() {
            match outlook.admits(staying, waiter.deadline) {
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

    fn outlook(&mut self, now: Instant) -> Outlook {
        let day = self.daily.as_ref().map(|daily| daily.window().forecast(now));
        Outlook {
            now,
            route: self.window.forecast(now),
            day,
            locked_until: self.window.locked_until(now),
            unanswered: self.window.is_unanswered(),
            closes: self.closes,
        }
    }
}
