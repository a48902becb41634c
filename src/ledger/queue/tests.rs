//! The promises of the order, one by one. `model` compares the whole queue with a simple implementation.

mod model;

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use super::*;
use crate::os::clock;

pub(super) fn caller(name: &str, weight: u32) -> Caller {
    Caller::new(name, NonZeroU32::new(weight).unwrap())
}

pub(super) fn urgency(urgency: u8) -> Urgency {
    Urgency::new(urgency).unwrap()
}

/// A queue of labels with a clock that the test moves.
struct Labels {
    queue: Queue<String>,
    now: Instant,
}

impl Labels {
    fn new() -> Self {
        Self { queue: Queue::new(), now: clock::now() }
    }

    fn later(&mut self, by: Duration) {
        self.now += by;
    }

    fn join(&mut self, caller: &Caller, label: &str) -> Ticket {
        self.join_with(caller, 3, label)
    }

    fn join_with(&mut self, caller: &Caller, level: u8, label: &str) -> Ticket {
        self.queue.join(caller, Arrival::New, urgency(level), self.now, label.to_owned()).ticket
    }

    fn requeue(&mut self, caller: &Caller, label: &str) -> Ticket {
        self.queue.join(caller, Arrival::Requeued, Urgency::default(), self.now, label.to_owned()).ticket
    }

    fn serve(&mut self) -> String {
        let head = self.queue.head().unwrap();
        self.queue.serve(head).unwrap()
    }

    fn order(&self) -> String {
        self.queue.in_order().map(|(_, label)| label.as_str()).collect()
    }

    fn ahead_of_new(&mut self, caller: &Caller) -> usize {
        let ticket = self.join(caller, "new");
        let ahead = self.queue.ahead_of(ticket);
        self.queue.leave(ticket);
        ahead
    }
}

#[test]
fn first_come_first_served_among_equals() {
    let mut labels = Labels::new();
    for label in ["a", "b", "c"] {
        labels.join(&Caller::anonymous(), label);
    }
    labels.later(Duration::from_millis(1));
    labels.join(&Caller::anonymous(), "d");
    assert_eq!(labels.order(), "abcd");
}

#[test]
fn callers_take_turns() {
    let (one, other) = (caller("one", 1), caller("other", 1));
    let mut labels = Labels::new();
    for label in ["a", "b", "c"] {
        labels.join(&one, label);
    }
    labels.join(&other, "x");
    labels.join(&other, "y");
    assert_eq!(labels.order(), "axbyc");
}

#[test]
fn requeued_calls_go_first_and_use_no_turn() {
    let (one, other) = (caller("one", 1), caller("other", 1));
    let mut labels = Labels::new();
    labels.join(&one, "a");
    labels.join(&other, "b");
    labels.requeue(&one, "x");
    labels.requeue(&one, "y");
    assert_eq!(labels.order(), "xyab");
    assert_eq!(labels.serve(), "x");
    assert_eq!(labels.serve(), "y");
    assert_eq!(labels.serve(), "a");
}

#[test]
fn each_caller_gets_its_share_while_all_wait() {
    let callers = [caller("one", 1), caller("two", 2), caller("five", 5)];
    let mut labels = Labels::new();
    for caller in &callers {
        for _ in 0..800 {
            labels.join(caller, caller.name());
        }
    }
    let mut served = [0_u32; 3];
    for turn in 1..=800 {
        let name = labels.serve();
        let index = callers.iter().position(|caller| caller.name() == name).unwrap();
        served[index] += 1;
        for (caller, served) in callers.iter().zip(served) {
            let share = f64::from(turn * caller.weight().get()) / 8.0;
            assert!((f64::from(served) - share).abs() <= 2.0, "{} had {served} of {turn}", caller.name());
        }
    }
}

#[test]
fn one_call_at_a_time_gets_its_share_and_no_more() {
    for (weight, share) in [(1, 500), (3, 750)] {
        let (one, many) = (caller("one", weight), caller("many", 1));
        let mut labels = Labels::new();
        for _ in 0..1000 {
            labels.join(&many, "many");
        }
        labels.join(&one, "one");
        let mut served = 0;
        for _ in 0..1000 {
            if labels.serve() == "one" {
                served += 1;
                // It sends its next call after the answer to the last one.
                labels.join(&one, "one");
            }
        }
        assert!(served <= share + 1 && served >= share / 2, "weight {weight} had {served} of 1000");
    }
}

/// While it waits for the answer, the others are served, and it gets no extra turns for that time.
#[test]
fn an_absent_caller_saves_up_no_turns() {
    let (one, many) = (caller("one", 1), caller("many", 1));
    let mut labels = Labels::new();
    for _ in 0..100 {
        labels.join(&many, "m");
    }
    labels.join(&one, "o");
    while labels.serve() != "o" {}
    for _ in 0..50 {
        labels.serve();
    }
    for _ in 0..5 {
        labels.join(&one, "o");
    }
    let order = labels.order();
    assert!(order.starts_with("omomomomom") || order.starts_with("momomomomo"), "{order}");
}

#[test]
fn a_flood_delays_others_by_one_call_for_each_share() {
    for (weight, most) in [(1, 1), (4, 4)] {
        let (flood, other) = (caller("flood", weight), caller("other", 1));
        let mut labels = Labels::new();
        for _ in 0..10_000 {
            labels.join(&flood, "f");
        }
        for _ in 0..20 {
            assert!(labels.ahead_of_new(&other) <= most);
            let first = labels.join(&other, "o");
            let second = labels.join(&other, "o");
            assert!(labels.queue.ahead_of(first) <= most);
            assert!(labels.queue.ahead_of(second) <= 2 * most + 1);
            labels.queue.leave(first);
            labels.queue.leave(second);
            labels.serve();
        }
    }
}

#[test]
fn urgent_calls_go_first_and_waiting_counts() {
    let mut labels = Labels::new();
    let anonymous = Caller::anonymous();
    labels.join_with(&anonymous, 7, "g");
    labels.join_with(&anonymous, 3, "d");
    labels.join_with(&anonymous, 0, "a");
    assert_eq!(labels.order(), "adg");
    // At 35 s the background call and a new urgent one are due at the same time; the urgent one goes first, for the
    // last time.
    labels.later(Duration::from_secs(35));
    labels.join_with(&anonymous, 0, "b");
    labels.later(Duration::from_millis(1));
    labels.join_with(&anonymous, 0, "c");
    assert_eq!(labels.order(), "adbgc");
}

#[test]
fn a_background_call_is_served_despite_endless_urgent_ones() {
    let mut labels = Labels::new();
    let anonymous = Caller::anonymous();
    labels.join_with(&anonymous, 7, "background");
    labels.join_with(&anonymous, 0, "urgent");
    let mut seconds = 0;
    loop {
        // For each call that is served, a new one comes.
        labels.join_with(&anonymous, 0, "urgent");
        if labels.serve() == "background" {
            break;
        }
        labels.later(Duration::from_secs(1));
        seconds += 1;
        assert!(seconds <= 40, "starved");
    }
    assert!(seconds >= 35, "{seconds}");
}

#[test]
fn leaving_gives_no_turn_away() {
    let (one, other) = (caller("one", 1), caller("other", 1));
    let mut labels = Labels::new();
    let first = labels.join(&one, "a");
    labels.join(&one, "b");
    labels.join(&other, "x");
    labels.join(&other, "y");
    assert_eq!(labels.queue.leave(first).unwrap(), "a");
    assert_eq!(labels.order(), "bxy");
}

#[test]
fn joining_and_leaving_does_not_reset_used_turns() {
    let (one, many) = (caller("one", 1), caller("many", 1));
    let mut labels = Labels::new();
    labels.join(&one, "a");
    for label in ["m", "n"] {
        labels.join(&many, label);
    }
    assert_eq!(labels.serve(), "a");
    let second = labels.join(&one, "b");
    labels.queue.leave(second);
    labels.join(&one, "c");
    assert_eq!(labels.order(), "mnc", "it had a turn, and the other had none");
}

#[test]
fn the_newest_weight_counts() {
    let other = caller("other", 1);
    let mut labels = Labels::new();
    for label in ["a", "b", "c"] {
        labels.join(&caller("one", 1), label);
    }
    for label in ["x", "y"] {
        labels.join(&other, label);
    }
    assert_eq!(labels.order(), "axbyc");
    let joined = labels.queue.join(&caller("one", 100), Arrival::New, Urgency::default(), labels.now, "d".to_owned());
    assert!(joined.delays);
    assert_eq!(labels.order(), "axbcdy");
}

#[test]
fn reports_joins_that_delay_others() {
    let mut queue = Queue::new();
    let now = clock::now();
    let mut delays = |name: &str, arrival, level| queue.join(&caller(name, 1), arrival, urgency(level), now, ()).delays;
    assert!(!delays("one", Arrival::New, 3));
    assert!(!delays("one", Arrival::New, 3));
    assert!(delays("other", Arrival::New, 3));
    assert!(delays("one", Arrival::New, 2));
    assert!(!delays("one", Arrival::New, 7));
    assert!(delays("one", Arrival::Requeued, 3));
}

#[test]
fn a_ticket_finds_only_its_own_waiter() {
    let mut labels = Labels::new();
    let anonymous = Caller::anonymous();
    let gone = labels.join(&anonymous, "a");
    assert_eq!(labels.queue.leave(gone).unwrap(), "a");
    let here = labels.join(&anonymous, "b");
    assert_eq!(labels.queue.get(gone), None);
    assert_eq!(labels.queue.ahead_of(gone), 1);
    assert_eq!(labels.queue.serve(gone), None);
    assert_eq!(labels.queue.get(here).unwrap(), "b");
    assert_eq!(labels.queue.len(), 1);
}

#[test]
fn a_clock_that_steps_back_changes_no_order() {
    let mut labels = Labels::new();
    let anonymous = Caller::anonymous();
    labels.later(Duration::from_secs(10));
    labels.join(&anonymous, "a");
    labels.later(Duration::from_secs(10));
    labels.join(&anonymous, "b");
    labels.now -= Duration::from_secs(15);
    assert_eq!(labels.ahead_of_new(&anonymous), 2);
    labels.join(&anonymous, "c");
    // It counts as having come with "b", so it is due after "a".
    labels.join_with(&anonymous, 2, "x");
    assert_eq!(labels.order(), "axbc");
}

#[test]
fn an_empty_queue_is_small() {
    let mut labels = Labels::new();
    labels.join(&Caller::anonymous(), "a");
    labels.serve();
    assert!(labels.queue.is_empty() && labels.queue.backlog.is_none());
    assert!(size_of::<Queue<[u64; 4]>>() <= 16);
}

/// Takes too long if any operation iterates over the waiters.
#[test]
fn a_hundred_thousand_join_and_leave() {
    const MANY: usize = 100_000;
    let callers = ["a", "b", "c"].map(|name| caller(name, 1));
    let mut queue = Queue::new();
    let now = clock::now();
    let mut tickets = Vec::new();
    for index in 0..MANY {
        let (caller, level) = (&callers[index % 3], urgency((index % 8) as u8));
        let ticket = queue.join(caller, Arrival::New, level, now, index).ticket;
        assert!(!index.is_multiple_of(16) || queue.ahead_of(ticket) <= index);
        tickets.push(ticket);
    }
    assert_eq!(queue.in_order().count(), MANY);
    // A stride without a common divisor reaches all of them in a mixed order.
    for index in (0..MANY).map(|step| step * 61_803 % MANY) {
        assert_eq!(queue.leave(tickets[index]), Some(index));
    }
    assert!(queue.is_empty());
}
