//! Files that may change while the gateway runs: a person logs in again, a secret is rotated, Kubernetes swaps the link
//! that leads to them.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::spawn_blocking};

use crate::shutdown::Shutdown;

/// How often files are read. Their contents are compared, since links and times tell less; a few small files every few
/// seconds cost nothing.
const PERIOD: Duration = Duration::from_secs(5);

/// Calls `read` again and again until the drain begins, where it may take its time and may spawn tasks.
pub async fn until_drained(shutdown: Shutdown, read: impl Fn() + Send + Sync + 'static) {
    let read = Arc::new(read);
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let (read, handle) = (Arc::clone(&read), Handle::current());
        // A file may lie on a disk that has gone away; its thread is then left to itself.
        let reading = spawn_blocking(move || {
            let _inside = handle.enter();
            read();
        });
        tokio::select! {
            () = shutdown.draining() => return,
            outcome = reading => if outcome.is_err() { return },
        }
    }
}
