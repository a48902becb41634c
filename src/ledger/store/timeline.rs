//! Which times on the disk can be compared with this process's, and what becomes of the others.

use tokio::time::Instant;

use crate::os::clock::{self, Anchor, BootId};

/// This process's place in time.
#[derive(Debug)]
pub(super) struct Timeline {
    anchor: Anchor,
    boot_id: Option<BootId>,
}

impl Timeline {
    /// That of this process.
    pub(super) fn current() -> Self {
        Self::new(Anchor::drop_here(), BootId::current())
    }

    pub(super) fn new(anchor: Anchor, boot_id: Option<BootId>) -> Self {
        Self { anchor, boot_id }
    }

    pub(super) fn boot_id(&self) -> Option<&str> {
        self.boot_id.as_ref().map(BootId::as_str)
    }

    pub(super) fn now(&self) -> i64 {
        self.anchor.nanos(clock::now())
    }

    /// When this process opened the store.
    pub(super) fn beginning(&self) -> i64 {
        self.anchor.moment()
    }

    pub(super) fn nanos(&self, instant: Instant) -> i64 {
        self.anchor.nanos(instant)
    }

    pub(super) fn instant(&self, nanos: i64) -> Instant {
        self.anchor.instant(nanos)
    }

    /// By how much times have to be moved that were written at `written` in `boot_id`; zero where the clocks are one.
    ///
    /// Elsewhere the moment of writing is made this process's start: each time is then as far away as it was when it
    /// was written, so it cannot come too early. What one era claims to have written in the future was not written in
    /// it, and is moved too.
    pub(super) fn shift(&self, boot_id: Option<&str>, written: i64) -> i64 {
        let here = self.beginning();
        let comparable = boot_id.is_some() && boot_id == self.boot_id() && written <= here;
        if comparable { 0 } else { here.saturating_sub(written) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_era_needs_no_shift() {
        let timeline = Timeline::new(Anchor::at(clock::now(), 1_000), Some(BootId::named("a")));
        assert_eq!(timeline.shift(Some("a"), 1_000), 0);
        assert_eq!(timeline.shift(Some("a"), 3), 0);
    }

    #[test]
    fn another_era_starts_from_here() {
        let timeline = Timeline::new(Anchor::at(clock::now(), 1_000), Some(BootId::named("a")));
        assert_eq!(timeline.shift(Some("b"), 400), 600);
        assert_eq!(timeline.shift(Some("b"), 7_000), -6_000);
        assert_eq!(timeline.shift(None, 400), 600);
        assert_eq!(timeline.shift(Some("a"), 1_001), -1, "from the future");
    }

    #[test]
    fn without_an_era_every_start_is_a_new_one() {
        let timeline = Timeline::new(Anchor::at(clock::now(), 1_000), None);
        assert_eq!(timeline.shift(None, 400), 600);
    }
}
