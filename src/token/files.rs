//! Credentials in files may change while the gateway runs: a person logs in again, a secret is rotated, Kubernetes swaps
//! the link that leads to them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::Source;
use crate::{account::AccountName, shutdown::Shutdown};

/// How often the files are read. Their contents are compared, since links and times tell less; a few small files every
/// few seconds cost nothing.
const PERIOD: Duration = Duration::from_secs(5);

/// Follows the files of all accounts until the drain begins.
pub async fn follow_files(sources: Arc<HashMap<AccountName, Arc<Source>>>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let (handle, sources) = (tokio::runtime::Handle::current(), Arc::clone(&sources));
        // A file may lie on a disk that takes its time.
        let reading = tokio::task::spawn_blocking(move || {
            let _inside = handle.enter();
            sources.values().for_each(Source::reread);
        });
        if reading.await.is_err() {
            return;
        }
    }
}
