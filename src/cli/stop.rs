//! SIGTERM and SIGINT, and what else ends a process that does not listen to it: a call in flight would lose its answer and
//! its line in the audit.

use std::{fs, future::poll_fn, io, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals by which the process is asked to stop.
pub(super) struct Signals(Vec<(SignalKind, Signal)>);

/// Listening starts now, so that no signal is missed.
pub(super) fn listen() -> io::Result<Signals> {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
    // nohup(1) and shells have processes in the background ignore what is not meant for them.
    let heard = kinds.into_iter().filter(|kind| !is_ignored(*kind));
    heard.map(|kind| Ok((kind, signal(kind)?))).collect::<io::Result<_>>().map(Signals)
}

impl Signals {
    /// Resolves when the process is asked to stop; called again, when it is asked once more. A terminal that closes, or a
    /// supervisor that sends SIGHUP behind SIGTERM, asks only once.
    pub(super) async fn asked(&mut self) {
        poll_fn(|context| {
            let heard = self.0.iter_mut().any(|(_, signal)| signal.poll_recv(context).is_ready());
            if heard { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.0.retain(|(kind, _)| *kind != SignalKind::hangup());
    }
}

/// Whether whoever started the process had it ignore the signal. SIGTERM is always heard, or there would be no end.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    kind != SignalKind::terminate() && mask >> (kind.as_raw_value() - 1) & 1 == 1
}
