//! The rule itself: which slots are charged, and when the next one comes free.

use std::{cmp::Reverse, num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use super::{Row, Step, forecast::Forecast, occupancy::Occupancy, pacer::Pacer};
use crate::zoho::catalogue::{Pace, Threshold};

/// How much longer than a window a call without an answer stays charged: bytes already handed to the network may
/// still arrive after the connection was given up. The kernel stops sending before that (`upstream` sees to it), and the
/// rest is generous for a path whose answers take milliseconds.
pub const NO_ANSWER_GRACE: Duration = Duration::from_secs(5);

/// The slots of one limit: of an account and route, of an account's day, or of its token requests.
#[derive(Debug)]
pub struct Window {
    threshold: Threshold,
    /// How many slots this process may use: all of the threshold, unless other processes use it too.
    slots: u32,
    /// Calls sent whose answer's head has not arrived.
    in_flight: u32,
    /// Calls whose answer's head has arrived and whose body may yet tell of a lock.
    unread: u32,
    /// The other charged slots.
    occupancy: Occupancy,
    lock: Option<Lock>,
    /// How many went alone so far, so that each has a number of its own.
    probes: u32,
    pacer: Option<Box<Pacer>>,
    /// A running mean of send-to-answer times; it only sharpens [`Window::forecast`], never the rule.
    round_trip: Duration,
}

/// Zoho refuses the call until a moment; after it one call goes alone.
#[derive(Debug, Clone, Copy)]
struct Lock {
    until: Instant,
    /// The number of the call that goes alone, while it does. One that went before a later lock was met says nothing
    /// about that one any more.
    probe: Option<u32>,
}

/// A slot was taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grant {
    /// It is the one call that goes alone after a lock, of this number.
    probe: Option<u32>,
}

/// No slot may be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Not before this moment.
    Until(Instant),
    /// Not before one of the calls in flight is answered.
    Unanswered,
}

/// What is left of a threshold, for the `RateLimit` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The threshold.
    pub requests: NonZeroU32,
    /// Its span.
    pub window: Duration,
    /// Slots free now.
    pub remaining: u32,
    /// Until the next slot comes back; `None` when all are free.
    pub reset: Option<Duration>,
}

impl Quota {
    /// Whether fewer calls are left, or the next one comes back later.
    pub(super) fn is_tighter_than(&self, other: &Self) -> bool {
        (self.remaining, Reverse(self.reset)) < (other.remaining, Reverse(other.reset))
    }
}

impl Window {
    /// With every slot free.
    #[must_use]
    pub fn new(threshold: Threshold, now: Instant) -> Self {
        let pacer = (threshold.pace == Pace::Smooth).then(|| Box::new(Pacer::new(&threshold)));
        let longest = threshold.window + NO_ANSWER_GRACE;
        let occupancy = Occupancy::new(threshold.requests.get(), longest, now);
        Self {
            threshold,
            slots: threshold.requests.get(),
            in_flight: 0,
            unread: 0,
            occupancy,
            lock: None,
            probes: 0,
            pacer,
            round_trip: Duration::ZERO,
        }
    }

    /// As an earlier process left it. Calls of which it never knew an answer are charged as if given up now, and one
    /// call goes alone first, because those answers may have told of a lock.
    #[must_use]
    pub fn restored(threshold: Threshold, row: &Row, now: Instant) -> Self {
        let mut window = Self::new(threshold, now);
        // Charged until an answer and the window of then; it is the window of now that counts.
        let moved = |at: Instant| (at + threshold.window).checked_sub(row.window).unwrap_or(at);
        for &(at, slots) in &row.charges {
            window.occupancy.charge(moved(at), slots);
        }
        window.occupancy.charge(now + threshold.window + NO_ANSWER_GRACE, row.in_flight);
        let unseen = (row.in_flight > 0).then_some(now);
        window.lock = row.lock.max(unseen).map(|until| Lock { until, probe: None });
        window
    }

    /// At its worst: the record of earlier processes was lost, but perhaps not their lock, so all slots count as used until
    /// `since`. One call goes alone first, because an earlier process may have been told of a lock, or may not have lived
    /// to be told.
    #[must_use]
    pub fn worst(threshold: Threshold, lock: Option<Instant>, since: Instant, now: Instant) -> Self {
        let mut window = Self::new(threshold, now);
        let until = since + threshold.window + NO_ANSWER_GRACE;
        if until > now {
            window.occupancy.charge(until, threshold.requests.get());
        }
        window.lock = Some(Lock { until: lock.unwrap_or(since), probe: None });
        window
    }

    /// From now on this process may use so many slots. Slots that are in use beyond that stay in use until they come free.
    pub fn allow(&mut self, slots: u32) {
        self.slots = slots.min(self.threshold.requests.get());
    }

    /// What has to be remembered of it.
    #[must_use]
    pub fn row(&mut self, now: Instant) -> Row {
        self.occupancy.expire(now);
        Row {
            window: self.threshold.window,
            in_flight: self.in_flight,
            charges: self.occupancy.iter().collect(),
            unread: self.unread > 0,
            lock: self.lock.map(|lock| lock.until),
        }
    }

    /// Whether a slot could be taken now, the pace left aside.
    ///
    /// # Errors
    /// [`Denied`] says when to ask again.
    pub fn room(&mut self, now: Instant) -> Result<(), Denied> {
        self.occupancy.expire(now);
        if let Some(lock) = self.lock {
            if now < lock.until {
                return Err(Denied::Until(lock.until));
            }
            if lock.probe.is_some() {
                return Err(Denied::Unanswered);
            }
        }
        let surplus = self.charged().checked_sub(self.slots);
        // More than all may be in use when there were more slots before.
        let denied = surplus.map(|surplus| self.occupancy.nth(surplus).map_or(Denied::Unanswered, Denied::Until));
        denied.map_or(Ok(()), Err)
    }

    /// Takes a slot, to be charged until [`answered`](Self::answered), [`lost`](Self::lost) or
    /// [`unused`](Self::unused) says otherwise.
    ///
    /// # Errors
    /// [`Denied`] says when to ask again.
    pub fn take(&mut self, now: Instant) -> Result<Grant, Denied> {
        self.room(now)?;
        if let Some(pacer) = &mut self.pacer {
            pacer.take(now).map_err(Denied::Until)?;
        }
        self.in_flight += 1;
        let Some(lock) = &mut self.lock else { return Ok(Grant { probe: None }) };
        lock.probe = Some(self.probes);
        self.probes = self.probes.wrapping_add(1);
        Ok(Grant { probe: lock.probe })
    }

    /// Takes in a step of the attempt that has this grant.
    pub fn apply(&mut self, grant: Grant, step: &Step, now: Instant) {
        match *step {
            Step::Unused => self.unused(grant),
            Step::Answered { sent_at, .. } => self.answered(now, sent_at),
            Step::Lost => self.lost(now, grant),
            Step::Unread => self.unread(grant),
            Step::Judged { .. } => self.executed(grant),
            // A lock is taken in by `locked`, which finds out how long it lasts.
            Step::Sending | Step::NotSent | Step::Refused | Step::Locked(_) => {}
        }
    }

    /// The call was never sent.
    pub fn unused(&mut self, grant: Grant) {
        self.in_flight -= 1;
        self.probe_came_to_nothing(grant);
    }

    /// The answer's head arrived now; the call was sent at `sent_at`.
    pub fn answered(&mut self, now: Instant, sent_at: Instant) {
        self.in_flight -= 1;
        self.unread += 1;
        self.occupancy.charge(now + self.threshold.window, 1);
        let sample = now.saturating_duration_since(sent_at);
        self.round_trip = if self.round_trip.is_zero() { sample } else { (self.round_trip * 7 + sample) / 8 };
    }

    /// No answer will come: the connection was given up now.
    pub fn lost(&mut self, now: Instant, grant: Grant) {
        self.in_flight -= 1;
        self.occupancy.charge(now + self.threshold.window + NO_ANSWER_GRACE, 1);
        self.probe_came_to_nothing(grant);
    }

    /// The answer broke off before it could be read; its slot is charged already.
    pub fn unread(&mut self, grant: Grant) {
        self.unread = self.unread.saturating_sub(1);
        self.probe_came_to_nothing(grant);
    }

    /// The answer says the call is locked, for at least as long as the route's page says.
    /// Returns when the lock ends, counted from the answer: Zoho counts from earlier, so this is never too early.
    /// `None` when neither gives it a length: then nothing is locked.
    pub fn locked(&mut self, now: Instant, retry_after: Option<Duration>) -> Option<Instant> {
        let length = self.threshold.lock.max(retry_after.unwrap_or_default());
        if length.is_zero() {
            return None;
        }
        self.unread = self.unread.saturating_sub(1);
        let until = self.lock.map_or(now + length, |lock| lock.until.max(now + length));
        self.lock = Some(Lock { until, probe: None });
        Some(until)
    }

    /// Whether a lock met now can only be somebody else's doing: none was expected, and fewer of our own calls than
    /// the threshold allows can have arrived within a window.
    pub fn shows_room(&mut self, now: Instant) -> bool {
        self.occupancy.expire(now);
        self.lock.is_none() && self.charged() < self.slots
    }

    /// The call was executed: if it is the one that goes alone after a lock, the lock is over.
    pub fn executed(&mut self, grant: Grant) {
        self.unread = self.unread.saturating_sub(1);
        self.lock = self.lock.filter(|lock| !lock.awaits(grant));
    }

    /// Clears the lock without waiting for the call that goes alone: another window keeps the locks of these calls.
    pub(super) fn forget_lock(&mut self) {
        self.lock = None;
    }

    /// Whether a slot taken earlier may still be used: not once a lock has come, unless it is the call that goes alone
    /// after it. The end of the lock otherwise.
    #[must_use]
    pub fn overtaken(&self, grant: Grant) -> Option<Instant> {
        self.lock.filter(|lock| !lock.awaits(grant)).map(|lock| lock.until)
    }

    /// Whether the next slot depends on a call that has no answer yet, so that nobody knows its moment.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.in_flight > 0 && self.occupancy.total() == 0
    }

    /// The end of a lock that has not yet ended.
    #[must_use]
    pub fn locked_until(&self, now: Instant) -> Option<Instant> {
        self.lock.map(|lock| lock.until).filter(|&until| until > now)
    }

    /// When waiting callers could be served. Exact while all charged slots are answered; for calls in flight it assumes
    /// a usual round trip.
    pub(super) fn forecast(&mut self, now: Instant) -> Forecast {
        self.occupancy.expire(now);
        let surplus = self.charged().saturating_sub(self.slots);
        let generation = self.round_trip + self.threshold.window;
        let opens = match self.lock {
            Some(Lock { probe: Some(_), .. }) => now + self.round_trip,
            _ => self.locked_until(now).unwrap_or(now),
        };
        Forecast {
            opens,
            alone: self.lock.filter(|lock| lock.probe.is_none()).map(|_| self.round_trip),
            // Without any slot nobody knows when one comes.
            requests: self.slots.max(1),
            free: self.slots.saturating_sub(self.charged()),
            moments: Forecast::moments(&self.occupancy, (now + generation, self.in_flight), surplus),
            generation,
            pace: self.pacer.as_ref().map(|pacer| pacer.forecast(now)),
        }
    }

    /// What is left of the threshold.
    #[must_use]
    pub fn quota(&mut self, now: Instant) -> Quota {
        self.occupancy.expire(now);
        let charged = self.charged();
        let lock = self.locked_until(now);
        let window = self.threshold.window;
        let slot = self.occupancy.nth(0).or((charged > 0).then(|| now + window));
        Quota {
            requests: self.threshold.requests,
            window,
            remaining: if lock.is_some() { 0 } else { self.slots.saturating_sub(charged) },
            reset: lock.or(slot).map(|at| at.saturating_duration_since(now)),
        }
    }

    #[cfg(test)]
    pub(super) fn usual_round_trip(&self) -> Duration {
        self.round_trip
    }

    fn charged(&self) -> u32 {
        self.in_flight.saturating_add(self.occupancy.total())
    }

    /// Nothing was learnt about the lock, so the next call goes alone too.
    fn probe_came_to_nothing(&mut self, grant: Grant) {
        if let Some(lock) = self.lock.as_mut().filter(|lock| lock.awaits(grant)) {
            lock.probe = None;
        }
    }
}

impl Grant {
    /// Whether it is the one call that goes alone after a lock.
    #[must_use]
    pub fn is_probe(self) -> bool {
        self.probe.is_some()
    }
}

impl Lock {
    /// Whether this is the call that tells whether the lock is over.
    fn awaits(self, grant: Grant) -> bool {
        self.probe.is_some() && self.probe == grant.probe
    }
}
