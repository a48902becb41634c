//! The store: what the gateway must remember across kill -9, power loss and reboots.
//!
//! A gateway that forgot the calls of its last window could send a second window's worth of calls. So the ledger writes
//! the [`Row`](super::Row) of each window before it uses a slot, and rows are on the disk when [`Store::write`] returns.
//!
//! In the folder `state.dir`:
//!
//! | file | content |
//! | --- | --- |
//! | `holder` | locked by the process that uses the folder, and names it; a file with content tells a lost database from a first start |
//! | `ledger.redb` | the database with the rows, the incidents and the sealed access tokens |
//! | `newest` | the number of the newest commit, which reveals a database that fell back to an older one |
//! | `locks.json` | a copy of the locks, whose loss would cost most |
//! | `jobs.redb` | the jobs (`middleware/jobs/store/`), in a database of their own under the same lock |
//! | `ledger.redb.damaged-…` | databases that were set aside, the last three |
//!
//! Only the monotonic clock is trusted. After a reboot the clocks of a row and of this process have nothing in common:
//! then each time is taken to be as far away as it was when the row was written. That is never too early, and too late
//! by at most the time the machine was down.
//!
//! Unreadable data is never guessed: the caller gets [`StartState::Lost`] and must assume the worst.

mod commit_mark;
mod copy;
#[cfg(test)]
mod damage_tests;
mod database;
mod dir_lock;
mod error;
mod files;
mod opening;
#[cfg(test)]
mod path_tests;
mod predecessors;
mod row;
mod service;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::BTreeMap;

pub use error::{OpenError, WriteError};
pub use service::Store;

use super::{KeptToken, StartState};

/// A store that was just opened, and its content.
#[derive(Debug)]
pub struct Opened {
    /// The store; it holds the folder's lock until it is dropped.
    pub store: Store,
    /// The rows, or how they were lost.
    pub start_state: StartState,
    /// The stored incidents, oldest first.
    pub incidents: Vec<String>,
    /// The stored tokens that are still valid, by account.
    pub tokens: BTreeMap<String, KeptToken>,
}
