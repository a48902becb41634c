//! The records of an earlier process, until a window starts from them.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::{
    AfterLoss, DAY, Key, LimitSpec, Row, StartState,
    window::{NO_ANSWER_GRACE, Window},
};

/// The state that the windows of this process start from.
#[derive(Debug)]
pub struct Recovered(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    /// Rows that no window has taken yet. A row whose window is zero holds only a lock.
    rows: BTreeMap<Key, Row>,
    /// When the records were lost: until then, calls without a row may have been sent.
    lost: Option<Instant>,
}

impl Recovered {
    /// No records.
    #[must_use]
    pub fn none() -> Self {
        Self(Mutex::default())
    }

    /// The content of the store, read at `now`.
    #[must_use]
    pub fn new(start_state: StartState, now: Instant) -> Self {
        Self(Mutex::new(match start_state {
            StartState::Fresh => Records::default(),
            StartState::Kept(mut rows) => {
                // No window is longer than a day, so after a day a loss has no effect any more.
                let lost = rows.remove(&loss()).and_then(|row| row.lock).filter(|&at| now < at + DAY + NO_ANSWER_GRACE);
                Records { rows: rows.into_iter().map(|(key, row)| (key, settled(row, now))).collect(), lost }
            }
            StartState::Lost { mut locks, .. } => {
                locks.remove(&loss());
                let row = |until| Row { lock: Some(until), ..Row::default() };
                Records { rows: locks.into_iter().map(|(key, until)| (key, row(until))).collect(), lost: Some(now) }
            }
        }))
    }

    /// The window to start with.
    pub(in crate::ledger) fn window(&self, limit: &LimitSpec, now: Instant) -> Window {
        let LimitSpec { key, threshold, .. } = limit;
        let mut state = self.0.lock();
        match (state.rows.remove(key), state.lost) {
            (None, Some(lost)) if limit.after_loss == AfterLoss::AllButOne => {
                let until = lost + threshold.window + NO_ANSWER_GRACE;
                let charges = vec![(until, threshold.requests.get() - 1)];
                Window::restored(*threshold, &Row { window: threshold.window, charges, ..Row::default() }, now)
            }
            (Some(row), _) if !row.window.is_zero() => Window::restored(*threshold, &row, now),
            (row, Some(lost)) => Window::worst(*threshold, row.and_then(|row| row.lock), lost, now),
            (Some(row), None) => Window::restored(*threshold, &row, now),
            (None, None) => Window::new(*threshold, now),
        }
    }

    /// The rows that no window has taken yet, in a form that tells the next process the same.
    #[must_use]
    pub fn left(&self) -> Vec<(Key, Row)> {
        let state = self.0.lock();
        let rows = state.rows.iter().map(|(key, row)| (key.clone(), row.clone()));
        let lost = state.lost.map(|lost| (loss(), Row { lock: Some(lost), ..Row::default() }));
        rows.chain(lost).collect()
    }
}

/// The key of the row that says when everything was lost. No account has an empty name.
fn loss() -> Key {
    Key { account: String::new(), limit: "lost".to_owned() }
}

/// A row without unanswered calls: they were given up when their process ended, at the latest now. It is written back,
/// so that they are not given up again at each start.
fn settled(mut row: Row, now: Instant) -> Row {
    if row.in_flight > 0 {
        row.charges.push((now + row.window + NO_ANSWER_GRACE, row.in_flight));
    }
    if row.in_flight > 0 || row.unread {
        // The missing answers may have reported a lock, so one call goes alone first.
        row.lock = row.lock.max(Some(now));
    }
    (row.in_flight, row.unread) = (0, false);
    row
}
