//! Counting arrivals of one API: a pure function of what arrived when.
//!
//! A window is half open: of two arrivals exactly one window apart, the later one is in the next window. Every arrival
//! counts, also the refused ones, in every window it falls into.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// How many arrivals any window may hold, and what happens after one more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) requests: u32,
    pub(super) window: Duration,
    pub(super) lock: Duration,
}

/// What one arrival led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// It was one too many, and the lock begins with it.
    Overstepped,
    /// It came during a lock, which it does not prolong.
    DuringLock,
}

/// The arrivals of one API that still matter, and the sums of all.
#[derive(Debug, Default)]
pub(super) struct Meter {
    arrivals: VecDeque<Instant>,
    locked_until: Option<Instant>,
    tally: Tally,
}

/// The sums, as the statistics show them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    pub(super) arrivals: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// Locks that an arrival over the threshold caused; one that a test ordered is not among them.
    pub(super) locks: u64,
    pub(super) arrivals_during_lock: u64,
    pub(super) most_in_any_window: usize,
    /// By how much the closest arrival kept its distance from the one `requests` before it; negative: it did not.
    pub(super) tightest_margin_ms: Option<i64>,
}

impl Verdict {
    pub(super) fn is_refused(self) -> bool {
        self != Self::Accepted
    }
}

impl Meter {
    /// Counts an arrival at `now`, which is never earlier than the one before.
    pub(super) fn arrive(&mut self, now: Instant, rule: &Rule) -> Verdict {
        let allowed = rule.requests as usize;
        self.note_margin(now, rule);
        self.arrivals.push_back(now);
        let earlier = self.arrivals.partition_point(|arrival| now.duration_since(*arrival) >= rule.window);
        let in_window = self.arrivals.len() - earlier;
        // Kept are the window and, for the next arrival's margin, the last `requests`.
        self.arrivals.drain(..earlier.min(self.arrivals.len().saturating_sub(allowed)));

        let verdict = if self.locked_until.is_some_and(|until| now < until) {
            Verdict::DuringLock
        } else if in_window > allowed {
            self.locked_until = Some(now + rule.lock);
            Verdict::Overstepped
        } else {
            Verdict::Accepted
        };
        self.tally.note(verdict, in_window);
        verdict
    }

    /// Locks until `until`, or lifts the lock if that is past.
    pub(super) fn lock_until(&mut self, until: Instant) {
        self.locked_until = Some(until);
    }

    /// The sums so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    fn note_margin(&mut self, now: Instant, rule: &Rule) {
        let Some(index) = self.arrivals.len().checked_sub(rule.requests as usize) else { return };
        let Some(earlier) = self.arrivals.get(index) else { return };
        let margin = milliseconds_between(rule.window, now.duration_since(*earlier));
        self.tally.tightest_margin_ms = Some(self.tally.tightest_margin_ms.map_or(margin, |least| least.min(margin)));
    }
}

impl Tally {
    fn note(&mut self, verdict: Verdict, in_window: usize) {
        self.arrivals += 1;
        self.most_in_any_window = self.most_in_any_window.max(in_window);
        match verdict {
            Verdict::Accepted => self.accepted += 1,
            Verdict::Overstepped => {
                self.refused += 1;
                self.locks += 1;
            }
            Verdict::DuringLock => {
                self.refused += 1;
                self.arrivals_during_lock += 1;
            }
        }
    }
}

/// `to - from`, rounded down: a window missed by a microsecond must not read as met.
fn milliseconds_between(from: Duration, to: Duration) -> i64 {
    let nanoseconds = to.as_nanos() as i128 - from.as_nanos() as i128;
    nanoseconds.div_euclid(1_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;
    use proptest::prelude::*;

    const RULE: Rule = Rule { requests: 3, window: Duration::from_secs(60), lock: Duration::from_secs(300) };

    /// The verdicts on arrivals at these milliseconds, and the meter after them.
    fn meter(arrivals: &[u64]) -> (Vec<Verdict>, Meter) {
        let (start, mut meter) = (clock::now(), Meter::default());
        let verdicts = arrivals.iter().map(|at| meter.arrive(start + Duration::from_millis(*at), &RULE)).collect();
        (verdicts, meter)
    }

    #[test]
    fn accepts_the_threshold_in_every_window() {
        let (verdicts, meter) = meter(&[0, 1, 2, 60_000, 60_001, 60_002]);
        assert_eq!(verdicts, [Verdict::Accepted; 6]);
        let tally = meter.tally();
        assert_eq!((tally.accepted, tally.refused, tally.locks), (6, 0, 0));
        assert_eq!((tally.most_in_any_window, tally.tightest_margin_ms), (3, Some(0)));
    }

    #[test]
    fn locks_a_millisecond_before_the_window_has_passed() {
        let (verdicts, meter) = meter(&[0, 1, 2, 59_999]);
        assert_eq!(verdicts.last(), Some(&Verdict::Overstepped));
        assert_eq!((meter.tally().most_in_any_window, meter.tally().tightest_margin_ms), (4, Some(-1)));
    }

    #[test]
    fn sees_a_window_that_straddles_two_minutes() {
        let (verdicts, _) = meter(&[58_000, 59_000, 61_000, 62_000]);
        assert_eq!(verdicts.last(), Some(&Verdict::Overstepped));
    }

    #[test]
    fn refuses_until_the_lock_ends_and_does_not_prolong_it() {
        let (verdicts, meter) = meter(&[0, 1, 2, 3, 100_000, 300_002, 300_003]);
        assert_eq!(verdicts[3..], [Verdict::Overstepped, Verdict::DuringLock, Verdict::DuringLock, Verdict::Accepted]);
        let tally = meter.tally();
        assert_eq!((tally.arrivals, tally.refused, tally.locks, tally.arrivals_during_lock), (7, 3, 1, 2));
    }

    #[test]
    fn an_arrival_during_a_lock_counts_in_the_windows_after_it() {
        let (verdicts, _) = meter(&[0, 1, 2, 3, 290_000, 290_001, 290_002, 300_003]);
        assert_eq!(verdicts.last(), Some(&Verdict::Overstepped));
    }

    #[test]
    fn an_ordered_lock_is_no_overstepping() {
        let (start, mut meter) = (clock::now(), Meter::default());
        meter.lock_until(start + Duration::from_secs(1));
        assert_eq!(meter.arrive(start, &RULE), Verdict::DuringLock);
        assert_eq!(meter.arrive(start + Duration::from_secs(1), &RULE), Verdict::Accepted);
        assert_eq!(meter.tally().locks, 0);
    }

    #[test]
    fn a_threshold_of_none_refuses_all() {
        let rule = Rule { requests: 0, ..RULE };
        let (start, mut meter) = (clock::now(), Meter::default());
        assert_eq!(meter.arrive(start, &rule), Verdict::Overstepped);
        assert_eq!(meter.arrive(start, &rule), Verdict::DuringLock);
    }

    #[test]
    fn rounds_a_margin_down() {
        let window = Duration::from_secs(60);
        assert_eq!(milliseconds_between(window, window - Duration::from_micros(1)), -1);
        assert_eq!(milliseconds_between(window, window + Duration::from_micros(1_999)), 1);
    }

    proptest! {
        /// Forgetting old arrivals must not change what is counted: the sums agree with looking at all of them.
        #[test]
        fn counts_as_if_it_forgot_nothing(gaps in prop::collection::vec(0_u64..40_000, 1..80)) {
            let arrivals: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let in_window = |at: u64| arrivals.iter().filter(|other| **other <= at && at - **other < 60_000).count();
            let most = arrivals.iter().enumerate().map(|(n, at)| in_window(*at).min(n + 1)).max();
            let margin = arrivals.windows(4).map(|four| four[3] as i64 - four[0] as i64 - 60_000).min();
            let tally = meter(&arrivals).1.tally();
            prop_assert_eq!(Some(tally.most_in_any_window), most);
            prop_assert_eq!(tally.tightest_margin_ms, margin);
            prop_assert_eq!(tally.locks > 0, margin.is_some_and(|margin| margin < 0));
        }
    }
}
