//! Certificates are renewed while the gateway runs, by people, cron jobs, or a link that Kubernetes swaps; or they are
//! not, and somebody should hear.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Tls;
use crate::{
    os::{clock, shutdown::Shutdown},
    secret::file_watch::{self, Reread},
    telemetry::Metrics,
};

/// How often it is told that a certificate ends soon. At the start it was told with the configuration.
const REMINDER: Duration = Duration::from_secs(24 * 3600);

/// Follows the files until the drain begins. Connections that stand keep what they began with.
pub async fn follow_tls(tls: Arc<Tls>, metrics: Arc<Metrics>, shutdown: Shutdown) {
    metrics.certificate_ends(tls.end());
    let reminded = Mutex::new(clock::now());
    file_watch::until_draining(shutdown, move || {
        let outcome = tls.reread();
        let replaced = matches!(outcome, Reread::Replaced);
        if replaced {
            tracing::info!("the files of proxy.tls have changed; new connections get what they hold now");
            metrics.certificate_ends(tls.end());
        }
        if let Reread::Unusable(faults) = outcome {
            tracing::warn!(faults, "the files of proxy.tls have changed and cannot be used; what they held before goes on until they are mended");
        }
        if is_due(&mut reminded.lock(), replaced)
            && let Some(warning) = tls.warning()
        {
            tracing::warn!("{warning}");
        }
    })
    .await;
}

/// Whether the certificate's end is to be looked at: of a new one at once, otherwise once a day.
fn is_due(last: &mut Instant, replaced: bool) -> bool {
    let now = clock::now();
    let due = replaced || now >= *last + REMINDER;
    if due {
        *last = now;
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_certificates_end_is_looked_at_daily_and_with_each_new_one() {
        let mut last = clock::now();
        for (passed, replaced, due) in [
            (Duration::from_secs(5), false, false),
            (REMINDER, false, true),
            (Duration::from_secs(5), false, false),
            (REMINDER - Duration::from_secs(10), true, true),
            (REMINDER - Duration::from_secs(5), false, false),
            (Duration::from_secs(5), false, true),
        ] {
            tokio::time::advance(passed).await;
            assert_eq!(is_due(&mut last, replaced), due, "{passed:?}");
        }
    }
}
