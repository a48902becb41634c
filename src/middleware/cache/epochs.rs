//! Which kept answers a write has made stale.
//!
//! A write that Zoho may have executed raises the epoch of its path when it ends; an answer counts only in the epoch in
//! which its call began. So a read that began before the write's end is not served after it, whether it was kept or still
//! on its way. A write that was never sent, or that Zoho refused unexecuted, changes nothing ([`AttemptLog`]). Paths
//! share a fixed number of epochs by hash: memory stays bounded, and two paths that meet only lose an answer too many.

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

/// Enough that unrelated paths seldom meet; 128 KiB.
const EPOCHS: usize = 4096;

/// A write without an answer may still be executed for a while. Zoho's slowest calls take tens of seconds.
const SETTLES: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Epochs {
    epochs: Arc<[Mutex<Epoch>]>,
    hasher: RandomState,
}

/// Where a path's epoch is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

#[derive(Debug, Default)]
struct Epoch {
    number: u64,
    /// It ends by itself then, because a write of unknown outcome is done by then.
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
    pub(super) fn now(&self, place: Place) -> u64 {
        self.epochs[place.0].lock().now()
    }

    /// Whether an answer of this epoch may be kept: no write has overtaken it, and none of unknown outcome still may.
    pub(super) fn keeps(&self, place: Place, number: u64) -> bool {
        let mut epoch = self.epochs[place.0].lock();
        epoch.now() == number && epoch.ends.is_none()
    }

    /// A write begins; its trail tells later whether it may be executed.
    pub(super) fn write(&self, call: &Call) -> Write {
        let (epochs, place) = (Arc::clone(&self.epochs), self.place(call));
        Write { epochs, place, attempt_log: call.attempt_log.clone(), settled: false }
    }

    /// By server and decoded path: neither query nor login nor spelling nor the choice among a product's two roots makes it
    /// another resource.
    pub(super) fn place(&self, call: &Call) -> Place {
        let context = &call.context;
        let server = context.account.endpoints.product(context.route.product).authority().as_str();
        // The route layer lets only UTF-8 pass.
        let path = percent_decode_str(call.target.path().trim_end_matches('/')).decode_utf8_lossy();
        let hash = self.hasher.hash_one((server, context.route.product.below_first_root(&path)));
        // The remainder is below the number of epochs.
        Place((hash % EPOCHS as u64) as usize)
    }
}

/// A write under way. Dropping it is its end, also where its caller has gone.
#[derive(Debug)]
pub(super) struct Write {
    epochs: Arc<[Mutex<Epoch>]>,
    place: Place,
    attempt_log: AttemptLog,
    settled: bool,
}

impl Write {
    /// Zoho has answered it: what it changes is changed by now.
    pub(super) fn settled(mut self) {
        self.settled = true;
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.attempt_log.steps().may_be_executed {
            return;
        }
        let mut epoch = self.epochs[self.place.0].lock();
        epoch.number += 1;
        if !self.settled {
            epoch.ends = Some(clock::now() + SETTLES);
        }
    }
}
