//! Limits the memory for all bodies that are being read at once. The queue counts the bodies of waiting calls itself.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{ledger::Limit, problem::Cause};

/// Most bodies are read within a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The number of bytes that all bodies that are being read hold, and its maximum.
#[derive(Debug)]
pub(super) struct ReadBudget {
    max: u64,
    held: AtomicU64,
}

/// The bytes of one body; `Drop` returns them to the budget.
#[derive(Debug)]
pub(super) struct ReadShare {
    budget: Arc<ReadBudget>,
    bytes: u64,
}

impl ReadBudget {
    /// Allows `max` bytes, and a single body of any size.
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max, held: AtomicU64::default() })
    }

    pub(super) fn share(self: &Arc<Self>) -> ReadShare {
        ReadShare { budget: Arc::clone(self), bytes: 0 }
    }
}

impl ReadShare {
    /// Records that `bytes` of the body are held now. If that is too much, the body gives back all that it held, so
    /// that only as many bodies are rejected as must be.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<(), Cause> {
        let more = bytes.saturating_sub(self.bytes);
        let fits = |held: u64| held + more <= self.budget.max || held == self.bytes;
        let grown = self.budget.held.fetch_update(Relaxed, Relaxed, |held| fits(held).then_some(held + more));
        if grown.is_err() {
            self.release();
            return Err(Cause::QueueFull { retry_after: RETRY_AFTER, limit: Limit::Bytes });
        }
        self.bytes += more;
        Ok(())
    }

    fn release(&mut self) {
        self.budget.held.fetch_sub(mem::take(&mut self.bytes), Relaxed);
    }
}

impl Drop for ReadShare {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_budget_and_return_it() {
        let budget = ReadBudget::new(100);
        let (mut first, mut second) = (budget.share(), budget.share());
        first.grow_to(60).unwrap();
        second.grow_to(40).unwrap();
        assert!(matches!(second.grow_to(41), Err(Cause::QueueFull { .. })));
        // The rejected body is still there, but it leaves its bytes to the other one.
        first.grow_to(100).unwrap();
        drop(second);
        drop(first);
        assert_eq!(budget.held.load(Relaxed), 0);
        let mut alone = budget.share();
        alone.grow_to(1000).unwrap();
    }
}
