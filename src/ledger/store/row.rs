//! A row in its stored form.

use std::time::Duration;

use super::timeline::Timeline;
use crate::ledger::Row;

/// A row in its stored form: times are nanoseconds of one boot's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredRow {
    /// When the row was written.
    pub(super) written: i64,
    pub(super) window: u64,
    pub(super) in_flight: u32,
    pub(super) unread: bool,
    pub(super) charges: Vec<(i64, u32)>,
    pub(super) lock: Option<i64>,
}

impl StoredRow {
    pub(super) fn new(row: &Row, timeline: &Timeline) -> Self {
        Self {
            written: timeline.now(),
            window: u64::try_from(row.window.as_nanos()).unwrap_or(u64::MAX),
            in_flight: row.in_flight,
            unread: row.unread,
            charges: row.charges.iter().map(|(at, slots)| (timeline.nanos(*at), *slots)).collect(),
            lock: row.lock.map(|end| timeline.nanos(end)),
        }
    }

    /// A lock without any other data.
    pub(super) fn only_locked(until: i64, timeline: &Timeline) -> Self {
        Self { written: timeline.now(), window: 0, in_flight: 0, unread: false, charges: Vec::new(), lock: Some(until) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight == 0 && !self.unread && self.charges.is_empty() && self.lock.is_none()
    }

    /// The same row with all its times shifted, `written` included.
    pub(super) fn shifted(self, by: i64) -> Self {
        Self {
            written: self.written.saturating_add(by),
            charges: self.charges.into_iter().map(|(at, slots)| (at.saturating_add(by), slots)).collect(),
            lock: self.lock.map(|end| end.saturating_add(by)),
            ..self
        }
    }

    pub(super) fn row(&self, timeline: &Timeline) -> Row {
        Row {
            window: Duration::from_nanos(self.window),
            in_flight: self.in_flight,
            unread: self.unread,
            charges: self.charges.iter().map(|(at, slots)| (timeline.instant(*at), *slots)).collect(),
            lock: self.lock.map(|end| timeline.instant(end)),
        }
    }
}
