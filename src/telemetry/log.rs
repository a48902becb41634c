//! Logs go to standard error: for people on a terminal, as JSON otherwise.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt};

/// Our own reports, and of the libraries only what went wrong.
const DEFAULT_FILTER: &str = "warn,zoho_gateway=info";

/// Installs the process's logger. `RUST_LOG` overrides what is shown.
///
/// Lines are written by a thread of their own, and dropped when whoever reads them stalls: calls go on. Dropping the
/// guard writes what is still to be written.
#[must_use = "lines not yet written are lost without the guard"]
pub fn init() -> WorkerGuard {
    let (writer, guard) = NonBlocking::new(std::io::stderr());
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.trim().is_empty());
    let filter = asked.and_then(|filter| filter.parse().ok()).unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER));
    let builder = fmt().with_env_filter(filter).with_writer(writer);
    // A second installation, as in tests, keeps the first.
    let _ = if std::io::stderr().is_terminal() {
        builder.with_ansi(true).compact().try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    guard
}
