//! How many callers may wait, over all lines together, and whose places those are.
//!
//! A part of the room is each caller's by its weight, but what nobody needs is lent: while there is room, everybody may
//! use it. When there is none left and somebody comes who has less than its share, the last call of whoever is furthest
//! above its own has to go ([`shares`]).

mod shares;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use self::shares::{Inside, Turn};
use super::{Caller, SlotRequest, waiter_signal::WaiterSignal};

/// What waiting is bounded by. Each also holds alone: whoever would pass one of them is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many calls may wait.
    pub calls: usize,
    /// How many bytes of them may be held meanwhile.
    pub bytes: usize,
    /// How many calls of one caller may wait.
    pub calls_per_caller: usize,
}

impl Limits {
    /// Nobody waits: who gets no slot is told so.
    pub const NOBODY: Self = Self { calls: 0, bytes: 0, calls_per_caller: 0 };

    /// So many calls, whoever makes them and whatever they hold.
    #[must_use]
    pub fn calls(calls: usize) -> Self {
        Self { calls, bytes: usize::MAX, calls_per_caller: calls }
    }
}

/// The limit that turned a caller away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Limits::calls`].
    Calls,
    /// [`Limits::bytes`].
    Bytes,
    /// [`Limits::calls_per_caller`].
    CallsPerCaller,
    /// Its place was another caller's by right, who needs it now.
    Lent,
}

/// The room in which the callers of all lines wait.
///
/// Its mutex is a leaf: a line's is taken before it and never while it is held. So a waiter of another line is not taken
/// from its queue here; its seat is given away, its bell rings, and it leaves its own line itself.
#[derive(Debug)]
pub struct QueueCapacity {
    limits: Limits,
    inside: Mutex<Inside>,
}

/// A seat in the room; dropping it leaves the room, unless it was given away.
#[derive(Debug)]
pub(super) struct QueueAdmission {
    room: Arc<QueueCapacity>,
    caller: Caller,
    bytes: usize,
    turn: Option<Turn>,
    signal: Arc<WaiterSignal>,
}

impl QueueCapacity {
    /// An empty room.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, inside: Mutex::default() })
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inside.lock().calls()
    }

    /// Whether it would let this one in, which takes no seat.
    pub(super) fn admits(&self, request: &SlotRequest) -> Result<(), Limit> {
        self.inside.lock().admits(request, self.limits)
    }

    /// Takes a seat, another caller's last one where that is this caller's by right; the one who loses it hears its bell.
    /// Who comes back from a lock was in already and is not turned away.
    pub(super) fn enter(
        self: &Arc<Self>,
        request: &SlotRequest,
        signal: &Arc<WaiterSignal>,
        now: Instant,
    ) -> Result<QueueAdmission, Limit> {
        let turn = self.inside.lock().enter(request, self.limits, signal, now)?;
        let (room, caller, signal) = (Arc::clone(self), request.caller.clone(), Arc::clone(signal));
        Ok(QueueAdmission { room, caller, bytes: request.bytes, turn, signal })
    }
}

impl Drop for QueueAdmission {
    fn drop(&mut self) {
        let mut inside = self.room.inside.lock();
        // Seats are given away under this lock.
        if !self.signal.is_turned_out() {
            inside.leave(&self.caller, self.turn, self.bytes);
        }
    }
}
