//! One line per account and route, made when first needed.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

use super::{Line, WaitingRoom};
use crate::{
    account::AccountName,
    catalogue::{Route, RouteId},
};

/// All lines of the process.
#[derive(Debug)]
pub struct Lines {
    lines: RwLock<HashMap<(AccountName, RouteId), Arc<Line>>>,
    room: Arc<WaitingRoom>,
}

impl Lines {
    /// No lines yet; over all of them `max_waiting` callers may wait.
    #[must_use]
    pub fn new(max_waiting: usize) -> Self {
        Self { lines: RwLock::default(), room: WaitingRoom::new(max_waiting) }
    }

    /// The line a call has to stand in; `None` when its route has no threshold.
    #[must_use]
    pub fn line(&self, account: &AccountName, route: &Route) -> Option<Arc<Line>> {
        let threshold = route.threshold?;
        let key = (account.clone(), route.id.clone());
        if let Some(line) = self.lines.read().get(&key) {
            return Some(Arc::clone(line));
        }
        let new = || Line::new(threshold, Arc::clone(&self.room));
        Some(Arc::clone(self.lines.write().entry(key).or_insert_with(new)))
    }

    /// How many callers wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.room.waiting()
    }
}
