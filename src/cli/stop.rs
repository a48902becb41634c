//! The signals that ask the program to stop. Those that end a process which does not listen to them are among them: a
//! call in flight would lose its answer and its line in the audit. SIGHUP does not stop the gateway.

use std::{fs, future::Future, io};

use futures_util::future::select_all;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is asked to stop. Listening starts now, so that no signal is missed.
pub(super) fn requested() -> io::Result<impl Future<Output = ()>> {
    any_of(&[SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()])
}

/// The same for a program that ends with its terminal.
pub(super) fn requested_or_hung_up() -> io::Result<impl Future<Output = ()>> {
    any_of(&[SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::hangup()])
}

/// What other services take for "read the configuration again" and "open the log anew" must not end the gateway, which
/// can do neither. It says so, and goes on.
pub(super) fn ignore_requests() -> io::Result<()> {
    let requests = [
        (
            SignalKind::hangup(),
            "SIGHUP",
            "the configuration is read at the start only; restart the gateway to apply a change",
        ),
        (SignalKind::user_defined1(), "SIGUSR1", "an audit file that was renamed is made anew by itself"),
        (SignalKind::user_defined2(), "SIGUSR2", "it has no meaning here"),
    ];
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

fn any_of(kinds: &[SignalKind]) -> io::Result<impl Future<Output = ()> + use<>> {
    // nohup(1) and shells have processes in the background ignore what is not meant for them.
    let heard = kinds.iter().copied().filter(|kind| !is_ignored(*kind));
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
