//! Which stored answers a write has made stale.
//!
//! A write that Zoho may have executed raises the epoch of its path when it ends. An answer is used only in the epoch in
//! which its call began. So no answer from before the write's end is used after it, whether it was stored or still on the
//! way. A write that was never sent, or that Zoho rejected unexecuted, changes nothing ([`AttemptLog`]). Paths share a fixed
//! number of epochs by hash, which bounds the memory; if two paths share an epoch, a write to one also discards the answers
//! of the other.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use crate::{
    call::{Call, attempt_log::AttemptLog},
    os::clock,
};

/// So many that two paths rarely share an epoch; 128 KiB.
const EPOCHS: usize = 4096;

/// For how long Zoho may still execute a write without an answer. Zoho's slowest calls take tens of seconds.
const UNCERTAIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Epochs {
    epochs: Arc<[Mutex<Epoch>]>,
    hasher: RandomState,
}

/// The index of a path's epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct EpochIndex(usize);

#[derive(Debug, Default)]
struct Epoch {
    number: u64,
    /// When the epoch ends by itself: a write of unknown outcome is certainly done then.
    ends: Option<Instant>,
}

impl Epoch {
    fn now(&mut self) -> u64 {
        if self.ends.is_some_and(|end| end <= clock::now()) {
            self.ends = None;
            self.number += 1;
        }
        self.number
    }
}

impl Epochs {
    pub(super) fn new() -> Self {
        Self { epochs: (0..EPOCHS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// The present epoch.
    pub(super) fn now(&self, index: EpochIndex) -> u64 {
        self.epochs[index.0].lock().now()
    }

    /// Whether an answer of this epoch may be stored: no write has ended since, and none of unknown outcome may still run.
    pub(super) fn may_store(&self, index: EpochIndex, number: u64) -> bool {
        let mut epoch = self.epochs[index.0].lock();
        epoch.now() == number && epoch.ends.is_none()
    }

    /// Starts a write. Its attempt log says at the end whether Zoho may have executed it.
    pub(super) fn write(&self, call: &Call) -> Write {
        let (epochs, index) = (Arc::clone(&self.epochs), self.index(call));
        Write { epochs, index, attempt_log: call.attempt_log.clone(), done: false }
    }

    /// The epoch of the call's resource: its server and decoded path. Query, login, spelling and the choice of a product's
    /// root do not matter.
    pub(super) fn index(&self, call: &Call) -> EpochIndex {
        let context = &call.context;
        let server = context.account.endpoints.product(context.route.product).authority().as_str();
        // The route layer rejects paths that are not UTF-8.
        let path = percent_decode_str(call.target.path().trim_end_matches('/')).decode_utf8_lossy();
        let hash = self.hasher.hash_one((server, context.route.product.below_first_root(&path)));
        // The remainder is below the number of epochs.
        EpochIndex((hash % EPOCHS as u64) as usize)
    }
}

/// A write in progress. Dropping it ends the write, also when its caller leaves.
#[derive(Debug)]
pub(super) struct Write {
    epochs: Arc<[Mutex<Epoch>]>,
    index: EpochIndex,
    attempt_log: AttemptLog,
    done: bool,
}

impl Write {
    /// Zoho has answered, so the write is done.
    pub(super) fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.attempt_log.steps().may_be_executed {
            return;
        }
        let mut epoch = self.epochs[self.index.0].lock();
        epoch.number += 1;
        if !self.done {
            epoch.ends = Some(clock::now() + UNCERTAIN);
        }
    }
}
