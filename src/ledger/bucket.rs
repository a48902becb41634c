//! The rule itself: which slots are charged, and when the next one comes free.

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use super::pacer::Pacer;
use crate::catalogue::{Pace, Threshold};

/// How much longer than a window a call without an answer stays charged: bytes already handed to the network may
/// still arrive after the connection was given up. Generous for a path whose answers take milliseconds.
pub const NO_ANSWER_GRACE: Duration = Duration::from_secs(5);

/// The slots of one account and route.
#[derive(Debug)]
pub struct Bucket {
    threshold: Threshold,
    /// Calls sent whose answer's head has not arrived.
    in_flight: u32,
    /// When each of the other charged slots comes free, earliest first.
    free_at: VecDeque<Instant>,
    lock: Option<Lock>,
    pacer: Option<Pacer>,
    /// A running mean of send-to-answer times; it only sharpens [`Bucket::expected`], never the rule.
    round_trip: Duration,
}

/// Zoho refuses the call until a moment; after it one call goes alone.
#[derive(Debug, Clone, Copy)]
struct Lock {
    until: Instant,
    probe_out: bool,
}

/// A slot was taken.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// It is the one call that goes alone after a lock.
    pub probe: bool,
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

impl Bucket {
    /// With every slot free.
    #[must_use]
    pub fn new(threshold: Threshold) -> Self {
        let pacer = (threshold.pace == Pace::Smooth).then(|| Pacer::new(&threshold));
        Self { threshold, in_flight: 0, free_at: VecDeque::new(), lock: None, pacer, round_trip: Duration::ZERO }
    }

    /// Takes a slot, to be charged until [`answered`](Self::answered), [`lost`](Self::lost) or
    /// [`refund`](Self::refund) says otherwise.
    ///
    /// # Errors
    /// [`Denied`] says when to ask again.
    pub fn take(&mut self, now: Instant) -> Result<Taken, Denied> {
        self.expire(now);
        if let Some(lock) = self.lock {
            if now < lock.until {
                return Err(Denied::Until(lock.until));
            }
            if lock.probe_out {
                return Err(Denied::Unanswered);
            }
        }
        if self.charged() >= self.threshold.requests.get() as usize {
            return Err(self.free_at.front().map_or(Denied::Unanswered, |&at| Denied::Until(at)));
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.take(now).map_err(Denied::Until)?;
        }
        self.in_flight += 1;
        if let Some(lock) = &mut self.lock {
            lock.probe_out = true;
        }
        Ok(Taken { probe: self.lock.is_some() })
    }

    /// The call was never sent.
    pub fn refund(&mut self, taken: Taken) {
        self.in_flight -= 1;
        self.probe_came_to_nothing(taken);
    }

    /// The answer's head arrived now; the call was sent at `sent_at`.
    pub fn answered(&mut self, now: Instant, sent_at: Instant) {
        self.in_flight -= 1;
        self.charge_until(now + self.threshold.window);
        let sample = now.saturating_duration_since(sent_at);
        self.round_trip = if self.round_trip.is_zero() { sample } else { (self.round_trip * 7 + sample) / 8 };
    }

    /// No answer will come: the connection was given up now.
    pub fn lost(&mut self, now: Instant, taken: Taken) {
        self.in_flight -= 1;
        self.charge_until(now + self.threshold.window + NO_ANSWER_GRACE);
        self.probe_came_to_nothing(taken);
    }

    /// The answer broke off before it could be read; its slot is charged already.
    pub fn unread(&mut self, taken: Taken) {
        self.probe_came_to_nothing(taken);
    }

    /// The answer says the call is locked, for at least as long as the route's page says.
    /// Returns when the lock ends, counted from the answer: Zoho counts from earlier, so this is never too early.
    /// `None` when neither gives it a length: then nothing is locked.
    pub fn locked(&mut self, now: Instant, retry_after: Option<Duration>) -> Option<Instant> {
        let length = self.threshold.lock.max(retry_after.unwrap_or_default());
        if length.is_zero() {
            return None;
        }
        let until = self.lock.map_or(now + length, |lock| lock.until.max(now + length));
        self.lock = Some(Lock { until, probe_out: false });
        Some(until)
    }

    /// The call that went alone after a lock was executed: the lock is over.
    pub fn unlocked(&mut self) {
        self.lock = None;
    }

    /// Whether a slot taken earlier may still be used: not once a lock has come, unless it is the call that goes alone
    /// after it. The end of the lock otherwise.
    #[must_use]
    pub fn overtaken(&self, taken: Taken) -> Option<Instant> {
        self.lock.filter(|lock| !(taken.probe && lock.probe_out)).map(|lock| lock.until)
    }

    /// Whether the next slot depends on a call that has no answer yet, so that nobody knows its moment.
    #[must_use]
    pub fn is_unanswered(&self, now: Instant) -> bool {
        self.in_flight > 0 && self.free_at.back().is_none_or(|&last| last <= now)
    }

    /// The end of a lock that has not yet ended.
    #[must_use]
    pub fn locked_until(&self, now: Instant) -> Option<Instant> {
        self.lock.map(|lock| lock.until).filter(|&until| until > now)
    }

    /// The earliest moment at which a caller could be served that has `ahead` others before it.
    ///
    /// Exact while all charged slots are answered; for calls in flight it assumes a usual round trip.
    #[must_use]
    pub fn expected(&self, now: Instant, ahead: usize) -> Instant {
        let requests = self.threshold.requests.get() as usize;
        let generation = self.round_trip + self.threshold.window;
        let times = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let expired = self.free_at.partition_point(|&at| at <= now);
        let charged = self.charged() - expired;
        let by_slots = if let Some(until) = self.locked_until(now) {
            // One alone, then the rest of a whole fresh allowance.
            let alone = if ahead == 0 { Duration::ZERO } else { self.round_trip };
            until + alone + generation.saturating_mul(times(ahead / requests))
        } else {
            let free = requests.saturating_sub(charged);
            match ahead.checked_sub(free) {
                None => now,
                Some(behind) => {
                    let slot = behind % requests;
                    let first = self.free_at.get(expired + slot).copied().unwrap_or(now + generation);
                    first + generation.saturating_mul(times(behind / requests))
                }
            }
        };
        self.pacer.as_ref().map_or(by_slots, |pacer| by_slots.max(pacer.expected(now, times(ahead))))
    }

    /// What is left of the threshold.
    #[must_use]
    pub fn quota(&self, now: Instant) -> Quota {
        let expired = self.free_at.partition_point(|&at| at <= now);
        let charged = u32::try_from(self.charged() - expired).unwrap_or(u32::MAX);
        let lock = self.locked_until(now);
        let window = self.threshold.window;
        let slot = self.free_at.get(expired).copied().or((charged > 0).then(|| now + window));
        Quota {
            requests: self.threshold.requests,
            window,
            remaining: if lock.is_some() { 0 } else { self.threshold.requests.get().saturating_sub(charged) },
            reset: lock.or(slot).map(|at| at.saturating_duration_since(now)),
        }
    }

    fn charged(&self) -> usize {
        self.in_flight as usize + self.free_at.len()
    }

    fn expire(&mut self, now: Instant) {
        while self.free_at.front().is_some_and(|&at| at <= now) {
            self.free_at.pop_front();
        }
    }

    /// Keeps the order; all but lost calls belong at the end.
    fn charge_until(&mut self, at: Instant) {
        let place = self.free_at.iter().rposition(|&other| other <= at).map_or(0, |before| before + 1);
        self.free_at.insert(place, at);
    }

    /// Nothing was learnt about the lock, so the next call goes alone too.
    fn probe_came_to_nothing(&mut self, taken: Taken) {
        if let (true, Some(lock)) = (taken.probe, &mut self.lock) {
            lock.probe_out = false;
        }
    }
}
