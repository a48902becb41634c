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
        for (caller, own) in self.recent.callers(now).filter(|(_, own)| own.uses.total > 0) {
            wishes.entry(caller.clone()).or_insert_with(|| wish(caller)).using += own.uses.total;
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
        let ((at, _), _) = self.moment(ticket, now);
        Some((self.queue.ahead_of(ticket), at.saturating_duration_since(now)))
    }

    /// By caller, how many calls wait, and how long the first of them has waited. Calls that had a slot before are not
    /// among them.
    pub(in crate::ledger::limiter) fn waiting_callers(&self, now: Instant) -> Vec<(String, usize, Duration)> {
        let flows = self.queue.by_caller(now).into_iter().map(|flow| {
            let waiting = flow.waiting.saturating_sub(self.bookings.of(&flow.caller));
            (flow.caller.name().to_owned(), waiting, flow.waited)
        });
        flows.filter(|(_, waiting, _)| *waiting > 0).collect()
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
