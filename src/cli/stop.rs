//! SIGTERM and SIGINT, and what else ends a process that does not listen to it: a call in flight would lose its answer and
//! its line in the audit.

use std::{future::Future, io};

use futures_util::future::select_all;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is asked to stop. Listening starts now, so that no signal is missed.
pub(super) fn requested() -> io::Result<impl Future<Output = ()>> {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
    let signals = kinds.into_iter().map(signal).collect::<io::Result<Vec<_>>>()?;
    Ok(async move {
        select_all(signals.into_iter().map(|mut signal| Box::pin(async move { signal.recv().await }))).await;
    })
}
