//! Conversion of stored times to the clock of this process.

use tokio::time::Instant;

use crate::os::clock::{self, Anchor, BootId};

/// The clock of this process and the boot it belongs to.
#[derive(Debug)]
pub(super) struct Timeline {
    anchor: Anchor,
    boot_id: Option<BootId>,
}

impl Timeline {
    /// The timeline of this process.
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

    /// By how much times must be shifted that were written at `written` in `boot_id`; zero if the clock is the same.
    ///
    /// Under another clock, the time of writing becomes the start of this process: each time is then as far away as it
    /// was when it was written, so it cannot be too early. A time of writing in the future comes from another clock.
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
    fn the_same_boot_needs_no_shift() {
        let timeline = Timeline::new(Anchor::at(clock::now(), 1_000), Some(BootId::named("a")));
        assert_eq!(timeline.shift(Some("a"), 1_000), 0);
        assert_eq!(timeline.shift(Some("a"), 3), 0);
    }

    #[test]
    fn another_boot_starts_from_now() {
        let timeline = Timeline::new(Anchor::at(clock::now(), 1_000), Some(BootId::named("a")));
        assert_eq!(timeline.shift(Some("b"), 400), 600);
        assert_eq!(timeline.shift(Some("b"), 7_000), -6_000);
        assert_eq!(timeline.shift(None, 400), 600);
        assert_eq!(timeline.shift(Some("a"), 1_001), -1, "from the future");
    }

    #[test]
    fn without_a_boot_id_every_start_is_another_boot() {
        let timeline = Timeline::new(Anchor::at(clock::now(), 1_000), None);
        assert_eq!(timeline.shift(None, 400), 600);
    }
}
