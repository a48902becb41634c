use proptest::prelude::*;

use super::*;
use crate::{ledger::Urgency, os::clock};

fn caller(name: &str, weight: u32) -> Caller {
    Caller::new(name, NonZeroU32::new(weight).unwrap())
}

fn request(caller: &Caller, bytes: usize) -> SlotRequest {
    SlotRequest { caller: caller.clone(), bytes, ..SlotRequest::plain(clock::now()) }
}

/// A room and everybody who entered it, in their order.
struct Trial {
    inside: Inside,
    limits: Limits,
    bells: Vec<Arc<WaiterSignal>>,
}

impl Trial {
    fn new(limits: Limits) -> Self {
        Self { inside: Inside::default(), limits, bells: Vec::new() }
    }

    fn enter(&mut self, request: &SlotRequest) -> Result<Option<Turn>, Limit> {
        let foretold = self.inside.admits(request, self.limits);
        let signal = Arc::new(WaiterSignal::default());
        let entered = self.inside.enter(request, self.limits, &signal, clock::now());
        assert_eq!(foretold, entered.map(|_| ()), "what is foretold comes true");
        self.bells.push(signal);
        entered
    }

    /// The numbers of those who had to go.
    fn gone(&self) -> Vec<usize> {
        let gone = |(number, signal): (usize, &Arc<WaiterSignal>)| signal.is_turned_out().then_some(number);
        self.bells.iter().enumerate().filter_map(gone).collect()
    }
}

#[test]
fn what_nobody_needs_is_lent_and_given_back_from_the_last_on() {
    let (one, three) = (caller("one", 1), caller("three", 3));
    let mut room = Trial::new(Limits::calls(8));
    for _ in 0..8 {
        room.enter(&request(&one, 0)).unwrap();
    }
    assert_eq!(room.enter(&request(&one, 0)), Err(Limit::Calls));
    for _ in 0..6 {
        room.enter(&request(&three, 0)).unwrap();
    }
    assert_eq!(room.gone(), [2, 3, 4, 5, 6, 7], "the youngest, one by one");
    // Six of eight are its share.
    assert_eq!(room.enter(&request(&three, 0)), Err(Limit::Calls));
    assert_eq!((room.enter(&request(&one, 0)), room.inside.calls()), (Err(Limit::Calls), 8));
}

/// Shares are 6, 3 and 3. The heavy one has more calls, and more beyond its share, but less for its weight.
#[test]
fn the_one_who_is_furthest_above_its_share_gives_way() {
    let (heavy, light, new) = (caller("heavy", 2), caller("light", 1), caller("new", 1));
    let mut room = Trial::new(Limits::calls(12));
    for _ in 0..7 {
        room.enter(&request(&heavy, 0)).unwrap();
    }
    for _ in 0..5 {
        room.enter(&request(&light, 0)).unwrap();
    }
    for gone in [&[11][..], &[10, 11], &[6, 10, 11]] {
        room.enter(&request(&new, 0)).unwrap();
        assert_eq!(room.gone(), gone);
    }
    for everybody in [heavy, light, new] {
        assert_eq!(room.enter(&request(&everybody, 0)), Err(Limit::Calls));
    }
}

#[test]
fn background_calls_go_before_urgent_ones_that_came_later() {
    let (one, other) = (caller("one", 1), caller("other", 1));
    let mut room = Trial::new(Limits::calls(3));
    for urgency in [3, 7, 0] {
        room.enter(&SlotRequest { urgency: Urgency::new(urgency).unwrap(), ..request(&one, 0) }).unwrap();
    }
    room.enter(&request(&other, 0)).unwrap();
    assert_eq!(room.gone(), [1]);
}

#[test]
fn who_came_back_from_a_lock_keeps_its_seat() {
    let (one, other) = (caller("one", 1), caller("other", 1));
    let mut room = Trial::new(Limits::calls(2));
    for _ in 0..3 {
        let back = SlotRequest { arrival: Arrival::Requeued, ..request(&one, 0) };
        assert_eq!(room.enter(&back), Ok(None));
    }
    assert_eq!((room.enter(&request(&other, 0)), room.gone()), (Err(Limit::Calls), vec![]));
}

#[test]
fn bytes_are_shared_too() {
    let (one, other) = (caller("one", 1), caller("other", 1));
    let mut room = Trial::new(Limits { calls: 100, bytes: 100, calls_per_caller: 100 });
    for _ in 0..9 {
        room.enter(&request(&one, 10)).unwrap();
    }
    assert_eq!(room.enter(&request(&other, 51)), Err(Limit::Bytes), "more than its half");
    assert!(room.gone().is_empty());
    room.enter(&request(&other, 35)).unwrap();
    assert_eq!((room.gone(), room.inside.bytes), (vec![6, 7, 8], 95));
}

/// The newcomer is within its third, but what can be given up is not enough.
#[test]
fn nobody_goes_in_vain() {
    let (one, other, new) = (caller("one", 1), caller("other", 1), caller("new", 1));
    let mut room = Trial::new(Limits { calls: 100, bytes: 100, calls_per_caller: 100 });
    room.enter(&request(&one, 40)).unwrap();
    room.enter(&request(&one, 10)).unwrap();
    room.enter(&request(&other, 45)).unwrap();
    assert_eq!(room.enter(&request(&new, 30)), Err(Limit::Bytes));
    assert!(room.gone().is_empty());
    assert_eq!((room.inside.bytes, room.inside.callers[&one].lent.len()), (95, 2));
}

#[test]
fn a_caller_keeps_one_call_and_its_own_limit() {
    let (one, other) = (caller("one", 1), caller("other", 1000));
    let mut room = Trial::new(Limits { calls: 3, bytes: usize::MAX, calls_per_caller: 2 });
    room.enter(&request(&one, 0)).unwrap();
    room.enter(&request(&one, 0)).unwrap();
    room.enter(&request(&other, 0)).unwrap();
    room.enter(&request(&other, 0)).unwrap();
    assert_eq!(room.gone(), [1]);
    assert_eq!(room.enter(&request(&other, 0)), Err(Limit::Calls), "two of one caller, and the room is full");
    assert_eq!(room.gone(), [1]);
}

#[test]
fn the_newest_weight_counts_and_nothing_is_left_of_those_who_left() {
    let mut inside = Inside::default();
    let (signal, limits) = (Arc::new(WaiterSignal::default()), Limits::calls(9));
    let turns = [2, 5].map(|weight| {
        let turn = inside.enter(&request(&caller("one", weight), 3), limits, &signal, clock::now()).unwrap();
        assert_eq!(inside.weight, u64::from(weight));
        turn
    });
    for turn in turns {
        inside.leave(&caller("one", 1), turn, 3);
    }
    assert_eq!((inside.calls, inside.bytes, inside.weight, inside.callers.len()), (0, 0, 0, 0));
}

proptest! {
    /// Whatever comes and goes: the room holds no more than it may, who is below its share gets in as long as somebody is
    /// above, and nobody is brought below its share.
    #[test]
    fn shares_hold(moves in proptest::collection::vec((0_usize..4, any::<bool>(), 0_usize..100), 1..120), limit in 1_usize..12) {
        let callers = [caller("a", 1), caller("b", 1), caller("c", 2), caller("d", 7)];
        let mut room = Trial::new(Limits::calls(limit));
        let mut seats: Vec<(usize, Option<Turn>, Arc<WaiterSignal>)> = Vec::new();
        for (who, comes, pick) in moves {
            if !comes {
                if !seats.is_empty() {
                    let (who, turn, _) = seats.swap_remove(pick % seats.len());
                    room.inside.leave(&callers[who], turn, 0);
                }
                continue;
            }
            let count = |who: usize| seats.iter().filter(|(other, ..)| *other == who).count();
            let before: Vec<usize> = (0..callers.len()).map(count).collect();
            let there = |other: &usize| *other == who || before[*other] > 0;
            let weights: u32 = (0..callers.len()).filter(there).map(|other| callers[other].weight().get()).sum();
            let share = |who: usize| (limit * callers[who].weight().get() as usize / weights as usize).max(1);
            let full = seats.len() >= limit;
            let somebody_is_above = (0..callers.len()).any(|other| before[other] > share(other));
            let entered = room.enter(&request(&callers[who], 0));
            prop_assert_eq!(entered.is_ok(), !full || (before[who] < share(who) && somebody_is_above));
            if let Ok(turn) = entered {
                seats.push((who, turn, Arc::clone(room.bells.last().unwrap())));
            }
            seats.retain(|(.., signal)| !signal.is_turned_out());
            prop_assert_eq!(seats.len(), room.inside.calls());
            prop_assert!(seats.len() <= limit);
            for other in (0..callers.len()).filter(|other| *other != who) {
                let now = seats.iter().filter(|(owner, ..)| *owner == other).count();
                prop_assert!(now == before[other] || now + 1 == before[other] && before[other] > share(other));
            }
        }
    }
}
