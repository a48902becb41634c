//! How many callers may be connected at a time: so many that each can have a connection to Zoho too, and something is
//! left for tokens, the state store and operators. Beyond that idle connections give way, and where there are none whoever
//! comes waits, instead of being told that Zoho or the disk could not be reached.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::idle::IdleConnections;

/// Files that belong to no caller: operators above all, listeners, the store, tokens, the runtime.
const OWN_FILES: u64 = 320;

/// Operators and probes.
const ADMIN_PLACES: usize = 256;

/// Who comes during a drain is told so and leaves.
const LATE_PLACES: usize = 32;

/// Limits the number of connections; clones share the limit.
#[derive(Debug, Clone)]
pub struct ConnectionLimit {
    free: Arc<Semaphore>,
    idle: IdleConnections,
}

impl ConnectionLimit {
    /// For callers, as many as the process may have, and no more than `most`; the soft limit of open files is raised to
    /// the hard one for it.
    #[must_use]
    pub fn for_callers(most: usize) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
        let files = if raised { maximum } else { current };
        Self::of(files.map_or(usize::MAX, connections).min(most))
    }

    /// For operators, whom no crowd of callers keeps out.
    #[must_use]
    pub fn for_operators() -> Self {
        Self::of(ADMIN_PLACES)
    }

    /// For who comes during a drain, when the places of callers may all be taken by what is in flight.
    pub(super) fn for_late_callers() -> Self {
        Self::of(LATE_PLACES)
    }

    /// How many are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// A place, as soon as there is one; given back when dropped.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.free);
        if let Ok(place) = Arc::clone(&free).try_acquire_owned() {
            return Some(place);
        }
        let _wanted = self.idle.give_way();
        free.acquire_owned().await.ok()
    }

    /// Where connections that hold a place say that they are idle.
    pub(super) fn idle(&self) -> IdleConnections {
        self.idle.clone()
    }

    fn of(connections: usize) -> Self {
        let free = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        Self { free, idle: IdleConnections::default() }
    }
}

/// Half of the files that are left, since a call in flight has two; at least a few, whatever the limit.
fn connections(files: u64) -> usize {
    usize::try_from(files.saturating_sub(OWN_FILES) / 2).unwrap_or(usize::MAX).max(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_left_and_never_none() {
        for (files, expected) in [(1024, 352), (1_048_576, 524_128), (70, 8), (0, 8)] {
            assert_eq!(connections(files), expected, "{files}");
        }
    }
}
