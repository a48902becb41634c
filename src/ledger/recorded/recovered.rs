//! What an earlier process left a record of, until somebody asks for it.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::{
    AfterLoss, DAY, Key, LimitSpec, Row, StartState,
    window::{NO_ANSWER_GRACE, Window},
};

/// Where the windows of this process begin.
#[derive(Debug)]
pub struct Recovered(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What nobody has asked for yet. A row without a window is a lock of which nothing else is known.
    rows: BTreeMap<Key, Row>,
    /// Until then everything may have been sent of which there is no row.
    lost: Option<Instant>,
}

impl Recovered {
    /// Without any call.
    #[must_use]
    pub fn none() -> Self {
        Self(Mutex::default())
    }

    /// As the store has it, read at `now`.
    #[must_use]
    pub fn new(memory: StartState, now: Instant) -> Self {
        Self(Mutex::new(match memory {
            StartState::Fresh => State::default(),
            StartState::Kept(mut rows) => {
                // No window is longer than a day, so after that a loss means nothing any more.
                let lost = rows.remove(&loss()).and_then(|row| row.lock).filter(|&at| now < at + DAY + NO_ANSWER_GRACE);
                State { rows: rows.into_iter().map(|(key, row)| (key, settled(row, now))).collect(), lost }
            }
            StartState::Lost { mut locks, .. } => {
                locks.remove(&loss());
                let row = |until| Row { lock: Some(until), ..Row::default() };
                State { rows: locks.into_iter().map(|(key, until)| (key, row(until))).collect(), lost: Some(now) }
            }
        }))
    }

    /// The window to begin with.
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

    /// What nobody has asked for yet, in rows that tell the next process the same.
    #[must_use]
    pub fn left(&self) -> Vec<(Key, Row)> {
        let state = self.0.lock();
        let rows = state.rows.iter().map(|(key, row)| (key.clone(), row.clone()));
        let lost = state.lost.map(|lost| (loss(), Row { lock: Some(lost), ..Row::default() }));
        rows.chain(lost).collect()
    }
}

/// The row that says when everything was lost. No account has an empty name.
fn loss() -> Key {
    Key { account: String::new(), limit: "lost".to_owned() }
}

/// A row without open ends: a call of which no answer is known was given up when its process ended, at the latest now.
/// Written back, it is not given up anew at each start.
fn settled(mut row: Row, now: Instant) -> Row {
    if row.in_flight > 0 {
        row.charges.push((now + row.window + NO_ANSWER_GRACE, row.in_flight));
    }
    if row.in_flight > 0 || row.unread {
        // The answers that nobody saw may have told of a lock, so one call goes alone first.
        row.lock = row.lock.max(Some(now));
    }
    (row.in_flight, row.unread) = (0, false);
    row
}
