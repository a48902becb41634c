//! How many calls may wait, over all limiters together, and which caller each slot in the queue belongs to.
//!
//! Each caller owns a share of the capacity, by its weight. A share that its owner does not need is lent: while the
//! queue is not full, each caller may use all of it. When it is full and a call comes whose caller is below its share,
//! the last call of the caller that is furthest above its own share is evicted ([`shares`]).

mod shares;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use self::shares::{EvictionKey, WaitingCalls};
use super::{Caller, SlotRequest, waiter_signal::WaiterSignal};

/// What waiting is bounded by. Each bound holds alone: a call that would exceed one of them is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many calls may wait.
    pub calls: usize,
    /// How many bytes they may hold meanwhile.
    pub bytes: usize,
    /// How many calls of one caller may wait.
    pub calls_per_caller: usize,
}

impl Limits {
    /// No call waits: without a free slot it is refused at once.
    pub const NOBODY: Self = Self { calls: 0, bytes: 0, calls_per_caller: 0 };

    /// This number of calls, of any caller and any size.
    #[must_use]
    pub fn calls(calls: usize) -> Self {
        Self { calls, bytes: usize::MAX, calls_per_caller: calls }
    }
}

/// The limit because of which a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Limits::calls`].
    Calls,
    /// [`Limits::bytes`].
    Bytes,
    /// [`Limits::calls_per_caller`].
    CallsPerCaller,
    /// It waited in another caller's share, and that caller needs its share now.
    Lent,
}

/// The calls that wait at all limiters, and their limits.
///
/// Its mutex is a leaf: a limiter's mutex is locked before it and never while it is held. So an evicted call of another
/// limiter is not removed from its queue here: it is no longer counted, its signal wakes it, and it leaves its own
/// queue itself.
#[derive(Debug)]
pub struct QueueCapacity {
    limits: Mutex<Limits>,
    calls: Mutex<WaitingCalls>,
}

/// A waiting call's part of the capacity. Dropping it frees that part, unless the call was evicted.
#[derive(Debug)]
pub(super) struct QueueAdmission {
    capacity: Arc<QueueCapacity>,
    caller: Caller,
    bytes: usize,
    key: Option<EvictionKey>,
    signal: Arc<WaiterSignal>,
}

impl QueueCapacity {
    /// With no waiting calls.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits: Mutex::new(limits), calls: Mutex::default() })
    }

    /// Changes the limits. Calls that wait stay, even if they are more.
    pub fn change(&self, limits: Limits) {
        *self.limits.lock() = limits;
    }

    /// How many calls wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.calls.lock().count
    }

    /// How many calls may wait.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limits.lock().calls
    }

    /// Whether [`enter`](Self::enter) would accept this call. Changes nothing.
    pub(super) fn admits(&self, request: &SlotRequest) -> Result<(), Limit> {
        let limits = *self.limits.lock();
        self.calls.lock().admits(request, limits)
    }

    /// Counts a call that begins to wait, and evicts calls of callers above their shares if this caller's share needs
    /// it. A call that returns from a lock was counted before, so it is never refused.
    pub(super) fn enter(
        self: &Arc<Self>,
        request: &SlotRequest,
        signal: &Arc<WaiterSignal>,
        now: Instant,
    ) -> Result<QueueAdmission, Limit> {
        let limits = *self.limits.lock();
        let key = self.calls.lock().enter(request, limits, signal, now)?;
        let (capacity, caller, signal) = (Arc::clone(self), request.caller.clone(), Arc::clone(signal));
        Ok(QueueAdmission { capacity, caller, bytes: request.bytes, key, signal })
    }
}

impl Drop for QueueAdmission {
    fn drop(&mut self) {
        let mut calls = self.capacity.calls.lock();
        // Calls are evicted under this lock.
        if !self.signal.is_evicted() {
            calls.leave(&self.caller, self.key, self.bytes);
        }
    }
}
