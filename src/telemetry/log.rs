//! Logs go to standard error: for people on a terminal, as JSON otherwise.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

/// Our own reports, and of the libraries only what went wrong.
const DEFAULT_FILTER: &str = "warn,zoho_gateway=info";

/// Installs the process's logger. `RUST_LOG` overrides what is shown.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second installation, as in tests, keeps the first.
    let _ = if std::io::stderr().is_terminal() {
        builder.with_ansi(true).compact().try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}
