//! The signals that ask the program to stop. It handles every signal that would otherwise end the process at once, because
//! a call in flight would lose its answer and its line in the audit. SIGHUP reloads the configuration of the gateway.

use std::{fs, future::poll_fn, io, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask the process to stop.
pub(super) struct Signals(Vec<Signal>);

/// Starts to listen, so that no later signal is missed.
pub(super) fn listen() -> io::Result<Signals> {
    Signals::of(&[SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()])
}

/// SIGHUP asks for a reload of the configuration.
pub(super) fn listen_for_reloads() -> io::Result<Signals> {
    Signals::of(&[SignalKind::hangup()])
}

/// The same for a program that ends with its terminal.
pub(super) fn listen_with_the_terminal() -> io::Result<Signals> {
    Signals::of(&[SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::hangup()])
}

impl Signals {
    fn of(kinds: &[SignalKind]) -> io::Result<Self> {
        // nohup(1) and shells make background processes ignore some signals.
        let heard = kinds.iter().copied().filter(|kind| !is_ignored(*kind));
        heard.map(signal).collect::<io::Result<_>>().map(Self)
    }

    /// Waits until the process is asked to stop; a second call waits for the next signal.
    pub(super) async fn asked(&mut self) {
        poll_fn(|context| {
            let heard = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if heard { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Signals that mean "reopen the log" and the like to other services must not end the gateway. It says so, and goes on.
/// SIGHUP does not end it while the configuration is read; later it asks for a reload.
pub(super) fn ignore_requests() -> io::Result<()> {
    let requests = [
        (SignalKind::user_defined1(), "SIGUSR1", "a renamed audit file is replaced without a signal"),
        (SignalKind::user_defined2(), "SIGUSR2", "it has no meaning here"),
    ];
    if !is_ignored(SignalKind::hangup()) {
        drop(signal(SignalKind::hangup())?);
    }
    for (kind, name, why) in requests.into_iter().filter(|(kind, ..)| !is_ignored(*kind)) {
        let mut received = signal(kind)?;
        tokio::spawn(async move {
            while received.recv().await.is_some() {
                tracing::warn!("{name} is ignored: {why}");
            }
        });
    }
    Ok(())
}

/// Whether the process was started with this signal ignored. SIGTERM is never ignored, otherwise nothing would stop it.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    kind != SignalKind::terminate() && mask >> (kind.as_raw_value() - 1) & 1 == 1
}
