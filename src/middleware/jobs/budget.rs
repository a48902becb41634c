//! How many bytes all jobs may hold together.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::problem::{Cause, JobLimit};

/// When a caller tries again after the bytes were used up: a job that ends needs fewer bytes than before.
const AFTER_FULL: Duration = Duration::from_secs(30);

/// The bytes of all jobs.
#[derive(Debug)]
pub(super) struct Budget {
    used: Mutex<u64>,
    max: u64,
}

/// The bytes of one job; dropping it gives them back.
#[derive(Debug)]
pub(super) struct Held {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { used: Mutex::new(0), max })
    }

    /// No bytes yet.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        Held { budget: Arc::clone(self), bytes: 0 }
    }
}

impl Held {
    /// Holds `bytes` in all, unless that is too much.
    ///
    /// # Errors
    /// [`Cause::JobsFull`].
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<(), Cause> {
        let mut used = self.budget.used.lock();
        let more = bytes.saturating_sub(self.bytes);
        if more > self.budget.max.saturating_sub(*used) {
            return Err(Cause::JobsFull { limit: JobLimit::Bytes, retry_after: AFTER_FULL });
        }
        *used += more;
        self.bytes += more;
        Ok(())
    }

    /// Holds `bytes` in all, even if that is too much: an answer that came is kept.
    pub(super) fn set(&mut self, bytes: u64) {
        let mut used = self.budget.used.lock();
        *used = used.saturating_sub(self.bytes).saturating_add(bytes);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_jobs_together_hold_no_more_than_the_limit() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.hold(), budget.hold());
        one.grow_to(6).unwrap();
        assert!(other.grow_to(5).is_err());
        other.grow_to(4).unwrap();
        assert!(one.grow_to(7).is_err());
        one.grow_to(3).unwrap();
        one.set(20);
        assert!(budget.hold().grow_to(1).is_err());
        drop(one);
        other.grow_to(10).unwrap();
        drop(other);
        assert_eq!(*budget.used.lock(), 0);
    }
}
