//! Certificates are renewed while the gateway runs, by people, cron jobs, or a link that Kubernetes swaps.

use std::{sync::Arc, time::Duration};

use super::{Reread, Tls};
use crate::shutdown::Shutdown;

/// How often the files are read. Their contents are compared, since links and times tell less; a few small files every
/// few seconds cost nothing.
const PERIOD: Duration = Duration::from_secs(5);

/// Follows the files until the drain begins. Connections that stand keep what they began with.
pub async fn follow_tls(tls: Arc<Tls>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let reading = Arc::clone(&tls);
        // A file may lie on a disk that takes its time.
        let Ok(outcome) = tokio::task::spawn_blocking(move || reading.reread()).await else { return };
        match outcome {
            Reread::Same => {}
            Reread::Replaced => {
                tracing::info!("the files of proxy.tls have changed; new connections get what they hold now");
                if let Some(warning) = tls.warning() {
                    tracing::warn!("{warning}");
                }
            }
            Reread::Unusable(faults) => {
                for fault in faults {
                    tracing::warn!(%fault, "the files of proxy.tls have changed and cannot be used; what they held before goes on until they are mended");
                }
            }
        }
    }
}
