//! Limits how many callers may be connected at a time, so that each can also have a connection to Zoho and enough open
//! files remain for tokens, the state store and operators. Beyond the limit idle connections are closed. If there are
//! none, a new connection waits; without the limit its caller would read that Zoho or the disk cannot be reached.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::idle::IdleConnections;

/// Open files that belong to no caller: mainly operators, and listeners, the store, tokens, the runtime.
const OWN_FILES: u64 = 320;

/// Connections of operators and probes.
const OPERATOR_CONNECTIONS: usize = 256;

/// Connections that are accepted during a drain, only to be rejected.
const LATE_CONNECTIONS: usize = 32;

/// Limits the number of connections; clones share the limit.
#[derive(Debug, Clone)]
pub struct ConnectionLimit {
    free: Arc<Semaphore>,
    idle: IdleConnections,
}

impl ConnectionLimit {
    /// The limit for callers: what the process may open, and at most `most`. Raises the soft limit of open files to the
    /// hard limit first.
    #[must_use]
    pub fn for_callers(most: usize) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
        let files = if raised { maximum } else { current };
        Self::of(files.map_or(usize::MAX, connections).min(most))
    }

    /// The limit for operators, independent of the number of callers.
    #[must_use]
    pub fn for_operators() -> Self {
        Self::of(OPERATOR_CONNECTIONS)
    }

    /// The limit for new connections during a drain, when calls in flight may use all of the callers' limit.
    pub(super) fn for_late_callers() -> Self {
        Self::of(LATE_CONNECTIONS)
    }

    /// How many connections are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Waits for a free connection, and closes an idle one for it. Dropping the permit frees the connection.
    pub(super) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        let _waiting = self.idle.close_longest_idle();
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// The idle connections within this limit.
    pub(super) fn idle(&self) -> IdleConnections {
        self.idle.clone()
    }

    fn of(connections: usize) -> Self {
        let free = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        Self { free, idle: IdleConnections::default() }
    }
}

/// Half of the remaining files, because a call in flight has two connections; at least 8, whatever the limit.
fn connections(files: u64) -> usize {
    usize::try_from(files.saturating_sub(OWN_FILES) / 2).unwrap_or(usize::MAX).max(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_half_of_the_remaining_files_and_at_least_8() {
        for (files, expected) in [(1024, 352), (1_048_576, 524_128), (70, 8), (0, 8)] {
            assert_eq!(connections(files), expected, "{files}");
        }
    }
}
