//! The rule: which slots are in use, and when the next one comes free.

use std::{cmp::Reverse, num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use super::{Row, Step, forecast::Forecast, occupancy::Occupancy, pacer::Pacer};
use crate::zoho::catalogue::{Pace, Threshold};

/// How much longer than a window the slot of a call without an answer stays in use: bytes already handed to the network
/// may still arrive after the connection was closed. The kernel stops sending before this time is over (`upstream`
/// configures that), and the rest is generous for a path whose answers take milliseconds.
pub const NO_ANSWER_GRACE: Duration = Duration::from_secs(5);

/// The moments of the history of calls come a little after those of the windows.
const PRECISION: Duration = Duration::from_millis(10);

/// The slots of one limit: of an account and route, of an account's day, or of its token requests.
#[derive(Debug)]
pub struct Window {
    threshold: Threshold,
    /// How many slots this process may use: the whole threshold, unless other processes use it too.
    slots: u32,
    /// The number of its last restart; a grant of an earlier one has no slot any more.
    generation: u32,
    /// How many calls hold a slot and have no answer yet.
    in_flight: u32,
    /// How many answers have arrived whose body may still report a lock.
    unread: u32,
    /// The other slots in use.
    occupancy: Occupancy,
    lock: Option<Lock>,
    /// How many probes were sent so far, so that each has its own number.
    probes: u32,
    pacer: Option<Box<Pacer>>,
    /// A running mean of the times from sending to the answer. Only [`Window::forecast`] uses it, not the rule.
    pub(super) round_trip: Duration,
}

/// Zoho refuses calls until a moment. After it one call, the probe, goes alone.
#[derive(Debug, Clone, Copy)]
struct Lock {
    until: Instant,
    /// The number of the probe that was sent. The answer to a probe of an earlier lock says nothing about this one.
    probe: Option<u32>,
}

/// A slot that was taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grant {
    /// The number of the probe, if this call is one.
    pub(super) probe: Option<u32>,
    /// The generation of its window.
    generation: u32,
    /// The number of the limits that it counts against, where that depends on its caller.
    pub(super) limits: u32,
}

/// Why no slot may be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// None comes free before this moment.
    Until(Instant),
    /// None comes free before a call in flight is answered.
    Unanswered,
    /// The route has one, but the limits of its caller have none here. Calls of other callers may go.
    ForCaller,
}

/// What is left of a threshold, for the `RateLimit` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The threshold.
    pub requests: NonZeroU32,
    /// The span of time in which the threshold counts.
    pub window: Duration,
    /// How many slots are in use, whatever keeps calls from the others.
    pub used: u32,
    /// How many slots are free now.
    pub remaining: u32,
    /// Until the next slot comes back; `None` when all are free.
    pub reset: Option<Duration>,
}

impl Quota {
    /// Whether fewer slots are free, or the same number and the next one comes later.
    pub(super) fn is_tighter_than(&self, other: &Self) -> bool {
        (self.remaining, Reverse(self.reset)) < (other.remaining, Reverse(other.reset))
    }
}

impl Window {
    /// A window in which all slots are free.
    #[must_use]
    pub fn new(threshold: Threshold, now: Instant) -> Self {
        let pacer = (threshold.pace == Pace::Smooth).then(|| Box::new(Pacer::new(&threshold)));
        let longest = threshold.window + NO_ANSWER_GRACE;
        let occupancy = Occupancy::new(threshold.requests.get(), longest, now);
        Self {
            threshold,
            slots: threshold.requests.get(),
            generation: 0,
            in_flight: 0,
            unread: 0,
            occupancy,
            lock: None,
            probes: 0,
            pacer,
            round_trip: Duration::ZERO,
        }
    }

    /// The window as an earlier process left it. Calls without a known answer count as if lost now. After such calls a
    /// probe goes first, because their answers may have reported a lock.
    #[must_use]
    pub fn restored(threshold: Threshold, row: &Row, now: Instant) -> Self {
        let mut window = Self::new(threshold, now);
        for &(at, slots) in &row.charges {
            window.occupancy.occupy(moved(at, row.window, threshold.window), slots);
        }
        window.recount(row.window, None, now);
        window.occupancy.occupy(now + threshold.window + NO_ANSWER_GRACE, row.in_flight);
        let unknown = (row.in_flight > 0).then_some(now);
        window.lock = row.lock.max(unknown).map(|until| Lock { until, probe: None });
        window
    }

    /// The window after the record of earlier processes was lost, except perhaps their lock. All slots count as used
    /// until `since`, and a probe goes first: an earlier process may have received a lock, or may have ended before it.
    #[must_use]
    pub fn worst(threshold: Threshold, lock: Option<Instant>, since: Instant, now: Instant) -> Self {
        let mut window = Self::new(threshold, now);
        let until = since + threshold.window + NO_ANSWER_GRACE;
        if until > now {
            window.occupancy.occupy(until, threshold.requests.get());
        }
        window.lock = Some(Lock { until: lock.unwrap_or(since), probe: None });
        window
    }

    /// Changes the threshold. Calls that were sent count under the new one; the lock stays. The slots in use were counted
    /// with a window of `from`. [`recount`](Self::recount) must follow.
    pub fn change(&mut self, threshold: Threshold, from: Duration, now: Instant) {
        self.occupancy.expire(now);
        let mut occupancy = Occupancy::new(threshold.requests.get(), threshold.window + NO_ANSWER_GRACE, now);
        for (at, slots) in self.occupancy.iter() {
            occupancy.occupy(moved(at, from, threshold.window), slots);
        }
        occupancy.expire(now);
        (self.occupancy, self.slots) = (occupancy, threshold.requests.get());
        self.pacer = (threshold.pace == Pace::Smooth).then(|| Box::new(Pacer::new(&threshold)));
        self.threshold = threshold;
    }

    /// Counts the calls that a window of `from` no longer counted and the present one has to count: those that ended at
    /// the moments of `past`. If these are unknown, there may have been as many as the threshold allows until just now.
    pub fn recount(&mut self, from: Duration, past: Option<&[Instant]>, now: Instant) {
        let window = self.threshold.window;
        let Some(longer) = window.checked_sub(from).filter(|longer| !longer.is_zero()) else { return };
        match past {
            Some(ends) => {
                let uncounted = ends.iter().filter(|end| **end + from <= now + PRECISION);
                uncounted.for_each(|end| self.occupancy.occupy(*end + window, 1));
            }
            None => self.occupancy.occupy(now + longer, self.threshold.requests.get()),
        }
    }

    /// The span in which the threshold counts.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.threshold.window
    }

    /// Whether more slots are in use than there are, because the threshold has changed. Then no call that still has to be
    /// sent may be sent with the slot that it has.
    pub fn has_surplus(&mut self, now: Instant) -> bool {
        self.occupancy.expire(now);
        self.in_use() > self.slots
    }

    /// Sets how many slots this process may use. If more are in use, those stay in use until they come free.
    pub fn allow(&mut self, slots: u32) {
        self.slots = slots.min(self.threshold.requests.get());
    }

    /// Gives up all slots, also those in use: other processes count them. What is known about a lock stays, and steps of
    /// grants of other generations have no effect any more.
    pub fn restart(&mut self, generation: u32, now: Instant) {
        let lock = self.lock.map(|lock| Lock { probe: None, ..lock });
        let (probes, round_trip) = (self.probes, self.round_trip);
        *self = Self { slots: 0, generation, probes, lock, round_trip, ..Self::new(self.threshold, now) };
    }

    /// Whether the slot of this grant was given up by [`restart`](Self::restart).
    #[must_use]
    pub fn has_given_up(&self, grant: Grant) -> bool {
        grant.generation != self.generation
    }

    /// How many of the slots that this process may use are not in use.
    pub fn idle(&mut self, now: Instant) -> u32 {
        self.occupancy.expire(now);
        self.slots.saturating_sub(self.in_use())
    }

    /// When the next slot comes free, apart from those of calls in flight.
    pub(super) fn next_end(&mut self, now: Instant) -> Option<Instant> {
        self.occupancy.expire(now);
        self.occupancy.nth(0)
    }

    /// When slots in use come free, earliest first, as a forecast: calls in flight are answered when they usually are.
    pub(super) fn expected_ends(&mut self, now: Instant) -> Vec<(Instant, u32)> {
        let answered = now + self.round_trip;
        self.ends(now, answered + self.threshold.window)
    }

    /// When slots in use come free at the latest, earliest first, if no call in flight is served any more.
    pub(super) fn latest_ends(&mut self, now: Instant) -> Vec<(Instant, u32)> {
        self.ends(now, now + self.threshold.window + NO_ANSWER_GRACE)
    }

    fn ends(&mut self, now: Instant, of_unanswered: Instant) -> Vec<(Instant, u32)> {
        self.occupancy.expire(now);
        let mut ends: Vec<_> = self.occupancy.iter().collect();
        if self.in_flight > 0 {
            ends.push((of_unanswered, self.in_flight));
            ends.sort_unstable();
        }
        ends
    }

    /// When a lock ends or has ended, until a probe has shown that it is over.
    pub(super) fn lock_end(&self) -> Option<Instant> {
        self.lock.map(|lock| lock.until)
    }

    /// Whether the probe after a lock was sent and has no result yet.
    pub(super) fn is_probing(&self) -> bool {
        self.lock.is_some_and(|lock| lock.probe.is_some())
    }

    /// Makes the window at least this long, from the next answer on.
    pub(super) fn widen(&mut self, window: Duration) {
        self.threshold.window = self.threshold.window.max(window);
    }

    /// The state that has to be stored.
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

    /// Whether a slot could be taken now, regardless of the pace.
    ///
    /// # Errors
    /// [`Denied`] says when to try again.
    pub fn check(&mut self, now: Instant) -> Result<(), Denied> {
        self.occupancy.expire(now);
        if let Some(lock) = self.lock {
            if now < lock.until {
                return Err(Denied::Until(lock.until));
            }
            if lock.probe.is_some() {
                return Err(Denied::Unanswered);
            }
        }
        let surplus = self.in_use().checked_sub(self.slots);
        // There may be more slots in use than allowed, if the number of slots was reduced.
        let denied = surplus.map(|surplus| self.occupancy.nth(surplus).map_or(Denied::Unanswered, Denied::Until));
        denied.map_or(Ok(()), Err)
    }

    /// Takes a slot, which is in use until [`answered`](Self::answered), [`lost`](Self::lost) or
    /// [`unused`](Self::unused) changes that.
    ///
    /// # Errors
    /// [`Denied`] says when to try again.
    pub fn take(&mut self, now: Instant) -> Result<Grant, Denied> {
        self.check(now)?;
        if let Some(pacer) = &mut self.pacer {
            pacer.take(now).map_err(Denied::Until)?;
        }
        self.in_flight += 1;
        let generation = self.generation;
        let Some(lock) = &mut self.lock else { return Ok(Grant { generation, ..Grant::default() }) };
        lock.probe = Some(self.probes);
        self.probes = self.probes.wrapping_add(1);
        Ok(Grant { probe: lock.probe, generation, ..Grant::default() })
    }

    /// Applies a step of the attempt that has this grant.
    pub fn apply(&mut self, grant: Grant, step: &Step, now: Instant) {
        if self.has_given_up(grant) {
            return;
        }
        match *step {
            Step::Unused => self.unused(grant),
            Step::Answered { sent_at, .. } => self.answered(now, sent_at),
            Step::Lost => self.lost(now, grant),
            Step::Unread => self.unread(grant),
            Step::Judged { .. } => self.executed(grant),
            // `locked` applies a lock, because it computes how long the lock lasts.
            Step::Sending | Step::NotSent | Step::Refused | Step::PayloadRefused(_) | Step::Locked(_) => {}
        }
    }

    /// The call was never sent.
    pub fn unused(&mut self, grant: Grant) {
        self.in_flight -= 1;
        self.probe_without_result(grant);
    }

    /// The answer's head arrived now; the call was sent at `sent_at`.
    pub fn answered(&mut self, now: Instant, sent_at: Instant) {
        self.in_flight -= 1;
        self.unread += 1;
        self.occupancy.occupy(now + self.threshold.window, 1);
        let sample = now.saturating_duration_since(sent_at);
        self.round_trip = if self.round_trip.is_zero() { sample } else { (self.round_trip * 7 + sample) / 8 };
    }

    /// No answer will come: the connection was closed now.
    pub fn lost(&mut self, now: Instant, grant: Grant) {
        self.in_flight -= 1;
        self.occupancy.occupy(now + self.threshold.window + NO_ANSWER_GRACE, 1);
        self.probe_without_result(grant);
    }

    /// The answer broke off before it could be read; its slot is already in use until a known moment.
    pub fn unread(&mut self, grant: Grant) {
        self.unread = self.unread.saturating_sub(1);
        self.probe_without_result(grant);
    }

    /// The answer reports a lock, which lasts at least as long as the threshold says.
    /// Returns when the lock ends, counted from the answer: Zoho counts from an earlier moment, so this is late enough.
    /// `None` if neither the answer nor the threshold gives a length: then nothing is locked.
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

    /// Locks the window until this moment, or for longer if it is locked already. A probe follows.
    pub fn lock_until(&mut self, until: Instant) {
        let until = self.lock.map_or(until, |lock| lock.until.max(until));
        self.lock = Some(Lock { until, probe: None });
    }

    /// Ends the lock now, although Zoho may still hold it: a probe follows. Returns whether the window was locked.
    pub fn lift_lock(&mut self, now: Instant) -> bool {
        let Some(lock) = self.lock.as_mut().filter(|lock| lock.until > now) else { return false };
        lock.until = now;
        true
    }

    /// Whether a lock that is reported now must come from another client: none was known, and fewer of our own calls
    /// than the threshold can have arrived within a window.
    pub fn has_free_slots(&mut self, now: Instant) -> bool {
        self.occupancy.expire(now);
        self.lock.is_none() && self.in_use() < self.slots
    }

    /// The call was executed. If it is the probe after a lock, the lock is over.
    pub fn executed(&mut self, grant: Grant) {
        self.unread = self.unread.saturating_sub(1);
        self.lock = self.lock.filter(|lock| !lock.awaits(grant));
    }

    /// Clears the lock without waiting for the probe, for windows whose calls have their locks in another window.
    pub(super) fn forget_lock(&mut self) {
        self.lock = None;
    }

    /// The end of the lock during which this grant must not be used. `None` if it may be used: there is no lock, or it
    /// is the probe after the lock.
    #[must_use]
    pub fn held_back(&self, grant: Grant) -> Option<Instant> {
        self.lock.filter(|lock| !lock.awaits(grant)).map(|lock| lock.until)
    }

    /// Whether the next slot depends on a call without an answer, so that its moment is unknown.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.in_flight > 0 && self.occupancy.total == 0
    }

    /// The end of a lock that has not yet ended.
    #[must_use]
    pub fn locked_until(&self, now: Instant) -> Option<Instant> {
        self.lock.map(|lock| lock.until).filter(|&until| until > now)
    }

    /// When waiting calls could be served. Exact while all slots in use are answered; for calls in flight it assumes a
    /// usual round trip.
    pub(super) fn forecast(&mut self, now: Instant) -> Forecast {
        self.occupancy.expire(now);
        let surplus = self.in_use().saturating_sub(self.slots);
        let generation = self.round_trip + self.threshold.window;
        let opens = match self.lock {
            Some(Lock { probe: Some(_), .. }) => now + self.round_trip,
            _ => self.locked_until(now).unwrap_or(now),
        };
        Forecast {
            opens,
            alone: self.lock.filter(|lock| lock.probe.is_none()).map(|_| self.round_trip),
            // Without any slot the moment is unknown; one avoids a division by zero.
            requests: self.slots.max(1),
            free: self.slots.saturating_sub(self.in_use()),
            moments: Forecast::moments(&self.occupancy, (now + generation, self.in_flight), surplus),
            generation,
            pace: self.pacer.as_ref().map(|pacer| pacer.forecast(now)),
        }
    }

    /// What is left of the threshold.
    #[must_use]
    pub fn quota(&mut self, now: Instant) -> Quota {
        self.occupancy.expire(now);
        let in_use = self.in_use();
        let lock = self.locked_until(now);
        let window = self.threshold.window;
        let slot = self.occupancy.nth(0).or((in_use > 0).then(|| now + window));
        Quota {
            requests: self.threshold.requests,
            window,
            used: in_use,
            remaining: if lock.is_some() { 0 } else { self.slots.saturating_sub(in_use) },
            reset: lock.or(slot).map(|at| at.saturating_duration_since(now)),
        }
    }

    fn in_use(&self) -> u32 {
        self.in_flight.saturating_add(self.occupancy.total)
    }

    /// If the call was the probe, it says nothing about the lock, so the next call is the next probe.
    fn probe_without_result(&mut self, grant: Grant) {
        if let Some(lock) = self.lock.as_mut().filter(|lock| lock.awaits(grant)) {
            lock.probe = None;
        }
    }
}

/// The end of a slot's use that was counted with a window of `from`, with a window of `to`.
fn moved(at: Instant, from: Duration, to: Duration) -> Instant {
    (at + to).checked_sub(from).unwrap_or(at)
}

impl Lock {
    /// Whether this call is the probe whose answer ends the lock.
    fn awaits(self, grant: Grant) -> bool {
        self.probe.is_some() && self.probe == grant.probe
    }
}
