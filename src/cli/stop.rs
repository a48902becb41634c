//! SIGTERM and SIGINT.

use std::{future::Future, io};

use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is asked to stop. Listening starts now, so that no signal is missed.
pub(super) fn requested() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
