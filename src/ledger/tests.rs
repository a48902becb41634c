//! Edge cases of the rule. `simulation` tests the promise as a whole.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use super::*;
use crate::{
    os::clock,
    zoho::catalogue::{Pace, Threshold},
};

pub(super) fn threshold(requests: u32, window_ms: u64, pace: Pace) -> Threshold {
    threshold_of(requests, ms(window_ms), pace)
}

/// With a lock of five windows.
pub(super) fn threshold_of(requests: u32, window: Duration, pace: Pace) -> Threshold {
    Threshold { requests: NonZeroU32::new(requests).unwrap(), window, lock: 5 * window, pace }
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn smooth_pace_spreads_calls_evenly() {
    let start = clock::now();
    let mut window = Window::new(threshold(30, 3000, Pace::Smooth), start);
    let (mut now, mut sent) = (start, Vec::new());
    while sent.len() < 31 {
        match window.take(now) {
            Ok(_) => {
                window.answered(now, now);
                sent.push((now - start).as_millis());
            }
            Err(Denied::Until(at)) => now = at,
            Err(Denied::Unanswered | Denied::ForCaller) => panic!("all are answered"),
        }
    }
    for pair in sent.windows(2) {
        assert!((99..=101).contains(&(pair[1] - pair[0])), "{sent:?}");
    }
}

/// Zoho may still hold it.
#[test]
fn after_a_lifted_lock_one_call_goes_alone() {
    let now = clock::now();
    let mut window = Window::new(threshold(9, 1000, Pace::Burst), now);
    assert!(!window.lift_lock(now));
    window.lock_until(now + ms(5000));
    assert_eq!(window.take(now).unwrap_err(), Denied::Until(now + ms(5000)));
    assert!(window.lift_lock(now) && !window.lift_lock(now));
    assert_eq!(window.locked_until(now), None);
    let probe = window.take(now).unwrap();
    assert_eq!(window.take(now).unwrap_err(), Denied::Unanswered);
    window.answered(now, now);
    assert_eq!(window.locked(now, None), Some(now + ms(5000)), "Zoho still holds it");
    assert!(window.lift_lock(now));
    let again = window.take(now).unwrap();
    window.answered(now, now);
    window.executed(probe);
    assert_eq!(window.take(now).unwrap_err(), Denied::Unanswered, "it was the probe of an earlier lock");
    window.executed(again);
    assert!(window.take(now).is_ok());
}

#[test]
fn a_lost_call_uses_its_slot_beyond_its_window() {
    let now = clock::now();
    let mut window = Window::new(threshold(1, 1000, Pace::Burst), now);
    let grant = window.take(now).unwrap();
    window.lost(now, grant);
    assert_eq!(window.take(now).unwrap_err(), Denied::Until(now + ms(1000) + NO_ANSWER_GRACE));
}

#[test]
fn a_call_never_sent_frees_its_slot() {
    let now = clock::now();
    let mut window = Window::new(threshold(1, 1000, Pace::Burst), now);
    let grant = window.take(now).unwrap();
    assert_eq!(window.take(now).unwrap_err(), Denied::Unanswered);
    window.unused(grant);
    assert!(window.take(now).is_ok());
}

#[test]
fn after_a_lock_a_probe_goes_before_the_others() {
    let now = clock::now();
    let mut window = Window::new(threshold(3, 1000, Pace::Burst), now);
    window.take(now).unwrap();
    window.answered(now, now);
    let until = window.locked(now, Some(ms(100))).unwrap();
    assert_eq!(until, now + ms(5000), "the threshold's lock is longer than Retry-After");
    assert_eq!(window.take(until - ms(1)).unwrap_err(), Denied::Until(until));
    let probe = window.take(until).unwrap();
    assert!(probe.probe.is_some());
    assert_eq!(window.take(until).unwrap_err(), Denied::Unanswered);
    window.answered(until, until);
    window.executed(probe);
    assert!(window.take(until).is_ok() && window.take(until).is_ok());
    assert!(window.take(until).is_err(), "the probe uses a slot too");
}

/// A store was lost while calls were in flight. Their answers might have reported a lock, but after the window that
/// counted as used up, as many calls as the threshold allows went at once.
#[test]
fn after_a_lost_store_a_probe_goes_first() {
    let now = clock::now();
    let mut window = Window::worst(threshold(3, 1000, Pace::Burst), None, now, now);
    let free = now + ms(1000) + NO_ANSWER_GRACE;
    assert_eq!(window.take(now).unwrap_err(), Denied::Until(free));
    assert!(window.take(free).unwrap().probe.is_some());
    assert_eq!(window.take(free).unwrap_err(), Denied::Unanswered);
}

/// The probe after a lock was in flight when the answer to an older call reported the next lock. The probe's own
/// answer, from before that lock, was taken as the end of it, and all other calls went into the lock.
#[test]
fn an_answer_from_before_a_lock_does_not_end_it() {
    let now = clock::now();
    let mut window = Window::new(threshold(3, 1000, Pace::Burst), now);
    window.take(now).unwrap();
    let mut until = window.locked(now, None).unwrap();
    let early = window.take(until).unwrap();
    // The older call hit a lock that began after the early one had arrived.
    window.answered(until, now);
    until = window.locked(until, None).unwrap();
    window.answered(until - ms(1), until - ms(2));
    window.executed(early);
    assert_eq!(window.take(until - ms(1)).unwrap_err(), Denied::Until(until));
    assert_eq!(window.held_back(early), Some(until));

    let probe = window.take(until).unwrap();
    assert_eq!(window.held_back(probe), None);
    window.executed(early);
    window.unread(early);
    assert_eq!(window.take(until).unwrap_err(), Denied::Unanswered, "only its own answer counts");
    window.executed(probe);
    assert!(window.take(until).is_ok());
}

#[test]
fn a_longer_retry_after_and_a_later_lock_count() {
    let now = clock::now();
    let mut window = Window::new(threshold(3, 1000, Pace::Burst), now);
    assert_eq!(window.locked(now, Some(ms(60_000))), Some(now + ms(60_000)));
    assert_eq!(window.locked(now + ms(1), None), Some(now + ms(60_000)), "a later answer does not shorten it");
    assert_eq!(window.locked(now + ms(59_000), None), Some(now + ms(64_000)));
}

#[test]
fn a_lock_without_length_is_ignored() {
    let now = clock::now();
    let mut window = Window::new(Threshold { lock: Duration::ZERO, ..threshold(3, 1000, Pace::Burst) }, now);
    window.take(now).unwrap();
    window.answered(now, now);
    assert_eq!(window.locked(now, None), None);
    assert!(window.take(now).unwrap().probe.is_none());
}

/// A process was killed after an answer's head and before its body, which reported a lock under status 200. The next
/// process knew that the call was answered, and sent as many calls as the threshold allows into the lock.
#[test]
fn after_a_kill_with_an_answer_half_read_a_probe_goes_first() {
    let now = clock::now();
    let rule = threshold(3, 1000, Pace::Burst);
    let mut window = Window::new(rule, now);
    let grant = window.take(now).unwrap();
    window.answered(now, now);
    let restored = |row: Row| {
        let memory = StartState::Kept(BTreeMap::from([(Key::default(), row)]));
        Recovered::new(memory, now).window(&LimitSpec::own(Key::default(), rule), now)
    };
    assert!(restored(window.row(now)).take(now).unwrap().probe.is_some());
    window.executed(grant);
    assert!(restored(window.row(now)).take(now).unwrap().probe.is_none());
}

#[test]
fn a_window_hands_out_the_slots_that_this_process_may_use() {
    let now = clock::now();
    let mut window = Window::new(threshold(3, 1000, Pace::Burst), now);
    window.allow(1);
    let first = window.take(now).unwrap();
    assert_eq!(window.take(now).unwrap_err(), Denied::Unanswered);
    window.allow(9);
    let others = [window.take(now).unwrap(), window.take(now).unwrap()];
    assert!(window.take(now).is_err(), "never more than the threshold");
    for grant in [first, others[0], others[1]] {
        window.answered(now, now);
        window.executed(grant);
    }
    window.allow(2);
    let free = now + ms(1000);
    assert_eq!(window.take(free - ms(1)).unwrap_err(), Denied::Until(free), "slots in use stay in use");
    assert!(window.take(free).is_ok() && window.take(free).is_ok() && window.take(free).is_err());
}

// === A changed threshold ===

#[test]
fn slots_in_use_follow_the_new_window() {
    let now = clock::now();
    for (window, free_in) in [(500, 400), (1000, 900), (3000, 2900)] {
        let mut changed = Window::new(threshold(1, 1000, Pace::Burst), now);
        changed.take(now).unwrap();
        changed.answered(now, now);
        let later = now + ms(100);
        changed.change(threshold(1, window, Pace::Burst), ms(1000), later);
        changed.recount(ms(1000), Some(&[now]), later);
        assert_eq!(changed.take(later).unwrap_err(), Denied::Until(later + ms(free_in)), "{window}");
    }
}

#[test]
fn a_longer_window_counts_what_the_shorter_one_has_forgotten() {
    let start = clock::now();
    let answered = |at: u64| start + ms(at);
    // Two calls are forgotten, the third is still counted.
    let (past, now) = ([answered(0), answered(500), answered(2000)], answered(2100));
    let after = |past: Option<&[tokio::time::Instant]>| {
        let mut window = Window::new(threshold(3, 1000, Pace::Burst), start);
        for at in [0, 500, 2000] {
            window.take(answered(at)).unwrap();
            window.answered(answered(at), answered(at));
        }
        window.check(now).unwrap();
        window.change(threshold(3, 2500, Pace::Burst), ms(1000), now);
        window.recount(ms(1000), past, now);
        window.take(now).unwrap_err()
    };
    assert_eq!(after(Some(&past)), Denied::Until(answered(2500)));
    // As many as possible, just outside the old window.
    assert_eq!(after(None), Denied::Until(now + ms(1500)));
}

#[test]
fn a_smaller_number_holds_back_what_is_not_sent_yet() {
    let now = clock::now();
    let mut window = Window::new(threshold(3, 1000, Pace::Burst), now);
    let grants: Vec<_> = (0..3).map(|_| window.take(now).unwrap()).collect();
    assert!(!window.has_surplus(now));
    window.change(threshold(2, 1000, Pace::Burst), ms(1000), now);
    assert!(window.has_surplus(now));
    window.unused(grants[0]);
    assert!(!window.has_surplus(now), "the other two may be sent");
    assert!(window.take(now).is_err());
}

#[test]
fn a_restart_with_a_longer_window_counts_the_worst_case() {
    let now = clock::now();
    let row = Row { window: ms(1000), ..Row::default() };
    let mut window = Window::restored(threshold(2, 4000, Pace::Burst), &row, now);
    assert_eq!(window.take(now).unwrap_err(), Denied::Until(now + ms(3000)));
}
