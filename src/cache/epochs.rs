//! Which kept answers a write has made stale.
//!
//! A write raises the epoch of its path; an answer counts only in the epoch in which its call began. Paths share a
//! fixed number of epochs by hash: memory stays bounded, and two paths that meet only lose an answer too many.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use percent_encoding::percent_decode_str;

use crate::call::Call;

/// Enough that unrelated paths seldom meet; 32 KiB.
const EPOCHS: usize = 4096;

#[derive(Debug)]
pub(super) struct Epochs {
    epochs: Arc<[AtomicU64]>,
    hasher: RandomState,
}

impl Epochs {
    pub(super) fn new() -> Self {
        Self { epochs: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }

    /// The epoch of a call's path.
    pub(super) fn now(&self, call: &Call) -> u64 {
        self.epochs[self.place(call)].load(Ordering::SeqCst)
    }

    /// A write begins; it ends when the value is dropped, also by a caller that hangs up.
    pub(super) fn write(&self, call: &Call) -> Write {
        let write = Write { epochs: Arc::clone(&self.epochs), place: self.place(call) };
        write.raise();
        write
    }

    /// By server and decoded path: neither the query nor the login nor the way it is written makes it another resource.
    fn place(&self, call: &Call) -> usize {
        let subject = &call.subject;
        let server = subject.account.endpoints.product(subject.route.product).authority().as_str();
        let path: Vec<u8> = percent_decode_str(call.target.path().trim_end_matches('/')).collect();
        let hash = self.hasher.hash_one((server, path));
        // The remainder is below the number of epochs.
        (hash % EPOCHS as u64) as usize
    }
}

/// A write under way. It raises the epoch when it begins, so that no read during it is kept, and when it ends, so that
/// none that saw the state before it is served.
#[derive(Debug)]
pub(super) struct Write {
    epochs: Arc<[AtomicU64]>,
    place: usize,
}

impl Write {
    fn raise(&self) {
        self.epochs[self.place].fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        self.raise();
    }
}
