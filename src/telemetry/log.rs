//! Logs on standard error: readable text on a terminal, JSON otherwise.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    AUDIT,
    audit_writer::{self, Writer},
};

/// Our own messages, and warnings and errors of libraries.
const DEFAULT_FILTER: &str = "warn,zoho_gateway=info";

/// A process has one logger, and the metrics are created after it.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that standard error did not accept: its reader is gone, or its disk is full.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// The process's logger. Dropping it writes all remaining lines.
#[derive(Debug)]
pub struct Log {
    _stderr: WorkerGuard,
}

impl Drop for Log {
    fn drop(&mut self) {
        audit_writer::close();
    }
}

/// Installs the process's logger. `RUST_LOG` sets what is logged; the audit is logged unless `RUST_LOG` names it.
///
/// A separate thread writes the lines. Lines are dropped while their reader stalls, so that calls never wait for it.
#[must_use = "lines not yet written are lost without it"]
pub fn init() -> Log {
    let (writer, guard) = NonBlocking::new(Stderr);
    // A second installation, as in tests, keeps the first.
    let _ = DROPPED.set(writer.error_counter());
    let directives = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let lines = fmt::layer().with_writer(ToStderr(writer));
    let lines = match io::stderr().is_terminal() {
        true => lines.with_ansi(wants_colours(|name| std::env::var_os(name))).compact().boxed(),
        false => lines.json().flatten_event(true).boxed(),
    };
    let audit = fmt::layer().json().flatten_event(true).with_writer(ToAuditFile);
    let audit = audit.with_filter(filter_fn(|meta| meta.target() == AUDIT));
    let filter = filter(directives.as_deref().unwrap_or_default());
    let _ = tracing_subscriber::registry().with(filter).with(lines).with(audit).try_init();
    Log { _stderr: guard }
}

/// Whether the output is coloured: not if `NO_COLOR` is not empty (no-color.org), and not on a terminal without
/// colours.
fn wants_colours(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = variable("TERM").is_some_and(|value| value == "dumb");
    !refused && !dumb
}

/// How many lines were lost so far, because their reader stalled or is gone.
pub(super) fn dropped_lines() -> u64 {
    let dropped = DROPPED.get().map_or(0, |counter| counter.dropped_lines() as u64);
    dropped + UNWRITTEN.load(Ordering::Relaxed) + audit_writer::lost_lines()
}

/// Writes to standard error: everything, but the audit only if it has no file. The audit then uses its own writer,
/// because calls wait for its lines.
#[derive(Debug)]
struct ToStderr(NonBlocking);

impl<'a> MakeWriter<'a> for ToStderr {
    type Writer = Destination;

    fn make_writer(&'a self) -> Destination {
        Destination::Log(self.0.clone())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Destination {
        match audit_writer::writer().filter(|_| meta.target() == AUDIT) {
            Some(writer) if writer.is_to_file() => Destination::Discard,
            Some(writer) => Destination::Audit(writer),
            None => self.make_writer(),
        }
    }
}

/// Writes the audit to its file, if it has one.
#[derive(Debug)]
struct ToAuditFile;

impl<'a> MakeWriter<'a> for ToAuditFile {
    type Writer = Destination;

    fn make_writer(&'a self) -> Destination {
        audit_writer::writer()
            .filter(|writer| writer.is_to_file())
            .map_or(Destination::Discard, |writer| Destination::Audit(writer))
    }
}

/// The destination of a line.
#[derive(Debug)]
enum Destination {
    Discard,
    Log(NonBlocking),
    Audit(&'static Writer),
}

impl Write for Destination {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Discard => Ok(line.len()),
            Self::Log(writer) => writer.write(line),
            Self::Audit(writer) => {
                writer.push(line);
                Ok(line.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error. It never returns an error, since the line can only be counted.
#[derive(Debug)]
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            UNWRITTEN.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The filter from `RUST_LOG`, or the default if that is invalid.
fn filter(directives: &str) -> EnvFilter {
    let is_valid = !directives.trim().is_empty() && directives.parse::<EnvFilter>().is_ok();
    let directives = if is_valid { directives } else { DEFAULT_FILTER };
    let audit = if directives.contains(AUDIT) { String::new() } else { format!(",{AUDIT}=info") };
    EnvFilter::new(format!("{directives}{audit}"))
}

/// Milliseconds with three decimals, for log fields.
#[must_use]
pub fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_with_colours_and_no_veto() {
        for (no_color, term, wanted) in [
            (None, None, true),
            (None, Some("xterm-256color"), true),
            (Some(""), Some("linux"), true),
            (Some("1"), Some("xterm"), false),
            (Some("0"), None, false),
            (None, Some("dumb"), false),
        ] {
            let variable = |name: &str| match name {
                "NO_COLOR" => no_color.map(OsString::from),
                "TERM" => term.map(OsString::from),
                other => panic!("{other} does not affect colours"),
            };
            assert_eq!(wants_colours(variable), wanted, "{no_color:?} {term:?}");
        }
    }

    #[test]
    fn the_audit_is_logged_unless_the_filter_names_it() {
        for (asked, expected) in [
            ("", "zoho_gateway::middleware::audit=info,zoho_gateway=info,warn"),
            ("error", "zoho_gateway::middleware::audit=info,error"),
            ("off", "zoho_gateway::middleware::audit=info,off"),
            ("no filter=at=all", "zoho_gateway::middleware::audit=info,zoho_gateway=info,warn"),
            ("zoho_gateway::middleware::audit=off,error", "zoho_gateway::middleware::audit=off,error"),
        ] {
            assert_eq!(filter(asked).to_string(), expected, "{asked}");
        }
    }
}
