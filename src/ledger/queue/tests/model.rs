//! Compares the queue with a simple model: a list of waiters, whose order is found by serving a copy of it.

use std::{collections::BTreeMap, time::Duration};

use proptest::{collection::vec, prelude::*};
use tokio::time::Instant;

use super::{caller, urgency};
use crate::{
    ledger::{
        Arrival,
        queue::{Queue, Ticket},
    },
    os::clock,
};

const WEIGHTS: [u32; 5] = [1, 1, 2, 5, 1000];

/// One operation on the queue.
#[derive(Debug, Clone)]
enum Step {
    Join { caller: usize, weight: Option<u32>, arrival: Arrival, urgency: u8 },
    Serve,
    Leave { index: usize },
    Later { milliseconds: u64 },
}

#[derive(Debug, Clone)]
struct Waiting {
    number: usize,
    caller: usize,
    arrival: Arrival,
    urgency: u8,
    joined_at: Instant,
}

/// A caller's tag, and when it last began to wait.
#[derive(Debug, Clone, Copy)]
struct CallerState {
    tag: u128,
    weight: u32,
    since: usize,
}

#[derive(Debug, Clone, Default)]
struct Model {
    waiting: Vec<Waiting>,
    callers: BTreeMap<usize, CallerState>,
    virtual_time: u128,
}

impl Model {
    fn join(&mut self, waiting: Waiting, weight: u32) {
        if waiting.arrival == Arrival::New {
            let begins = !self.waits(waiting.caller);
            let new = CallerState { tag: self.virtual_time, weight, since: waiting.number };
            let state = self.callers.entry(waiting.caller).or_insert(new);
            state.weight = weight;
            if begins {
                state.tag = state.tag.max(self.virtual_time);
                state.since = waiting.number;
            }
        }
        self.waiting.push(waiting);
    }

    fn head(&self) -> Option<&Waiting> {
        if let Some(front) = self.waiting.iter().find(|waiting| waiting.arrival == Arrival::Requeued) {
            return Some(front);
        }
        let callers = self.callers.iter().filter(|(caller, _)| self.waits(**caller));
        let (caller, _) = callers.min_by_key(|(_, state)| (state.tag, state.since))?;
        let due = |waiting: &&Waiting| {
            let handicap = Duration::from_secs(5) * u32::from(waiting.urgency);
            (waiting.joined_at + handicap, waiting.urgency, waiting.number)
        };
        self.waiting.iter().filter(|waiting| waiting.caller == *caller).min_by_key(due)
    }

    fn serve(&mut self) -> Option<usize> {
        let head = self.head()?.clone();
        if head.arrival == Arrival::New {
            let state = self.callers.get_mut(&head.caller).unwrap();
            self.virtual_time = state.tag;
            state.tag += (1 << 32) / u128::from(state.weight);
        }
        self.leave(head.number);
        Some(head.number)
    }

    fn leave(&mut self, number: usize) {
        self.waiting.retain(|waiting| waiting.number != number);
        if self.waiting.is_empty() {
            *self = Self::default();
        }
    }

    fn order(&self) -> Vec<usize> {
        let mut model = self.clone();
        std::iter::from_fn(|| model.serve()).collect()
    }

    fn waits(&self, caller: usize) -> bool {
        self.waiting.iter().any(|waiting| waiting.caller == caller && waiting.arrival == Arrival::New)
    }
}

fn step() -> impl Strategy<Value = Step> {
    let arrival = prop_oneof![9 => Just(Arrival::New), 1 => Just(Arrival::Requeued)];
    let weight = prop_oneof![9 => Just(None), 1 => (1_u32..7).prop_map(Some)];
    let urgency = prop_oneof![Just(3_u8), 0_u8..8];
    let join = (0..WEIGHTS.len(), weight, arrival, urgency).prop_map(|(caller, weight, arrival, urgency)| Step::Join {
        caller,
        weight,
        arrival,
        urgency,
    });
    prop_oneof![
        5 => join,
        2 => Just(Step::Serve),
        2 => any::<prop::sample::Index>().prop_map(|index| Step::Leave { index: index.index(1 << 16) }),
        // Also whole steps of ageing, so that different urgencies are due at the same time.
        2 => prop_oneof![0_u64..9000, Just(5000), Just(10_000)].prop_map(|milliseconds| Step::Later { milliseconds }),
    ]
}

/// Applies the steps to both and compares all their properties after each step.
fn compare(steps: Vec<Step>) {
    let (mut queue, mut model) = (Queue::new(), Model::default());
    let (mut now, mut tickets): (_, Vec<Ticket>) = (clock::now(), Vec::new());
    for step in steps {
        match step {
            Step::Join { caller: index, weight, arrival, urgency: level } => {
                let caller = caller(&index.to_string(), weight.unwrap_or(WEIGHTS[index]));
                let number = tickets.len();
                let before = model.order();
                let waiting = Waiting { number, caller: index, arrival, urgency: level, joined_at: now };
                model.join(waiting, caller.weight().get());
                let after = model.order();
                let ahead = after.iter().position(|other| *other == number).unwrap();

                let joined = queue.join(&caller, arrival, urgency(level), now, number);
                tickets.push(joined.ticket);
                assert_eq!(queue.ahead_of(joined.ticket), ahead);
                let later = |number| {
                    let index = |order: &[usize]| order.iter().position(|other| other == number);
                    index(&after) > index(&before)
                };
                assert!(joined.delays || !before.iter().any(later), "delays a waiter without reporting it");
            }
            Step::Serve => {
                let served = queue.head().and_then(|head| queue.serve(head));
                assert_eq!(served, model.serve());
            }
            Step::Leave { index } => {
                if let Some(waiting) = model.waiting.get(index % model.waiting.len().max(1)) {
                    let number = waiting.number;
                    assert_eq!(queue.leave(tickets[number]), Some(number));
                    assert_eq!(queue.leave(tickets[number]), None);
                    model.leave(number);
                }
            }
            Step::Later { milliseconds } => now += Duration::from_millis(milliseconds),
        }
        let order = model.order();
        assert_eq!(queue.len(), order.len());
        assert_eq!(queue.is_empty(), order.is_empty());
        assert_eq!(queue.head(), order.first().map(|number| tickets[*number]));
        assert_eq!(queue.in_order().map(|(_, number)| *number).collect::<Vec<_>>(), order);
        for (ahead, (ticket, number)) in queue.in_order().enumerate() {
            assert_eq!(ticket, tickets[*number]);
            assert_eq!(queue.get(ticket), Some(number));
            assert_eq!(queue.ahead_of(ticket), ahead);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model(steps in vec(step(), 1..80)) {
        compare(steps);
    }
}
