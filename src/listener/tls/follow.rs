//! Certificates are renewed while the gateway runs, by people, cron jobs, or a link that Kubernetes swaps.

use std::sync::Arc;

use super::Tls;
use crate::{
    reread::{self, Reread},
    shutdown::Shutdown,
};

/// Follows the files until the drain begins. Connections that stand keep what they began with.
pub async fn follow_tls(tls: Arc<Tls>, shutdown: Shutdown) {
    reread::until_draining(shutdown, move || match tls.reread() {
        Reread::Quiet => {}
        Reread::Replaced => {
            tracing::info!("the files of proxy.tls have changed; new connections get what they hold now");
            if let Some(warning) = tls.warning() {
                tracing::warn!("{warning}");
            }
        }
        Reread::Unusable(faults) => {
            tracing::warn!(faults, "the files of proxy.tls have changed and cannot be used; what they held before goes on until they are mended");
        }
    })
    .await;
}
