//! Files of callers that may change while the gateway runs: key hashes and key sets.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{Callers, Issuers};
use crate::{reread, shutdown::Shutdown};

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It is not there, or not for us.
    #[error("cannot be read: {0}")]
    Failed(#[from] io::Error),
    /// A wrong path may lead to something endless.
    #[error("is too long: more than {0} bytes")]
    TooLong(u64),
}

/// What a file holds, unless it is longer than `longest` bytes.
pub(super) fn read(path: &Path, longest: u64) -> Result<Vec<u8>, Unread> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    let mut contents = Vec::new();
    file.take(longest + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > longest { Err(Unread::TooLong(longest)) } else { Ok(contents) }
}

/// Follows the files of all callers and issuers until the drain begins.
pub async fn follow_files(callers: Callers, issuers: Issuers, shutdown: Shutdown) {
    reread::until_drained(shutdown, move || {
        callers.reread();
        issuers.reread();
    })
    .await;
}
