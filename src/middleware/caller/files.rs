//! Reads the files of callers and issuers again while the gateway runs.

use super::{Callers, Issuers};
use crate::{os::shutdown::Shutdown, secret::file_watch};

/// Follows the files of all callers and issuers until the drain begins.
pub async fn follow_files(callers: Callers, issuers: Issuers, shutdown: Shutdown) {
    file_watch::until_draining(shutdown, move || {
        callers.reread();
        issuers.reread();
    })
    .await;
}
