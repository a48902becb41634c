//! Logs on standard error: readable text on a terminal, JSON otherwise, unless the configuration says which.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    AUDIT,
    audit_writer::{self, Writer},
    log_format::{self, LogFormat},
    log_level::{self, LogLevel},
};

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

/// How many lines wait for a slow reader: a second of a busy gateway. The buffer is allocated at once, 32 bytes for each.
const BUFFERED_LINES: usize = 8192;

/// Installs the process's logger, before the configuration is read.
///
/// A separate thread writes the lines. Lines are dropped while their reader stalls, so that calls never wait for it.
#[must_use = "lines not yet written are lost without it"]
pub fn init() -> Log {
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(BUFFERED_LINES).finish(Stderr);
    // A second installation, as in tests, keeps the first.
    let _ = DROPPED.set(writer.error_counter());
    let is_terminal = io::stderr().is_terminal();
    log_format::set(LogFormat::Auto);
    let ansi = is_terminal && wants_colours(|name| std::env::var_os(name));
    let lines = fmt::layer().event_format(log_format::Lines::default()).with_ansi(ansi).with_writer(ToStderr(writer));
    let audit = fmt::layer().json().flatten_event(true).with_writer(ToAuditFile);
    let audit = audit.with_filter(filter_fn(|meta| meta.target() == AUDIT));
    let (filter, becomes_control) = log_level::initial();
    if tracing_subscriber::registry().with(filter).with(lines).with(audit).try_init().is_ok() {
        becomes_control();
    }
    Log { _stderr: guard }
}

/// Applies the configuration. `RUST_LOG` takes precedence over `level`.
pub fn configure(format: LogFormat, level: &LogLevel) {
    log_format::set(format);
    log_level::apply_configured(level);
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
}
