//! Which calls wait, and which are evicted when the queue is full.
//!
//! A caller's share of a limit is in proportion to its weight among the callers that wait, the new one included, and at
//! least one call. A call of a caller below its share replaces one of the caller that is furthest above its own, in
//! proportion to its weight. Evictions leave each caller at its share or above (in bytes, at most one call below),
//! leave it at least one call, and spare the calls that returned from a lock.
//!
//! With n waiters of c callers entering costs O(log n), and O(log n + c) for each evicted call.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    super::{Arrival, Caller, SlotRequest, queue::AGEING, waiter_signal::WaiterSignal},
    Limit, Limits,
};

/// All calls that wait.
#[derive(Debug, Default)]
pub(super) struct WaitingCalls {
    pub(super) count: usize,
    bytes: usize,
    /// The sum over all callers.
    weight: u64,
    callers: HashMap<Caller, CallerCalls>,
    /// How many calls have entered, so that each has its own number.
    entered: u64,
}

/// The order in which a caller's calls would be served if they waited in one queue. The greatest is evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EvictionKey {
    due: Instant,
    number: u64,
}

/// The waiting calls of one caller.
#[derive(Debug)]
struct CallerCalls {
    count: usize,
    bytes: usize,
    weight: NonZeroU32,
    evictable: BTreeMap<EvictionKey, WaitingCall>,
}

#[derive(Debug)]
struct WaitingCall {
    bytes: usize,
    signal: Arc<WaiterSignal>,
}

impl WaitingCalls {
    pub(super) fn admits(&mut self, request: &SlotRequest, limits: Limits) -> Result<(), Limit> {
        if request.arrival == Arrival::New {
            let removed = self.free_capacity(request, limits)?;
            self.put_back(removed);
        }
        Ok(())
    }

    /// Adds a call. Without a key it is never evicted.
    pub(super) fn enter(
        &mut self,
        request: &SlotRequest,
        limits: Limits,
        signal: &Arc<WaiterSignal>,
        now: Instant,
    ) -> Result<Option<EvictionKey>, Limit> {
        let mut key = None;
        if request.arrival == Arrival::New {
            for (.., call) in self.free_capacity(request, limits)? {
                call.signal.evict();
            }
            self.entered += 1;
            key = Some(EvictionKey { due: now + AGEING * u32::from(request.urgency.get()), number: self.entered });
        }
        self.set_weight(&request.caller);
        self.insert(&request.caller, key, WaitingCall { bytes: request.bytes, signal: Arc::clone(signal) });
        Ok(key)
    }

    pub(super) fn leave(&mut self, caller: &Caller, key: Option<EvictionKey>, bytes: usize) {
        let Some(own) = self.callers.get_mut(caller) else { return };
        if let Some(key) = key {
            own.evictable.remove(&key);
        }
        own.count -= 1;
        own.bytes = own.bytes.saturating_sub(bytes);
        if own.count == 0 {
            self.weight -= u64::from(own.weight.get());
            self.callers.remove(caller);
        }
        self.count -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Removes the calls that have to go for this one, or none if that is not enough.
    fn free_capacity(
        &mut self,
        request: &SlotRequest,
        limits: Limits,
    ) -> Result<Vec<(Caller, EvictionKey, WaitingCall)>, Limit> {
        let own = self.callers.get(&request.caller);
        let weights = self.weight - own.map_or(0, |own| u64::from(own.weight.get()));
        let weights = weights + u64::from(request.caller.weight().get());
        let own_is_full = own.map_or(0, |own| own.count) >= limits.calls_per_caller;
        let mut removed = Vec::new();
        while let Some(limit) = self.exceeded(request, limits) {
            let shares = Shares { limit, limits, weights };
            let entitled = !own_is_full && shares.entitles(request, self.callers.get(&request.caller));
            let furthest = if entitled { shares.furthest_above(&self.callers) } else { None };
            let Some(call) = furthest.and_then(|caller| self.remove_last(caller)) else {
                self.put_back(removed);
                return Err(limit);
            };
            removed.push(call);
        }
        if own_is_full { Err(Limit::CallsPerCaller) } else { Ok(removed) }
    }

    /// The limit that one more call would exceed.
    fn exceeded(&self, request: &SlotRequest, limits: Limits) -> Option<Limit> {
        if self.count >= limits.calls {
            return Some(Limit::Calls);
        }
        (self.bytes.saturating_add(request.bytes) > limits.bytes).then_some(Limit::Bytes)
    }

    fn remove_last(&mut self, caller: Caller) -> Option<(Caller, EvictionKey, WaitingCall)> {
        let (key, call) = self.callers.get_mut(&caller)?.evictable.pop_last()?;
        self.leave(&caller, None, call.bytes);
        Some((caller, key, call))
    }

    fn put_back(&mut self, removed: Vec<(Caller, EvictionKey, WaitingCall)>) {
        for (caller, key, call) in removed {
            self.insert(&caller, Some(key), call);
        }
    }

    /// As in the queues, the weight of the newest call counts.
    fn set_weight(&mut self, caller: &Caller) {
        if let Some(own) = self.callers.get_mut(caller) {
            self.weight -= u64::from(own.weight.get());
            own.weight = caller.weight();
            self.weight += u64::from(own.weight.get());
        }
    }

    fn insert(&mut self, caller: &Caller, key: Option<EvictionKey>, call: WaitingCall) {
        let own = self.callers.entry(caller.clone()).or_insert_with(|| {
            self.weight += u64::from(caller.weight().get());
            CallerCalls { count: 0, bytes: 0, weight: caller.weight(), evictable: BTreeMap::new() }
        });
        own.count += 1;
        own.bytes = own.bytes.saturating_add(call.bytes);
        self.count += 1;
        self.bytes = self.bytes.saturating_add(call.bytes);
        if let Some(key) = key {
            own.evictable.insert(key, call);
        }
    }
}

/// The callers' shares of a limit that is reached.
struct Shares {
    limit: Limit,
    limits: Limits,
    /// The sum over all callers that wait and the new one.
    weights: u64,
}

impl Shares {
    /// Whether the new call is within its caller's share.
    fn entitles(&self, request: &SlotRequest, own: Option<&CallerCalls>) -> bool {
        let used = own.map_or(0, |own| self.used(own));
        used + self.units(1, request.bytes) <= self.share(request.caller.weight())
    }

    fn furthest_above(&self, callers: &HashMap<Caller, CallerCalls>) -> Option<Caller> {
        let above = callers.iter().filter(|(_, own)| {
            let spare = own.count > 1 && !own.evictable.is_empty();
            spare && self.used(own) > self.share(own.weight)
        });
        // Compares used/weight without fractions.
        let cross = |one: &CallerCalls, other: &CallerCalls| self.used(one) * u128::from(other.weight.get());
        above.max_by(|(_, one), (_, other)| cross(one, other).cmp(&cross(other, one))).map(|(caller, _)| caller.clone())
    }

    fn used(&self, own: &CallerCalls) -> u128 {
        self.units(own.count, own.bytes)
    }

    fn share(&self, weight: NonZeroU32) -> u128 {
        let all = self.units(self.limits.calls, self.limits.bytes);
        (all * u128::from(weight.get()) / u128::from(self.weights.max(1))).max(1)
    }

    /// What the limit counts: calls or bytes.
    fn units(&self, calls: usize, bytes: usize) -> u128 {
        (if self.limit == Limit::Bytes { bytes } else { calls }) as u128
    }
}

#[cfg(test)]
mod tests;
