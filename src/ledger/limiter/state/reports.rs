//! What a limiter tells others: operators, other gateways, and those who ask for a call's place.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    super::{
        super::{
            Caller, Observer, Urgency,
            queue::AGEING,
            slots::{Allowance, Wish},
        },
        WaitReason,
        schedule::Schedule,
    },
    LimiterState,
};

/// The waiting calls of a caller.
#[derive(Debug)]
pub struct CallerQueue {
    /// Its name.
    pub caller: String,
    /// How many of its calls wait.
    pub waiting: usize,
    /// How long the one that goes first has waited.
    pub waited: Duration,
    /// When that one goes; `None` if too many calls go before it to tell.
    pub first: Option<Duration>,
    /// When the last of them goes; `None` if too many calls go before it to tell.
    pub last: Option<Duration>,
    /// The request ids of those that go first, ten at most.
    pub request_ids: Vec<Arc<str>>,
}

/// The turns that are kept for calls of a caller that were refused.
#[derive(Debug)]
pub struct CallerBookings {
    /// Its name.
    pub caller: String,
    /// How many.
    pub booked: usize,
    /// When the first of them comes.
    pub first: Duration,
}

/// When calls of one caller go.
#[derive(Default)]
struct Expected {
    calls: usize,
    first: Option<Instant>,
    last: Option<Instant>,
    request_ids: Vec<Arc<str>>,
}

/// How many request ids of a caller operators see.
const MAX_REQUEST_IDS: usize = 10;

/// How many calls of one caller other processes hear of: no record grants more at a time.
const MAX_WISHES: usize = 256;

/// The urgency of a call that has waited for this long, among calls of its caller at other gateways.
fn aged(urgency: Urgency, waited: Duration) -> u8 {
    let steps = waited.as_nanos() / AGEING.as_nanos();
    urgency.get().saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX))
}
impl LimiterState {
    /// How many calls wait.
    pub(in crate::ledger::limiter) fn waiting(&self) -> usize {
        self.queue.len().saturating_sub(self.bookings.len())
    }

    /// How many turns are kept for calls that were refused.
    pub(in crate::ledger::limiter) fn booked(&self) -> usize {
        self.bookings.len()
    }

    /// By caller, who waits and who used slots in the last window.
    pub(in crate::ledger::limiter) fn wishes(&mut self, now: Instant) -> Vec<(Option<Caller>, Wish)> {
        self.refresh(now);
        let outlook = self.slots.outlook(now);
        let let_go = Schedule::new(&self.queue, &self.recent, &outlook).let_go();
        let let_go: HashMap<&Caller, usize> = let_go.into_iter().collect();
        let mut wishes: HashMap<Caller, Wish> = HashMap::new();
        let wish =
            |caller: &Caller| Wish { weight: caller.weight().get(), waiting: 0, urgency: 7, waited: 0, using: 0 };
        for flow in self.queue.by_caller(now) {
            let waiting = flow.waiting.saturating_sub(self.bookings.of(&flow.caller));
            // A call that the spread holds back would keep its slot from calls of other processes.
            let waiting = waiting.min(let_go.get(&flow.caller).copied().unwrap_or(0)).min(MAX_WISHES) as u32;
            let waited = u64::try_from(flow.waited.as_millis()).unwrap_or(u64::MAX);
            let urgency = aged(flow.urgency, flow.waited);
            let found = Wish { waiting, urgency, waited, ..wish(&flow.caller) };
            wishes.insert(flow.caller, found);
        }
        for own in self.recent.callers(now).filter(|own| own.uses.total > 0) {
            wishes.entry(own.caller.clone()).or_insert_with(|| wish(&own.caller)).using += own.uses.total;
        }
        let mut wishes: Vec<_> = wishes.into_iter().map(|(caller, wish)| (Some(caller), wish)).collect();
        let requeued = self.queue.requeued();
        if requeued > 0 {
            // They had a slot before, so no caller uses more because of them.
            let first = Wish { weight: 1, waiting: requeued.min(MAX_WISHES) as u32, urgency: 0, waited: 0, using: 0 };
            wishes.push((None, first));
        }
        wishes
    }

    /// How many calls go before the waiting call with this observer, and how long it still waits.
    pub(in crate::ledger::limiter) fn place(
        &self,
        observer: &Arc<dyn Observer>,
        now: Instant,
    ) -> Option<(usize, Duration)> {
        let is_same = |other: &Arc<dyn Observer>| Arc::as_ptr(other).cast::<()>() == Arc::as_ptr(observer).cast::<()>();
        let lines = self.queue.lines().flat_map(|line| line.entries);
        let mut waiting = self.queue.front().chain(lines);
        let (ticket, _) = waiting.find(|(_, entry)| {
            entry.waiter.as_ref().and_then(|waiter| waiter.observer.as_ref()).is_some_and(is_same)
        })?;
        let (at, _) = self.moment(ticket, &self.slots.outlook(now));
        Some((self.queue.ahead_of(ticket), at.saturating_duration_since(now)))
    }

    /// By caller, the calls that wait. Calls that had a slot before are not among them.
    pub(in crate::ledger::limiter) fn waiting_callers(&mut self, now: Instant) -> Vec<CallerQueue> {
        let flows = self.queue.by_caller(now);
        if flows.is_empty() {
            return Vec::new();
        }
        self.refresh(now);
        let outlook = self.slots.outlook(now);
        let mut expected: HashMap<&Caller, Expected> = HashMap::new();
        Schedule::new(&self.queue, &self.recent, &outlook).find(|step| {
            if let (Some(caller), Some(entry)) = (step.caller, step.waiting) {
                let expected = expected.entry(caller).or_default();
                if let Some(waiter) = entry.waiter.as_ref().filter(|_| expected.calls < MAX_REQUEST_IDS) {
                    expected.request_ids.push(Arc::clone(&waiter.request_id));
                }
                expected.first.get_or_insert(step.at);
                (expected.last, expected.calls) = (Some(step.at), expected.calls + 1);
            }
            false
        });
        let callers = flows.into_iter().map(|flow| {
            let waiting = flow.waiting.saturating_sub(self.bookings.of(&flow.caller));
            let expected = expected.remove(&flow.caller).unwrap_or_default();
            let after = |at: Instant| at.saturating_duration_since(now);
            CallerQueue {
                caller: flow.caller.name().to_owned(),
                waiting,
                waited: flow.waited,
                first: expected.first.map(after),
                last: expected.last.filter(|_| expected.calls == waiting).map(after),
                request_ids: expected.request_ids,
            }
        });
        callers.filter(|caller| caller.waiting > 0).collect()
    }

    /// By caller, the turns that are kept.
    pub(in crate::ledger::limiter) fn bookings(&self, now: Instant) -> Vec<CallerBookings> {
        let by_caller = self.bookings.by_caller().into_iter().map(|(caller, (booked, first))| CallerBookings {
            caller: caller.name().to_owned(),
            booked,
            first: first.saturating_duration_since(now),
        });
        let mut bookings: Vec<_> = by_caller.collect();
        bookings.sort_by(|one, other| one.caller.cmp(&other.caller));
        bookings
    }

    /// When the first waiting call goes, and what it waits for.
    pub(in crate::ledger::limiter) fn next_call(&mut self, now: Instant) -> Option<(Duration, WaitReason)> {
        self.refresh(now);
        let outlook = self.slots.outlook(now);
        let schedule = Schedule::new(&self.queue, &self.recent, &outlook);
        let step = schedule.find(|step| step.waiting.is_some())?;
        let reason = if outlook.unreachable || self.slots.is_failing() {
            WaitReason::State
        } else if step.daily {
            WaitReason::DailyLimit
        } else if outlook.locked_until.is_some() {
            WaitReason::Lock
        } else if outlook.unanswered {
            WaitReason::Answer
        } else {
            WaitReason::Slot
        };
        Some((step.at.saturating_duration_since(now), reason))
    }

    pub(in crate::ledger::limiter) fn allowance(&self, now: Instant) -> Allowance {
        let mut allowance = self.slots.allowance(now);
        let bookings = u32::try_from(self.bookings.len()).unwrap_or(u32::MAX);
        let left = if self.waiting() > 0 { 0 } else { allowance.route.remaining.saturating_sub(bookings) };
        allowance.route.remaining = left;
        allowance
    }
}
