//! An account's daily limit: one more bucket, which all its lines of the product share.
//!
//! A day's window in a few kilobytes, rounded to the safe side (`charges.rs`). It knows no lock and no pace.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};

use super::{Journal, Window, journal::Recorded};
use crate::{
    ledger::store::{Key, Row},
    os::clock,
};

/// Zoho does not say when its day begins, so any span of this length counts.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The calls of one account in a day.
#[derive(Debug)]
pub(super) struct Daily {
    window: Mutex<Window>,
    key: Key,
    journal: Journal,
    noted: AtomicBool,
}

impl Daily {
    pub(super) fn new(mut window: Window, key: Key, journal: Journal) -> Arc<Self> {
        // An earlier process may have left calls without an answer, after which one call goes alone. The day leaves that
        // to its lines: nothing would ever tell it how that call went.
        window.forget_lock();
        let daily =
            Arc::new(Self { window: Mutex::new(window), key, journal: journal.clone(), noted: AtomicBool::new(false) });
        let recorded: Arc<dyn Recorded> = daily.clone();
        journal.knows(Arc::downgrade(&recorded));
        daily
    }

    /// To look.
    pub(super) fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock()
    }

    /// To change, and have the change remembered.
    pub(super) fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Window) -> T) -> T {
        let mut window = self.window.lock();
        let outcome = change(&mut window);
        if !self.noted.swap(true, Ordering::Relaxed) {
            self.journal.changed(self.clone());
        }
        outcome
    }
}

impl Recorded for Daily {
    fn record(&self) -> (Key, Row) {
        let mut window = self.window.lock();
        self.noted.store(false, Ordering::Relaxed);
        (self.key.clone(), window.row(clock::now()))
    }
}
