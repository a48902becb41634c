//! What the ledger stores for the next process. Moments are in the clock of this process.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tokio::time::Instant;

/// The name of a window: a limit of one account.
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
    /// The window with which `charges` were computed.
    pub window: Duration,
    /// How many calls hold a slot and have no known answer.
    pub in_flight: u32,
    /// Whether there are answers that were not read to the end and may report a lock.
    pub unread: bool,
    /// How many other slots in use come free at which moment, earliest first.
    pub charges: Vec<(Instant, u32)>,
    /// The end of a lock.
    pub lock: Option<Instant>,
}

/// What is known about the calls of earlier processes.
#[derive(Debug, PartialEq, Eq)]
pub enum StartState {
    /// The directory was never used, so no call was ever sent.
    Fresh,
    /// The complete state.
    Kept(BTreeMap<Key, Row>),
    /// The database existed, but is missing, damaged or unreadable.
    ///
    /// Each opening reports this again until the next write. That write therefore has to contain the complete state.
    Lost {
        /// What is wrong with the database.
        reason: String,
        /// Where the damaged file was moved to.
        set_aside: Option<PathBuf>,
        /// The locks, from the copy next to the database; empty if that copy is unreadable too.
        locks: BTreeMap<Key, Instant>,
    },
}

/// An access token that is stored for the next process, encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptToken {
    /// The encrypted token.
    pub sealed: Vec<u8>,
    /// When it expires.
    pub expires_at: Instant,
}

impl Row {
    /// Whether there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_flight == 0 && !self.unread && self.charges.is_empty() && self.lock.is_none()
    }
}
