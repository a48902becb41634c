//! The only place that reads the time, so that tests can stop it.
//!
//! An [`Instant`] means nothing to another process. Times that outlive this process are nanoseconds of CLOCK_MONOTONIC:
//! an [`Anchor`] converts them, and the anchor of the next process reads them back if both have the same [`BootId`].
//! The wall clock is not used: it may step, and a step would free slots that Zoho still counts.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;

/// Now, on the monotonic clock; virtual under a paused tokio runtime.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, only to compare with dates from other machines. Never for durations: it may step.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// The time since the machine started, sleep included (CLOCK_BOOTTIME). For a lease that others count too: after a sleep
/// it has ended, although the monotonic clock stood still. Never virtual.
#[must_use]
pub fn boot() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(tv_sec).unwrap_or_default(), u32::try_from(tv_nsec).unwrap_or_default())
}

/// One moment as an [`Instant`] and as a number of CLOCK_MONOTONIC, to convert between the two.
///
/// The two cannot be read at once, so the anchor knows only that the number was between `before` and `after`. It errs
/// to the later side in both directions: a time that is written to disk never comes back earlier than it was.
#[derive(Debug, Clone, Copy)]
pub struct Anchor {
    instant: Instant,
    before: i64,
    after: i64,
}

/// Identifies a run of CLOCK_MONOTONIC: one boot of one machine, and the offset of the process's time namespace.
///
/// Numbers can be compared only under the same id. The namespace's own number does not identify a clock: the kernel
/// gives it to the next namespace when the last process of a namespace has ended. Two namespaces with the same offset
/// have the same clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootId(String);

// === impl Anchor ===

impl Anchor {
    /// An anchor at this moment.
    #[must_use]
    pub fn drop_here() -> Self {
        // A thread that is preempted between the readings widens the gap, so the narrowest of a few is used.
        let reading = || {
            let before = monotonic();
            let instant = now();
            Self { instant, before, after: monotonic() }
        };
        let first = reading();
        (1..READINGS).map(|_| reading()).fold(first, |best, next| if next.gap() < best.gap() { next } else { best })
    }

    /// An anchor for tests.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn at(instant: Instant, nanos: i64) -> Self {
        Self { instant, before: nanos, after: nanos }
    }

    /// The anchor's moment as a number.
    #[must_use]
    pub fn moment(&self) -> i64 {
        self.after
    }

    /// Converts an instant to a number.
    #[must_use]
    pub fn nanos(&self, instant: Instant) -> i64 {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.after.saturating_add(saturated(later)),
            None => self.after.saturating_sub(saturated(self.instant.duration_since(instant))),
        }
    }

    /// Converts a number under the same id to an instant.
    #[must_use]
    pub fn instant(&self, nanos: i64) -> Instant {
        let span = Duration::from_nanos(nanos.abs_diff(self.before));
        if nanos < self.before {
            // A moment before the clock began is not needed exactly.
            self.instant.checked_sub(span).unwrap_or(self.instant)
        } else {
            self.instant.checked_add(span).unwrap_or_else(|| self.instant + FAR_FUTURE)
        }
    }

    fn gap(&self) -> i64 {
        self.after.saturating_sub(self.before)
    }
}

// === impl BootId ===

impl BootId {
    /// The id of this process's clock; `None` when the system does not provide it, and then numbers cannot be compared.
    #[must_use]
    pub fn current() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let own = fs::read_link("/proc/self/ns/time").ok()?;
        // The offsets belong to the namespace of child processes.
        let of_children = fs::read_link("/proc/self/ns/time_for_children").ok()?;
        let offsets = fs::read_to_string("/proc/self/timens_offsets").ok()?;
        if own == of_children { Self::of(&boot, &offsets) } else { None }
    }

    /// The id for this boot and a namespace with these offsets, which have a line for each clock: name, seconds and
    /// nanoseconds.
    fn of(boot: &str, offsets: &str) -> Option<Self> {
        let boot = boot.trim();
        let mut lines = offsets.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        let [_, seconds, nanos] = lines.find(|fields| fields.first() == Some(&"monotonic"))?.try_into().ok()?;
        let (seconds, nanos) = (seconds.parse::<i64>().ok()?, nanos.parse::<u32>().ok()?);
        (!boot.is_empty()).then(|| Self(format!("{boot} monotonic {seconds} {nanos}")))
    }

    /// An id for tests.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The id as text, the same for all processes with this clock.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// CLOCK_MONOTONIC in nanoseconds. It stops while the machine sleeps, which makes waiting times longer, never shorter.
fn monotonic() -> i64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    tv_sec.saturating_mul(1_000_000_000).saturating_add(tv_nsec)
}

fn saturated(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// Enough readings that at least one is not interrupted.
const READINGS: usize = 5;

/// Longer than any process runs, and still within every clock.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// A moment as RFC 3339, in milliseconds.
#[must_use]
pub fn rfc3339(wall: SystemTime) -> String {
    let rounded = jiff::Timestamp::try_from(wall).and_then(|at| at.round(jiff::Unit::Millisecond));
    rounded.map_or_else(|_| String::new(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_converts_both_ways() {
        let anchor = Anchor::at(now(), 1_000);
        for nanos in [1_000, 0, -5_000_000_000, 90_000_000_000] {
            assert_eq!(anchor.nanos(anchor.instant(nanos)), nanos);
        }
        assert_eq!(anchor.instant(1_500), anchor.instant + Duration::from_nanos(500));
        assert_eq!(anchor.instant(400), anchor.instant - Duration::from_nanos(600));
    }

    #[test]
    fn unrepresentable_times_saturate() {
        let anchor = Anchor::at(now(), 0);
        assert!(anchor.instant(i64::MAX) > anchor.instant + Duration::from_secs(1 << 30));
        assert!(anchor.instant(i64::MIN) <= anchor.instant);
        assert_eq!(anchor.nanos(anchor.instant + Duration::from_secs(1 << 40)), i64::MAX);
    }

    #[test]
    fn two_anchors_of_one_clock_agree_and_err_late() {
        let (first, second) = (Anchor::drop_here(), Anchor::drop_here());
        for seconds in [0, 1, 3_600] {
            let instant = first.instant + Duration::from_secs(seconds);
            let back = second.instant(first.nanos(instant));
            assert!(back >= instant, "never earlier");
            assert!(back < instant + Duration::from_millis(10), "hardly later: {:?}", back - instant);
        }
    }

    /// The second of two time namespaces had the number of the first. After a kill -9 in one and a start in the other,
    /// the gateway compared unrelated times, and one call too many arrived.
    #[test]
    fn another_offset_is_another_clock() {
        let offsets = |monotonic| format!("monotonic  {monotonic}\nboottime  5  0\n");
        let boot_id = |boot, monotonic| BootId::of(boot, &offsets(monotonic));
        let here = boot_id("a\n", "0         0");
        assert!(here.is_some());
        assert_eq!(here, boot_id("a", "0 0"), "spaces are ignored");
        for (boot, monotonic) in [("b", "0 0"), ("a", "61 0"), ("a", "-61 0"), ("a", "0 1")] {
            assert!(boot_id(boot, monotonic).is_some_and(|other| Some(other) != here), "{boot} {monotonic}");
        }
        let (one, other) = (boot_id("a", "-1 500"), BootId::of("a", "boottime 7 0\nmonotonic -1 500\n"));
        assert!(one.is_some() && one == other, "only the monotonic clock counts");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_since_the_boot_is_never_virtual() {
        let (before, virtual_before) = (boot(), now());
        std::thread::sleep(Duration::from_millis(20));
        let passed = boot() - before;
        assert!((20..10_000).contains(&passed.as_millis()), "{passed:?}");
        assert_eq!(now(), virtual_before);
    }

    #[test]
    fn unreadable_offsets_give_no_id() {
        for offsets in
            ["", "boottime 0 0", "monotonic", "monotonic 0", "monotonic 0 0 0", "monotonic x 0", "monotonic 0 -1"]
        {
            assert_eq!(BootId::of("a", offsets), None, "{offsets:?}");
        }
        assert_eq!(BootId::of(" \n", "monotonic 0 0"), None);
    }

    /// An earlier version named the namespace by its number; such an id must count as another clock.
    #[test]
    fn an_id_of_the_former_form_is_another_clock() {
        let boot = "6f8c2c1e-0000-4000-8000-000000000000";
        let here = BootId::of(boot, "monotonic 0 0").map(|boot_id| boot_id.as_str().to_owned());
        assert_ne!(here, Some(format!("{boot} time:[4026531834]")));
        assert!(here.is_some_and(|boot_id| boot_id.starts_with(boot)));
    }

    #[test]
    fn the_id_stays_the_same() {
        let current = BootId::current();
        assert!(current.is_some(), "the kernel has time namespaces (Linux 5.6)");
        assert_eq!(current, BootId::current());
    }
}
