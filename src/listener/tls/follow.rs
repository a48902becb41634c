//! Rereads the files while the gateway runs, because people, cron jobs and Kubernetes renew certificates. Warns if a
//! certificate is not renewed in time.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Tls;
use crate::{
    os::{clock, shutdown::Shutdown},
    secret::file_watch::{self, Reread},
    telemetry::Metrics,
};

/// How often to warn that a certificate expires soon. At the start, the configuration warns.
const REMINDER: Duration = Duration::from_secs(24 * 3600);

/// Follows the files of this key until the drain begins. Open connections keep the certificate that they began with.
/// The metrics are for the certificate that callers see.
pub async fn follow_tls(tls: Arc<Tls>, key: &'static str, metrics: Option<Arc<Metrics>>, shutdown: Shutdown) {
    let measure = move |tls: &Tls| metrics.iter().for_each(|metrics| metrics.certificate_ends(tls.expiry()));
    measure(&tls);
    let reminded = Mutex::new(clock::now());
    file_watch::until_draining(shutdown, move || {
        let outcome = tls.reread();
        let replaced = matches!(outcome, Reread::Replaced);
        if replaced {
            tracing::info!("the files of {key} have changed; new connections use their new contents");
            measure(&tls);
        }
        if let Reread::Unusable(faults) = outcome {
            tracing::warn!(
                faults,
                "the files of {key} have changed and cannot be used; their former contents stay in use"
            );
        }
        if is_due(&mut reminded.lock(), replaced)
            && let Some(warning) = tls.warning()
        {
            tracing::warn!("{warning}");
        }
    })
    .await;
}

/// Whether to check the certificate's expiry: at once for a new one, otherwise once a day.
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
    async fn expiry_is_checked_daily_and_for_each_new_certificate() {
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
