//! Who wanted a route within its last window, and how many slots each caller used.

use std::time::Duration;

use tokio::time::Instant;

use super::super::{Caller, occupancy::Occupancy};
use crate::zoho::catalogue::{Pace, Threshold};

/// How long a caller whose own limits have no slot is passed before it tries again, unless the record of several gateways
/// answers sooner. It also counts in forecasts, so it is shorter than the time that asking takes.
pub(super) const PASSED: Duration = Duration::from_millis(100);

/// What the callers of a route did within the last window, and what they are entitled to.
#[derive(Debug)]
pub(super) struct RecentUse {
    pub(super) window: Duration,
    pub(super) requests: u32,
    /// Whether slots are spread while several callers want the route.
    pub(super) is_fair: bool,
    /// The callers that keep slots for themselves, and how many each.
    pub(super) reserves: Box<[(Caller, u32)]>,
    /// By name. Most routes have one, and there may be very many routes.
    callers: Vec<CallerUse>,
    /// When the last slot was used that counts for the spread.
    pub(super) last: Option<Instant>,
    /// Callers whose own limits have no slot here, and until when the others pass them.
    pub(super) passed: Vec<(Caller, Instant)>,
}

/// What one caller did within the last window.
#[derive(Debug, Clone)]
pub(super) struct CallerUse {
    pub(super) caller: Caller,
    /// When it last waited or used a slot.
    pub(super) wanted: Instant,
    /// When each of its uses is a window old.
    pub(super) uses: Occupancy,
}

impl CallerUse {
    /// When it has used fewer than `limit` slots of the last window: at once, or when its oldest uses are a window old.
    /// `None`: never.
    pub(super) fn falls_below(&self, limit: u32, now: Instant) -> Option<Instant> {
        if limit == 0 {
            return None;
        }
        let surplus = self.uses.total.checked_sub(limit);
        Some(surplus.and_then(|surplus| self.uses.nth(surplus)).map_or(now, |at| at.max(now)))
    }
}

impl RecentUse {
    /// `reserving` are the callers with a reserve that may use the route.
    pub(super) fn new(threshold: &Threshold, reserving: &[Caller]) -> Self {
        let requests = threshold.requests.get();
        Self {
            window: threshold.window,
            requests,
            is_fair: threshold.pace == Pace::Fair,
            reserves: fitted(reserving, requests),
            callers: Vec::new(),
            last: None,
            passed: Vec::new(),
        }
    }

    /// The threshold or the reserves have changed. What callers used counts with the new window.
    pub(super) fn change(&mut self, threshold: &Threshold, reserving: &[Caller], now: Instant) {
        let changed = Self { last: self.last, ..Self::new(threshold, reserving) };
        let before = std::mem::replace(self, changed);
        for own in before.callers {
            let mut uses = self.none(&own.caller, now).uses;
            for (at, slots) in own.uses.iter() {
                uses.occupy((at + self.window).checked_sub(before.window).unwrap_or(at), slots);
            }
            self.callers.push(CallerUse { uses, ..own });
        }
        self.expire(now);
    }

    /// How many slots of the route this caller keeps.
    pub(super) fn reserve_of(&self, caller: &Caller) -> u32 {
        self.reserves.iter().find(|(other, _)| other == caller).map_or(0, |(_, reserve)| *reserve)
    }

    /// These callers, and how many slots each keeps.
    pub(super) fn with_reserves(&self, callers: &[Caller]) -> Vec<(Caller, u32)> {
        callers.iter().map(|caller| (caller.clone(), self.reserve_of(caller))).collect()
    }

    /// The others pass this caller for a moment.
    pub(super) fn pass(&mut self, caller: &Caller, now: Instant) {
        self.passed.retain(|(other, until)| other != caller && *until > now);
        self.passed.push((caller.clone(), now + PASSED));
    }

    /// From how many slots of the last window on a caller's calls are spread: half of its share by weight. Rounded down, or
    /// many callers of small shares could together use more than half of the slots without waiting for the spread.
    pub(super) fn light_below(&self, caller: &Caller, weights: u64) -> u32 {
        let share = u64::from(self.requests) * u64::from(caller.weight().get());
        (share / (2 * weights.max(1))) as u32
    }

    /// A caller wants a slot.
    pub(super) fn want(&mut self, caller: &Caller, now: Instant) -> &mut CallerUse {
        let index = self.index(caller).unwrap_or_else(|index| {
            if self.callers.capacity() == 0 {
                // A vector would allocate space for four.
                self.callers.reserve_exact(1);
            }
            self.callers.insert(index, self.none(caller, now));
            index
        });
        let own = &mut self.callers[index];
        own.wanted = now;
        own.uses.expire(now);
        own
    }

    /// A caller uses a slot. The next slot of the spread keeps its distance from it, unless the caller uses few.
    pub(super) fn used(&mut self, caller: &Caller, now: Instant) {
        let until = now + self.window;
        let own = self.want(caller, now);
        own.uses.occupy(until, 1);
        let total = own.uses.total;
        let weights = self.callers(now).map(|own| u64::from(own.caller.weight().get())).sum();
        if total >= self.light_below(caller, weights) {
            self.last = Some(now);
        }
    }

    /// What a caller did that comes now for the first time.
    pub(super) fn none(&self, caller: &Caller, now: Instant) -> CallerUse {
        let uses = Occupancy::new(self.requests, self.window, now);
        CallerUse { caller: caller.clone(), wanted: now, uses }
    }

    pub(super) fn of(&self, caller: &Caller) -> Option<&CallerUse> {
        self.index(caller).ok().map(|index| &self.callers[index])
    }

    /// The callers that wanted the route within the last window.
    pub(super) fn callers(&self, now: Instant) -> impl Iterator<Item = &CallerUse> {
        self.callers.iter().filter(move |own| own.wanted + self.window > now)
    }

    /// Forgets what is older than a window.
    pub(super) fn expire(&mut self, now: Instant) {
        let window = self.window;
        self.callers.retain_mut(|own| {
            own.uses.expire(now);
            own.wanted + window > now || own.uses.total > 0
        });
    }

    /// Whether a slot that is free now is free for this caller too, without a look at the others that wait: no rule beyond
    /// the slots concerns it.
    pub(super) fn is_unrestricted(&self, caller: &Caller, now: Instant) -> bool {
        let is_alone = || self.callers(now).all(|own| own.caller == *caller);
        self.reserves.is_empty() && caller.terms().max_share.is_none() && (!self.is_fair || is_alone())
    }

    /// Where this caller is, or belongs.
    fn index(&self, caller: &Caller) -> Result<usize, usize> {
        self.callers.binary_search_by(|own| own.caller.name().cmp(caller.name()))
    }
}

/// The reserves that hold on a route of this many slots. If they leave no slot to others, they keep half of the slots.
fn fitted(reserving: &[Caller], requests: u32) -> Box<[(Caller, u32)]> {
    let all: u64 = reserving.iter().map(|caller| u64::from(caller.terms().reserve)).sum();
    let fits = all < u64::from(requests);
    let own = |caller: &Caller| {
        let reserve = caller.terms().reserve;
        let part = u64::from(reserve) * u64::from(requests / 2) / all.max(1);
        if fits { reserve } else { part as u32 }
    };
    reserving.iter().map(|caller| (caller.clone(), own(caller))).filter(|(_, reserve)| *reserve > 0).collect()
}
