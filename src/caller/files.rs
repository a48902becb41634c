//! Files of callers that may change while the gateway runs: key hashes and key sets.

use super::{Callers, Issuers};
use crate::{reread, shutdown::Shutdown};

/// Follows the files of all callers and issuers until the drain begins.
pub async fn follow_files(callers: Callers, issuers: Issuers, shutdown: Shutdown) {
    reread::until_draining(shutdown, move || {
        callers.reread();
        issuers.reread();
    })
    .await;
}
