use proptest::prelude::*;

use super::*;
use crate::{ledger::Urgency, os::clock};

fn caller(name: &str, weight: u32) -> Caller {
    Caller::new(name, NonZeroU32::new(weight).unwrap())
}

fn request(caller: &Caller, bytes: usize) -> SlotRequest {
    SlotRequest { caller: caller.clone(), bytes, ..SlotRequest::plain(clock::now()) }
}

/// The waiting calls, and the signals of all calls that entered, in order.
struct Trial {
    calls: WaitingCalls,
    limits: Limits,
    signals: Vec<Arc<WaiterSignal>>,
}

impl Trial {
    fn new(limits: Limits) -> Self {
        Self { calls: WaitingCalls::default(), limits, signals: Vec::new() }
    }

    fn enter(&mut self, request: &SlotRequest) -> Result<Option<EvictionKey>, Limit> {
        let expected = self.calls.admits(request, self.limits);
        let signal = Arc::new(WaiterSignal::default());
        let entered = self.calls.enter(request, self.limits, &signal, clock::now());
        assert_eq!(expected, entered.map(|_| ()), "`admits` agrees with `enter`");
        self.signals.push(signal);
        entered
    }

    /// The numbers of the evicted calls.
    fn evicted(&self) -> Vec<usize> {
        let evicted = |(number, signal): (usize, &Arc<WaiterSignal>)| signal.is_evicted().then_some(number);
        self.signals.iter().enumerate().filter_map(evicted).collect()
    }
}

#[test]
fn lent_shares_are_taken_back_from_the_last_call_on() {
    let (one, three) = (caller("one", 1), caller("three", 3));
    let mut trial = Trial::new(Limits::calls(8));
    for _ in 0..8 {
        trial.enter(&request(&one, 0)).unwrap();
    }
    assert_eq!(trial.enter(&request(&one, 0)), Err(Limit::Calls));
    for _ in 0..6 {
        trial.enter(&request(&three, 0)).unwrap();
    }
    assert_eq!(trial.evicted(), [2, 3, 4, 5, 6, 7], "the newest, one by one");
    // Six of eight are its share.
    assert_eq!(trial.enter(&request(&three, 0)), Err(Limit::Calls));
    assert_eq!((trial.enter(&request(&one, 0)), trial.calls.count), (Err(Limit::Calls), 8));
}

/// Shares are 6, 3 and 3. The heavy caller has more calls, but is less far above its share in proportion to its weight.
#[test]
fn the_caller_furthest_above_its_share_loses_calls() {
    let (heavy, light, new) = (caller("heavy", 2), caller("light", 1), caller("new", 1));
    let mut trial = Trial::new(Limits::calls(12));
    for _ in 0..7 {
        trial.enter(&request(&heavy, 0)).unwrap();
    }
    for _ in 0..5 {
        trial.enter(&request(&light, 0)).unwrap();
    }
    for evicted in [&[11][..], &[10, 11], &[6, 10, 11]] {
        trial.enter(&request(&new, 0)).unwrap();
        assert_eq!(trial.evicted(), evicted);
    }
    for caller in [heavy, light, new] {
        assert_eq!(trial.enter(&request(&caller, 0)), Err(Limit::Calls));
    }
}

#[test]
fn background_calls_are_evicted_before_later_urgent_ones() {
    let (one, other) = (caller("one", 1), caller("other", 1));
    let mut trial = Trial::new(Limits::calls(3));
    for urgency in [3, 7, 0] {
        trial.enter(&SlotRequest { urgency: Urgency::new(urgency).unwrap(), ..request(&one, 0) }).unwrap();
    }
    trial.enter(&request(&other, 0)).unwrap();
    assert_eq!(trial.evicted(), [1]);
}

#[test]
fn requeued_calls_are_never_evicted() {
    let (one, other) = (caller("one", 1), caller("other", 1));
    let mut trial = Trial::new(Limits::calls(2));
    for _ in 0..3 {
        let back = SlotRequest { arrival: Arrival::Requeued, ..request(&one, 0) };
        assert_eq!(trial.enter(&back), Ok(None));
    }
    assert_eq!((trial.enter(&request(&other, 0)), trial.evicted()), (Err(Limit::Calls), vec![]));
}

#[test]
fn bytes_are_shared_too() {
    let (one, other) = (caller("one", 1), caller("other", 1));
    let mut trial = Trial::new(Limits { calls: 100, bytes: 100, calls_per_caller: 100 });
    for _ in 0..9 {
        trial.enter(&request(&one, 10)).unwrap();
    }
    assert_eq!(trial.enter(&request(&other, 51)), Err(Limit::Bytes), "more than its half");
    assert!(trial.evicted().is_empty());
    trial.enter(&request(&other, 35)).unwrap();
    assert_eq!((trial.evicted(), trial.calls.bytes), (vec![6, 7, 8], 95));
}

/// The new call is within its third, but the calls that can be evicted are not enough.
#[test]
fn no_call_is_evicted_in_vain() {
    let (one, other, new) = (caller("one", 1), caller("other", 1), caller("new", 1));
    let mut trial = Trial::new(Limits { calls: 100, bytes: 100, calls_per_caller: 100 });
    trial.enter(&request(&one, 40)).unwrap();
    trial.enter(&request(&one, 10)).unwrap();
    trial.enter(&request(&other, 45)).unwrap();
    assert_eq!(trial.enter(&request(&new, 30)), Err(Limit::Bytes));
    assert!(trial.evicted().is_empty());
    assert_eq!((trial.calls.bytes, trial.calls.callers[&one].evictable.len()), (95, 2));
}

#[test]
fn a_caller_keeps_one_call_and_its_own_limit() {
    let (one, other) = (caller("one", 1), caller("other", 1000));
    let mut trial = Trial::new(Limits { calls: 3, bytes: usize::MAX, calls_per_caller: 2 });
    trial.enter(&request(&one, 0)).unwrap();
    trial.enter(&request(&one, 0)).unwrap();
    trial.enter(&request(&other, 0)).unwrap();
    trial.enter(&request(&other, 0)).unwrap();
    assert_eq!(trial.evicted(), [1]);
    assert_eq!(trial.enter(&request(&other, 0)), Err(Limit::Calls), "two calls of this caller, and the queue is full");
    assert_eq!(trial.evicted(), [1]);
}

#[test]
fn the_newest_weight_counts_and_leaving_frees_everything() {
    let mut calls = WaitingCalls::default();
    let (signal, limits) = (Arc::new(WaiterSignal::default()), Limits::calls(9));
    let keys = [2, 5].map(|weight| {
        let key = calls.enter(&request(&caller("one", weight), 3), limits, &signal, clock::now()).unwrap();
        assert_eq!(calls.weight, u64::from(weight));
        key
    });
    for key in keys {
        calls.leave(&caller("one", 1), key, 3);
    }
    assert_eq!((calls.count, calls.bytes, calls.weight, calls.callers.len()), (0, 0, 0, 0));
}

proptest! {
    /// In any order of calls: the limit holds, a caller below its share gets in while another one is above, and
    /// evictions bring no caller below its share.
    #[test]
    fn shares_hold(moves in proptest::collection::vec((0_usize..4, any::<bool>(), 0_usize..100), 1..120), limit in 1_usize..12) {
        let callers = [caller("a", 1), caller("b", 1), caller("c", 2), caller("d", 7)];
        let mut trial = Trial::new(Limits::calls(limit));
        let mut waiting: Vec<(usize, Option<EvictionKey>, Arc<WaiterSignal>)> = Vec::new();
        for (who, comes, pick) in moves {
            if !comes {
                if !waiting.is_empty() {
                    let (who, key, _) = waiting.swap_remove(pick % waiting.len());
                    trial.calls.leave(&callers[who], key, 0);
                }
                continue;
            }
            let count = |who: usize| waiting.iter().filter(|(other, ..)| *other == who).count();
            let before: Vec<usize> = (0..callers.len()).map(count).collect();
            let there = |other: &usize| *other == who || before[*other] > 0;
            let weights: u32 = (0..callers.len()).filter(there).map(|other| callers[other].weight().get()).sum();
            let share = |who: usize| (limit * callers[who].weight().get() as usize / weights as usize).max(1);
            let full = waiting.len() >= limit;
            let another_is_above = (0..callers.len()).any(|other| before[other] > share(other));
            let entered = trial.enter(&request(&callers[who], 0));
            prop_assert_eq!(entered.is_ok(), !full || (before[who] < share(who) && another_is_above));
            if let Ok(key) = entered {
                waiting.push((who, key, Arc::clone(trial.signals.last().unwrap())));
            }
            waiting.retain(|(.., signal)| !signal.is_evicted());
            prop_assert_eq!(waiting.len(), trial.calls.count);
            prop_assert!(waiting.len() <= limit);
            for other in (0..callers.len()).filter(|other| *other != who) {
                let now = waiting.iter().filter(|(owner, ..)| *owner == other).count();
                prop_assert!(now == before[other] || now + 1 == before[other] && before[other] > share(other));
            }
        }
    }
}
