//! SIGTERM and SIGINT, and what else ends a process that does not listen to it: a call in flight would lose its answer and
//! its line in the audit.

use std::{fs, future::Future, io};

use futures_util::future::select_all;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is asked to stop. Listening starts now, so that no signal is missed.
pub(super) fn requested() -> io::Result<impl Future<Output = ()>> {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
    // nohup(1) and shells have processes in the background ignore what is not meant for them.
    let heard = kinds.into_iter().filter(|kind| !is_ignored(*kind));
    let signals = heard.map(signal).collect::<io::Result<Vec<_>>>()?;
    Ok(async move {
        select_all(signals.into_iter().map(|mut signal| Box::pin(async move { signal.recv().await }))).await;
    })
}

/// Whether whoever started the process had it ignore the signal. SIGTERM is always heard, or there would be no end.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    kind != SignalKind::terminate() && mask >> (kind.as_raw_value() - 1) & 1 == 1
}
