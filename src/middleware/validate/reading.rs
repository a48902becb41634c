//! How much of all bodies together may be held while they are read, so that many large ones at once do not take all of
//! the memory. What waits in the queue is counted there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{ledger::Limit, problem::Cause};

/// Bodies are read within a moment of their coming.
const AFTER_A_MOMENT: Duration = Duration::from_secs(1);

/// What all bodies that are being read hold.
#[derive(Debug)]
pub(super) struct Reading {
    most: u64,
    held: AtomicU64,
}

/// One body's part of it, given back when dropped.
#[derive(Debug)]
pub(super) struct Part {
    of: Arc<Reading>,
    bytes: u64,
}

impl Reading {
    /// At most so many bytes, but a body that is alone is read whatever its size.
    pub(super) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, held: AtomicU64::default() })
    }

    pub(super) fn begin(self: &Arc<Self>) -> Part {
        Part { of: Arc::clone(self), bytes: 0 }
    }
}

impl Part {
    /// So much of the body is held by now.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<(), Cause> {
        let more = bytes.saturating_sub(self.bytes);
        let all = self.of.held.fetch_add(more, Relaxed) + more;
        self.bytes += more;
        if all > self.of.most && all > self.bytes {
            return Err(Cause::QueueFull { retry_after: AFTER_A_MOMENT, limit: Limit::Bytes });
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.of.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_what_there_is_and_give_it_back() {
        let reading = Reading::new(100);
        let (mut first, mut second) = (reading.begin(), reading.begin());
        first.grow_to(60).unwrap();
        second.grow_to(40).unwrap();
        assert!(matches!(second.grow_to(41), Err(Cause::QueueFull { .. })));
        drop(second);
        first.grow_to(100).unwrap();
        drop(first);
        assert_eq!(reading.held.load(Relaxed), 0);
        let mut alone = reading.begin();
        alone.grow_to(1000).unwrap();
    }
}
