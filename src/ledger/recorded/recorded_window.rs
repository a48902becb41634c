//! A window that has a copy in the store.

use std::{mem, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

use super::super::{Key, Row, window::Window};
use crate::os::clock;

#[derive(Debug)]
pub(super) struct RecordedWindow {
    key: Key,
    /// Whether calls of several routes count against it.
    pub(super) shared: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) window: Window,
    /// The journal knows of a change that it has not read yet.
    noted: bool,
}

impl State {
    /// It has changed. Whether the journal does not know that yet, and has to be told before the mutex is given up: then
    /// everybody who sees the change can wait for its commit.
    pub(super) fn has_news(&mut self) -> bool {
        !mem::replace(&mut self.noted, true)
    }
}

impl RecordedWindow {
    pub(super) fn new(key: Key, shared: bool, window: Window) -> Arc<Self> {
        Arc::new(Self { key, shared, state: Mutex::new(State { window, noted: false }) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What has to be remembered of it now. A later change is told to the journal again.
    pub(super) fn record(&self) -> (Key, Row) {
        let mut state = self.state.lock();
        state.noted = false;
        (self.key.clone(), state.window.row(clock::now()))
    }
}
