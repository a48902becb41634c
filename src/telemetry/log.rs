//! Logs go to standard error: for people on a terminal, as JSON otherwise.

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

/// Our own reports, and of the libraries only what went wrong.
const DEFAULT_FILTER: &str = "warn,zoho_gateway=info";

/// There is one logger in a process, and the metrics are made after it.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that standard error did not take: its reader is gone, or its disk is full.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// The process's logger. Dropping it writes what is still to be written.
#[derive(Debug)]
pub struct Log {
    _stderr: WorkerGuard,
}

impl Drop for Log {
    fn drop(&mut self) {
        audit_writer::close();
    }
}

/// Installs the process's logger. `RUST_LOG` overrides what is shown; the audit is shown unless it names that.
///
/// Lines are written by a thread of their own, and dropped when whoever reads them stalls: calls go on.
#[must_use = "lines not yet written are lost without it"]
pub fn init() -> Log {
    let (writer, guard) = NonBlocking::new(Stderr);
    // A second installation, as in tests, keeps the first.
    let _ = DROPPED.set(writer.error_counter());
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let lines = fmt::layer().with_writer(ToStderr(writer));
    let lines = match io::stderr().is_terminal() {
        true => lines.with_ansi(wants_colours(|name| std::env::var_os(name))).compact().boxed(),
        false => lines.json().flatten_event(true).boxed(),
    };
    let audit = fmt::layer().json().flatten_event(true).with_writer(ToAuditFile);
    let audit = audit.with_filter(filter_fn(|meta| meta.target() == AUDIT));
    let filter = filter(asked.as_deref().unwrap_or_default());
    let _ = tracing_subscriber::registry().with(filter).with(lines).with(audit).try_init();
    Log { _stderr: guard }
}

/// Whether a terminal is to have colours: not with a `NO_COLOR` that says something (no-color.org), and not where the
/// terminal has none.
fn wants_colours(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = variable("TERM").is_some_and(|value| value == "dumb");
    !refused && !dumb
}

/// How many lines were lost so far: whoever reads them stalled, or nobody took them.
pub(super) fn dropped_lines() -> u64 {
    let dropped = DROPPED.get().map_or(0, |counter| counter.dropped_lines() as u64);
    dropped + UNWRITTEN.load(Ordering::Relaxed) + audit_writer::lost_lines()
}

/// For standard error: everything but the audit, where that has a file. The audit has a writer of its own there too,
/// because calls wait for its lines.
#[derive(Debug)]
struct ToStderr(NonBlocking);

impl<'a> MakeWriter<'a> for ToStderr {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line::Log(self.0.clone())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Line {
        match audit_writer::writer().filter(|_| meta.target() == AUDIT) {
            Some(writer) if writer.is_to_file() => Line::Nowhere,
            Some(writer) => Line::Audit(writer),
            None => self.make_writer(),
        }
    }
}

/// For the audit: its file, where it has one.
#[derive(Debug)]
struct ToAuditFile;

impl<'a> MakeWriter<'a> for ToAuditFile {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        audit_writer::writer().filter(|writer| writer.is_to_file()).map_or(Line::Nowhere, |writer| Line::Audit(writer))
    }
}

/// Where a line goes.
#[derive(Debug)]
enum Line {
    Nowhere,
    Log(NonBlocking),
    Audit(&'static Writer),
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Nowhere => Ok(line.len()),
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

/// Standard error, which never reports an error: nobody could do anything about it but count the line.
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

/// What is shown, as asked for where that can be read.
fn filter(asked: &str) -> EnvFilter {
    let readable = Some(asked).filter(|asked| !asked.trim().is_empty() && asked.parse::<EnvFilter>().is_ok());
    let asked = readable.unwrap_or(DEFAULT_FILTER);
    let audit = if asked.contains(AUDIT) { String::new() } else { format!(",{AUDIT}=info") };
    EnvFilter::new(format!("{asked}{audit}"))
}

/// With a thousandth's precision: what a log line can be read with.
#[must_use]
pub fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_have_them_and_people_who_want_them() {
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
                other => panic!("{other} says nothing of colours"),
            };
            assert_eq!(wants_colours(variable), wanted, "{no_color:?} {term:?}");
        }
    }

    #[test]
    fn the_audit_is_shown_unless_it_is_named() {
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
