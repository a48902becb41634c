//! Which kept answers a write has made stale.
//!
//! A write raises the epoch of its path; an answer counts only in the epoch in which its call began. Paths share a
//! fixed number of epochs by hash: memory stays bounded, and two paths that meet only lose an answer too many.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::call::Call;

/// Enough that unrelated paths seldom meet; 32 KiB.
const EPOCHS: usize = 4096;

#[derive(Debug)]
pub(super) struct Epochs {
    epochs: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Epochs {
    pub(super) fn new() -> Self {
        Self { epochs: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }

    /// The epoch of a call's path: by account, product and path; the query does not make it another resource.
    pub(super) fn of(&self, call: &Call) -> Epoch<'_> {
        let subject = &call.subject;
        let path = call.target.path().trim_end_matches('/');
        let hash = self.hasher.hash_one((&subject.account.name, subject.route.product, path));
        // The remainder is below the number of epochs.
        Epoch(&self.epochs[(hash % EPOCHS as u64) as usize])
    }
}

/// One path's epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epoch<'a>(&'a AtomicU64);

impl Epoch<'_> {
    pub(super) fn now(self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn raise(self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
