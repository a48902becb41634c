//! An entry of a limiter's queue.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    super::{Caller, Observer, waiter_signal::WaiterSignal},
    bookings::KEPT,
};

/// A call that waits, or the booking of a call that was refused.
#[derive(Debug)]
pub(super) struct Entry {
    /// The call that waits here; `None` of a booking.
    pub(super) waiter: Option<Waiter>,
    /// When a refusal said that its turn comes.
    pub(super) promised: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) caller: Caller,
    /// Its id in logs and answers.
    pub(super) request_id: Arc<str>,
    pub(super) deadline: Instant,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) signal: Arc<WaiterSignal>,
    /// Whether it keeps its turn if it is refused.
    pub(super) may_book: bool,
}

impl Entry {
    /// Whether it is a booking that keeps no slot free any more, because its call should have come.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.waiter.is_none() && self.promised.is_some_and(|promised| promised + KEPT <= now)
    }
}
