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
    state: Mutex<WindowState>,
}

#[derive(Debug)]
pub(super) struct WindowState {
    pub(super) window: Window,
    /// The journal knows of a change that it has not read yet.
    noted: bool,
}

impl WindowState {
    /// Notes a change. Returns whether the journal must be notified. That must happen before the mutex is released:
    /// then every caller that sees the change can wait for its commit.
    pub(super) fn note_change(&mut self) -> bool {
        !mem::replace(&mut self.noted, true)
    }
}

impl RecordedWindow {
    pub(super) fn new(key: Key, shared: bool, window: Window) -> Arc<Self> {
        Arc::new(Self { key, shared, state: Mutex::new(WindowState { window, noted: false }) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WindowState> {
        self.state.lock()
    }

    /// The row to write. The next change notifies the journal again.
    pub(super) fn record(&self) -> (Key, Row) {
        let mut state = self.state.lock();
        state.noted = false;
        (self.key.clone(), state.window.row(clock::now()))
    }
}
