//! How many callers may wait, over all lines together.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::{Caller, Claim, Entrance};

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
}

/// The room in which the callers of all lines wait.
#[derive(Debug)]
pub struct WaitingRoom {
    limits: Limits,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    calls: usize,
    bytes: usize,
    by_caller: HashMap<Caller, usize>,
}

/// A seat in the room; dropping it leaves the room.
#[derive(Debug)]
pub(super) struct Seat {
    room: Arc<WaitingRoom>,
    caller: Caller,
    bytes: usize,
}

impl WaitingRoom {
    /// An empty room.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, inside: Mutex::default() })
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inside.lock().calls
    }

    /// Whether it would let this one in, which takes no seat.
    pub(super) fn admits(&self, claim: &Claim) -> Result<(), Limit> {
        self.inside.lock().admits(claim, self.limits)
    }

    /// Who comes back from a lock was in already and is not turned away.
    pub(super) fn enter(self: &Arc<Self>, claim: &Claim) -> Result<Seat, Limit> {
        let mut inside = self.inside.lock();
        inside.admits(claim, self.limits)?;
        inside.calls += 1;
        inside.bytes = inside.bytes.saturating_add(claim.bytes);
        *inside.by_caller.entry(claim.caller.clone()).or_default() += 1;
        Ok(Seat { room: Arc::clone(self), caller: claim.caller.clone(), bytes: claim.bytes })
    }
}

impl Inside {
    fn admits(&self, claim: &Claim, limits: Limits) -> Result<(), Limit> {
        if claim.entrance == Entrance::Back {
            if self.calls >= limits.calls {
                return Err(Limit::Calls);
            }
            if self.bytes.saturating_add(claim.bytes) > limits.bytes {
                return Err(Limit::Bytes);
            }
            if self.by_caller.get(&claim.caller).copied().unwrap_or_default() >= limits.calls_per_caller {
                return Err(Limit::CallsPerCaller);
            }
        }
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = self.room.inside.lock();
        inside.calls -= 1;
        inside.bytes = inside.bytes.saturating_sub(self.bytes);
        if let Some(own) = inside.by_caller.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                inside.by_caller.remove(&self.caller);
            }
        }
    }
}
