//! Counts the arrivals of one API; a pure function of their times.
//!
//! A window is half open: of two arrivals exactly one window apart, the later one is in the next window. Every arrival,
//! even a refused one, counts in every window that contains it.

use std::{collections::VecDeque, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

/// How many arrivals a window may hold, and how long the lock after one more lasts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) requests: u32,
    pub(super) window: Duration,
    pub(super) lock: Duration,
}

/// The result of one arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Accepted,
    /// It exceeded the threshold, and the lock begins with it.
    OverThreshold,
    /// It arrived during a lock, which it does not prolong.
    DuringLock,
}

/// The arrivals of one API that still matter, and the totals.
#[derive(Debug, Default)]
pub(super) struct Meter {
    arrivals: VecDeque<Instant>,
    locked_until: Option<Instant>,
    tally: Tally,
}

/// The totals in the statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    pub(super) arrivals: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// Locks that an arrival over the threshold caused, without those that a test set.
    pub(super) locks: u64,
    pub(super) arrivals_during_lock: u64,
    pub(super) most_in_any_window: usize,
    /// The smallest distance of an arrival to the one `requests` before it, less the window; negative if one was too
    /// early.
    pub(super) tightest_margin_ms: Option<i64>,
}

impl Admission {
    pub(super) fn is_refused(self) -> bool {
        self != Self::Accepted
    }
}

impl Meter {
    /// Counts an arrival at `now`, which is never earlier than the one before.
    pub(super) fn arrive(&mut self, now: Instant, rule: &Rule) -> Admission {
        let allowed = rule.requests as usize;
        self.note_margin(now, rule);
        self.arrivals.push_back(now);
        let earlier = self.arrivals.partition_point(|arrival| now.duration_since(*arrival) >= rule.window);
        let in_window = self.arrivals.len() - earlier;
        // Keeps the window and, for the margin of the next arrival, the last `requests`.
        self.arrivals.drain(..earlier.min(self.arrivals.len().saturating_sub(allowed)));

        let admission = if self.locked_until.is_some_and(|until| now < until) {
            Admission::DuringLock
        } else if in_window > allowed {
            self.locked_until = Some(now + rule.lock);
            Admission::OverThreshold
        } else {
            Admission::Accepted
        };
        self.tally.note(admission, in_window);
        admission
    }

    /// Locks until `until`, or ends the lock if that is past.
    pub(super) fn lock_until(&mut self, until: Instant) {
        self.locked_until = Some(until);
    }

    /// The totals so far.
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
    fn note(&mut self, admission: Admission, in_window: usize) {
        self.arrivals += 1;
        self.most_in_any_window = self.most_in_any_window.max(in_window);
        match admission {
            Admission::Accepted => self.accepted += 1,
            Admission::OverThreshold => {
                self.refused += 1;
                self.locks += 1;
            }
            Admission::DuringLock => {
                self.refused += 1;
                self.arrivals_during_lock += 1;
            }
        }
    }
}

/// `to - from`, rounded down: a window missed by a microsecond must not count as kept.
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

    /// The results of arrivals at these milliseconds, and the meter after them.
    fn meter(arrivals: &[u64]) -> (Vec<Admission>, Meter) {
        let (start, mut meter) = (clock::now(), Meter::default());
        let admissions = arrivals.iter().map(|at| meter.arrive(start + Duration::from_millis(*at), &RULE)).collect();
        (admissions, meter)
    }

    #[test]
    fn accepts_the_threshold_in_every_window() {
        let (admissions, meter) = meter(&[0, 1, 2, 60_000, 60_001, 60_002]);
        assert_eq!(admissions, [Admission::Accepted; 6]);
        let tally = meter.tally();
        assert_eq!((tally.accepted, tally.refused, tally.locks), (6, 0, 0));
        assert_eq!((tally.most_in_any_window, tally.tightest_margin_ms), (3, Some(0)));
    }

    #[test]
    fn locks_a_millisecond_before_the_window_ends() {
        let (admissions, meter) = meter(&[0, 1, 2, 59_999]);
        assert_eq!(admissions.last(), Some(&Admission::OverThreshold));
        assert_eq!((meter.tally().most_in_any_window, meter.tally().tightest_margin_ms), (4, Some(-1)));
    }

    #[test]
    fn a_window_may_span_two_minutes() {
        let (admissions, _) = meter(&[58_000, 59_000, 61_000, 62_000]);
        assert_eq!(admissions.last(), Some(&Admission::OverThreshold));
    }

    #[test]
    fn refuses_until_the_lock_ends_and_does_not_prolong_it() {
        let (admissions, meter) = meter(&[0, 1, 2, 3, 100_000, 300_002, 300_003]);
        assert_eq!(
            admissions[3..],
            [Admission::OverThreshold, Admission::DuringLock, Admission::DuringLock, Admission::Accepted]
        );
        let tally = meter.tally();
        assert_eq!((tally.arrivals, tally.refused, tally.locks, tally.arrivals_during_lock), (7, 3, 1, 2));
    }

    #[test]
    fn an_arrival_during_a_lock_counts_in_later_windows() {
        let (admissions, _) = meter(&[0, 1, 2, 3, 290_000, 290_001, 290_002, 300_003]);
        assert_eq!(admissions.last(), Some(&Admission::OverThreshold));
    }

    #[test]
    fn a_lock_by_a_test_does_not_exceed_the_threshold() {
        let (start, mut meter) = (clock::now(), Meter::default());
        meter.lock_until(start + Duration::from_secs(1));
        assert_eq!(meter.arrive(start, &RULE), Admission::DuringLock);
        assert_eq!(meter.arrive(start + Duration::from_secs(1), &RULE), Admission::Accepted);
        assert_eq!(meter.tally().locks, 0);
    }

    #[test]
    fn a_threshold_of_zero_refuses_all() {
        let rule = Rule { requests: 0, ..RULE };
        let (start, mut meter) = (clock::now(), Meter::default());
        assert_eq!(meter.arrive(start, &rule), Admission::OverThreshold);
        assert_eq!(meter.arrive(start, &rule), Admission::DuringLock);
    }

    #[test]
    fn rounds_a_margin_down() {
        let window = Duration::from_secs(60);
        assert_eq!(milliseconds_between(window, window - Duration::from_micros(1)), -1);
        assert_eq!(milliseconds_between(window, window + Duration::from_micros(1_999)), 1);
    }

    proptest! {
        /// Dropping old arrivals must not change the totals: they equal those over all arrivals.
        #[test]
        fn counts_as_if_all_arrivals_were_kept(gaps in prop::collection::vec(0_u64..40_000, 1..80)) {
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
