//! The form of the lines. It is known only after the configuration is read, and lines may come before.

use std::{
    fmt,
    io::{self, IsTerminal},
    sync::atomic::{AtomicBool, Ordering},
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{self, Compact, Format, Json, Writer},
    },
    registry::LookupSpan,
};

/// Whether lines are JSON.
static IS_JSON: AtomicBool = AtomicBool::new(true);

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The form from now on.
pub(super) fn set(format: LogFormat) {
    let is_json = match format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    IS_JSON.store(is_json, Ordering::Relaxed);
}

/// Writes each event in the form of that moment.
pub(super) struct Lines {
    json: Format<Json>,
    text: Format<Compact>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { json: format::format().json().flatten_event(true), text: format::format().compact() }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        match IS_JSON.load(Ordering::Relaxed) {
            true => self.json.format_event(context, writer, event),
            false => self.text.format_event(context, writer, event),
        }
    }
}
