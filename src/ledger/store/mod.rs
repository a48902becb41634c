//! The store: what the gateway must remember across kill -9, power loss and reboots.
//!
//! A gateway that forgot its last window's calls would send a second window's worth into it. So the ledger writes each
//! bucket's [`Row`] before it acts on it, and what [`Store::write`] took is on the disk when it returns.
//!
//! In the folder `state.dir`:
//!
//! | file | is |
//! | --- | --- |
//! | `holder` | locked while a process uses the folder, and says which; that it was written tells a lost database from a first start |
//! | `ledger.redb` | the database with the rows, the incidents and the sealed access tokens |
//! | `newest` | the number of the newest commit, so that a database that fell back to an older one is found out |
//! | `locks.json` | a copy of the locks, which are what it would cost most to forget |
//! | `ledger.redb.damaged-…` | databases that were set aside, the last three |
//!
//! No clock but the monotonic one is trusted. In another era, after a reboot above all, the clocks of a row and of this
//! process have nothing in common: then everything is taken to be as far away as it was when the row was written. That
//! is never too early, and too late at most by the time the machine was down.
//!
//! What cannot be read is never guessed: the caller is told [`StartState::Lost`] and has to expect the worst.

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
mod row;
mod service;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::BTreeMap;

pub use error::{OpenError, WriteError};
pub use service::Store;

use super::{KeptToken, StartState};

/// A store just opened, and what it remembers.
#[derive(Debug)]
pub struct Opened {
    /// The store, held until it is dropped.
    pub store: Store,
    /// The rows.
    pub memory: StartState,
    /// The incidents that were kept, oldest first.
    pub incidents: Vec<String>,
    /// The tokens that were kept and still live, by account.
    pub tokens: BTreeMap<String, KeptToken>,
}
