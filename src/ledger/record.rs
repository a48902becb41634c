//! What the ledger has to remember across processes, in the time of this process.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tokio::time::Instant;

/// Names a window: the limit of one account that calls count against.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// The account's name.
    pub account: String,
    /// A route's id, "daily", or a kind of token requests.
    pub limit: String,
}

/// The state of a window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// The span that its charges were computed with.
    pub window: Duration,
    /// Calls sent, or about to be sent, whose answer is not known.
    pub in_flight: u32,
    /// Calls are answered whose answer was not read to its end, where it may tell of a lock.
    pub unread: bool,
    /// When how many answered slots come free, earliest first.
    pub charges: Vec<(Instant, u32)>,
    /// The end of a lock.
    pub lock: Option<Instant>,
}

/// What is known of the time before this process.
#[derive(Debug, PartialEq, Eq)]
pub enum StartState {
    /// The folder was never used: nothing was ever sent from here.
    Fresh,
    /// Everything that was known.
    Kept(BTreeMap<Key, Row>),
    /// The database existed, but is missing, damaged or unreadable.
    ///
    /// Every opening reports this again until the first write after it. That write therefore has to carry everything
    /// that is to be remembered.
    Lost {
        /// What was found.
        reason: String,
        /// Where the damaged file is now.
        set_aside: Option<PathBuf>,
        /// The locks, from the copy next to the database; empty if that copy is unreadable too.
        locks: BTreeMap<Key, Instant>,
    },
}

/// An access token that outlives its process, sealed by its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptToken {
    /// Only its owner can read this.
    pub sealed: Vec<u8>,
    /// When it expires.
    pub expires_at: Instant,
}

impl Row {
    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_flight == 0 && !self.unread && self.charges.is_empty() && self.lock.is_none()
    }
}
