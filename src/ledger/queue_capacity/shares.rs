//! Who sits in the room, and who has to go when it is full.
//!
//! A caller's share of a limit is its weight's part among the callers that are inside, the newcomer included, and at
//! least one call. Who is below it takes a seat from whoever is furthest above, in proportion to its weight. Nobody is
//! brought below its share (in bytes, by less than one call), nobody loses its only call, and who came back from a lock
//! keeps its seat.
//!
//! With n waiters of c callers entering costs O(log n), and O(log n + c) for each one that has to go.

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

/// Everybody in the room.
#[derive(Debug, Default)]
pub(super) struct Inside {
    calls: usize,
    bytes: usize,
    /// Of all callers inside.
    weight: u64,
    callers: HashMap<Caller, Own>,
    entered: u64,
}

/// When a call is served among its caller's own, if they wait in one line: the greatest goes first when one has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    due: Instant,
    number: u64,
}

/// One caller's calls.
#[derive(Debug)]
struct Own {
    calls: usize,
    bytes: usize,
    weight: NonZeroU32,
    /// Those that may have to go.
    lent: BTreeMap<Turn, Occupied>,
}

#[derive(Debug)]
struct Occupied {
    bytes: usize,
    signal: Arc<WaiterSignal>,
}

impl Inside {
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    pub(super) fn admits(&mut self, request: &SlotRequest, limits: Limits) -> Result<(), Limit> {
        if request.arrival == Arrival::New {
            let gone = self.make_room(request, limits)?;
            self.put_back(gone);
        }
        Ok(())
    }

    /// Lets it in. `None`: it does not have to go for anybody.
    pub(super) fn enter(
        &mut self,
        request: &SlotRequest,
        limits: Limits,
        signal: &Arc<WaiterSignal>,
        now: Instant,
    ) -> Result<Option<Turn>, Limit> {
        let mut turn = None;
        if request.arrival == Arrival::New {
            for (.., occupied) in self.make_room(request, limits)? {
                occupied.signal.turn_out();
            }
            self.entered += 1;
            turn = Some(Turn { due: now + AGEING * u32::from(request.urgency.get()), number: self.entered });
        }
        self.weigh(&request.caller);
        self.sit(&request.caller, turn, Occupied { bytes: request.bytes, signal: Arc::clone(signal) });
        Ok(turn)
    }

    pub(super) fn leave(&mut self, caller: &Caller, turn: Option<Turn>, bytes: usize) {
        let Some(own) = self.callers.get_mut(caller) else { return };
        if let Some(turn) = turn {
            own.lent.remove(&turn);
        }
        own.calls -= 1;
        own.bytes = own.bytes.saturating_sub(bytes);
        if own.calls == 0 {
            self.weight -= u64::from(own.weight.get());
            self.callers.remove(caller);
        }
        self.calls -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Takes out those who have to go, or nobody.
    fn make_room(&mut self, request: &SlotRequest, limits: Limits) -> Result<Vec<(Caller, Turn, Occupied)>, Limit> {
        let own = self.callers.get(&request.caller);
        let weights = self.weight - own.map_or(0, |own| u64::from(own.weight.get()));
        let weights = weights + u64::from(request.caller.weight().get());
        let own_is_full = own.map_or(0, |own| own.calls) >= limits.calls_per_caller;
        let mut gone = Vec::new();
        while let Some(limit) = self.passed(request, limits) {
            let measure = Measure { limit, limits, weights };
            let furthest = match measure.entitles(request, self.callers.get(&request.caller)) && !own_is_full {
                true => measure.furthest_above(&self.callers),
                false => None,
            };
            let Some((caller, turn, occupied)) = furthest.and_then(|caller| self.take_last(caller)) else {
                self.put_back(gone);
                return Err(limit);
            };
            gone.push((caller, turn, occupied));
        }
        if own_is_full { Err(Limit::CallsPerCaller) } else { Ok(gone) }
    }

    /// The limit that this one would pass.
    fn passed(&self, request: &SlotRequest, limits: Limits) -> Option<Limit> {
        if self.calls >= limits.calls {
            return Some(Limit::Calls);
        }
        (self.bytes.saturating_add(request.bytes) > limits.bytes).then_some(Limit::Bytes)
    }

    fn take_last(&mut self, caller: Caller) -> Option<(Caller, Turn, Occupied)> {
        let (turn, occupied) = self.callers.get_mut(&caller)?.lent.pop_last()?;
        self.leave(&caller, None, occupied.bytes);
        Some((caller, turn, occupied))
    }

    fn put_back(&mut self, gone: Vec<(Caller, Turn, Occupied)>) {
        for (caller, turn, occupied) in gone {
            self.sit(&caller, Some(turn), occupied);
        }
    }

    /// As in the queues, the weight is what the newest call says.
    fn weigh(&mut self, caller: &Caller) {
        if let Some(own) = self.callers.get_mut(caller) {
            self.weight -= u64::from(own.weight.get());
            own.weight = caller.weight();
            self.weight += u64::from(own.weight.get());
        }
    }

    fn sit(&mut self, caller: &Caller, turn: Option<Turn>, occupied: Occupied) {
        let own = self.callers.entry(caller.clone()).or_insert_with(|| {
            self.weight += u64::from(caller.weight().get());
            Own { calls: 0, bytes: 0, weight: caller.weight(), lent: BTreeMap::new() }
        });
        own.calls += 1;
        own.bytes = own.bytes.saturating_add(occupied.bytes);
        self.calls += 1;
        self.bytes = self.bytes.saturating_add(occupied.bytes);
        if let Some(turn) = turn {
            own.lent.insert(turn, occupied);
        }
    }
}

/// What a full room is measured in.
struct Measure {
    limit: Limit,
    limits: Limits,
    /// Of all callers inside and the newcomer.
    weights: u64,
}

impl Measure {
    /// Whether the newcomer is within its share.
    fn entitles(&self, request: &SlotRequest, own: Option<&Own>) -> bool {
        let used = own.map_or(0, |own| self.used(own));
        let more = if self.limit == Limit::Bytes { request.bytes as u128 } else { 1 };
        used + more <= self.share(request.caller.weight())
    }

    fn furthest_above(&self, callers: &HashMap<Caller, Own>) -> Option<Caller> {
        let above = callers.iter().filter(|(_, own)| {
            let spare = own.calls > 1 && !own.lent.is_empty();
            spare && self.used(own) > self.share(own.weight)
        });
        // The greater used/weight, without the fractions.
        let cross = |one: &Own, other: &Own| self.used(one) * u128::from(other.weight.get());
        above.max_by(|(_, one), (_, other)| cross(one, other).cmp(&cross(other, one))).map(|(caller, _)| caller.clone())
    }

    fn used(&self, own: &Own) -> u128 {
        (if self.limit == Limit::Bytes { own.bytes } else { own.calls }) as u128
    }

    fn share(&self, weight: NonZeroU32) -> u128 {
        let all = if self.limit == Limit::Bytes { self.limits.bytes } else { self.limits.calls };
        let share = all as u128 * u128::from(weight.get()) / u128::from(self.weights.max(1));
        share.max(1)
    }
}

#[cfg(test)]
mod tests;
