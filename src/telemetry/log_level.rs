//! What is logged: set at the start by `RUST_LOG` or the configuration, and changed while the gateway runs.

use std::{
    fmt,
    str::FromStr,
    sync::{OnceLock, PoisonError, RwLock},
};

use tracing_subscriber::{EnvFilter, Registry, reload};

use super::AUDIT;

/// The levels, from the one that shows most.
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// Until the configuration is read.
const DEFAULT: &str = "info";

/// A process has one logger.
static CONTROL: OnceLock<Control> = OnceLock::new();

/// Changes the filter of the process's logger.
struct Control {
    filter: reload::Handle<EnvFilter, Registry>,
    /// The filter as text, without the audit.
    current: RwLock<String>,
    /// `RUST_LOG` is set, so the configuration does not matter.
    by_environment: bool,
}

/// A level for everything, or levels for parts of the program: comma-separated `LEVEL` or `TARGET=LEVEL`, as in
/// `RUST_LOG`. It never turns the audit off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(String);

/// The text is not a [`LogLevel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoLogLevel {
    /// A part is neither a level nor a target with a level.
    #[error(
        "expected trace, debug, info, warn, error or off, or a comma-separated list with levels of targets such as \
         \"warn,zoho_gateway=debug\""
    )]
    Malformed,
    /// It names the audit.
    #[error("expected a level without {AUDIT}: the audit does not depend on the level, only RUST_LOG can turn it off")]
    Audit,
}

impl FromStr for LogLevel {
    type Err = NoLogLevel;

    fn from_str(text: &str) -> Result<Self, NoLogLevel> {
        let parts = text.split(',').map(str::trim).map(str::to_ascii_lowercase);
        let parts: Vec<_> = parts.collect();
        let is_level = |text: &str| LEVELS.contains(&text);
        let is_target = |text: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
            !text.is_empty() && text.bytes().all(fits)
        };
        let is_valid = |part: &String| match part.split_once('=') {
            Some((target, level)) => is_target(target) && is_level(level),
            None => is_level(part),
        };
        if !parts.iter().all(is_valid) {
            return Err(NoLogLevel::Malformed);
        }
        if parts.iter().any(|part| part.starts_with(AUDIT)) {
            return Err(NoLogLevel::Audit);
        }
        Ok(Self(parts.join(",")))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Changes what is logged from now on. The audit stays as it is.
pub fn set_log_level(LogLevel(level): &LogLevel) {
    let Some(control) = CONTROL.get() else { return };
    // The text must name the filter that is in force, also when two changes come at once.
    let mut current = control.current.write().unwrap_or_else(PoisonError::into_inner);
    // It fails only without a logger.
    if control.filter.reload(filter(level, &from_environment().unwrap_or_default())).is_ok() {
        current.clone_from(level);
    }
}

/// What is logged now.
#[must_use]
pub fn log_level() -> String {
    let current = CONTROL.get().map(|control| control.current.read().unwrap_or_else(PoisonError::into_inner).clone());
    current.unwrap_or_default()
}

/// Applies the level of the configuration, unless `RUST_LOG` is set.
pub(super) fn apply_configured(level: &LogLevel) {
    if CONTROL.get().is_some_and(|control| !control.by_environment) {
        set_log_level(level);
    }
}

/// The filter that holds until the configuration is read. If it becomes that of the process, `controls` is to be called.
pub(super) fn initial() -> (reload::Layer<EnvFilter, Registry>, impl FnOnce()) {
    let environment = from_environment();
    let current = environment.clone().unwrap_or_else(|| DEFAULT.to_owned());
    let (layer, handle) = reload::Layer::new(filter(&current, &current));
    let control = Control { filter: handle, current: RwLock::new(current), by_environment: environment.is_some() };
    (layer, move || {
        let _ = CONTROL.set(control);
    })
}

/// `RUST_LOG`, if it is valid.
fn from_environment() -> Option<String> {
    let directives = std::env::var(EnvFilter::DEFAULT_ENV).ok()?;
    (!directives.trim().is_empty() && directives.parse::<EnvFilter>().is_ok()).then_some(directives)
}

/// The filter of these directives. It shows the audit unless `RUST_LOG` names it.
fn filter(directives: &str, environment: &str) -> EnvFilter {
    let audit = environment.split(',').filter(|part| part.contains(AUDIT)).map(|part| format!(",{part}"));
    let audit = audit.collect::<String>();
    let audit = if audit.is_empty() { format!(",{AUDIT}=info") } else { audit };
    EnvFilter::new(format!("{directives}{audit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_or_levels_of_targets_are_accepted() {
        for (text, level) in [
            ("info", "info"),
            ("DEBUG", "debug"),
            ("off", "off"),
            (" warn , zoho_gateway::app=trace", "warn,zoho_gateway::app=trace"),
            ("hyper=Off", "hyper=off"),
        ] {
            assert_eq!(text.parse::<LogLevel>().unwrap().to_string(), level, "{text}");
        }
        for text in ["", "inf", "info,", "hyper", "hyper=", "=info", "a=loud", "[span]=info", "a{b}=info", "a b=info"] {
            assert_eq!(text.parse::<LogLevel>(), Err(NoLogLevel::Malformed), "{text}");
        }
        for text in ["zoho_gateway::middleware::audit=off", "info,zoho_gateway::middleware::audit::service=error"] {
            assert_eq!(text.parse::<LogLevel>(), Err(NoLogLevel::Audit), "{text}");
        }
    }

    #[test]
    fn the_audit_is_logged_unless_the_environment_names_it() {
        for (level, environment, expected) in [
            ("info", "", "zoho_gateway::middleware::audit=info,info"),
            ("error", "error", "zoho_gateway::middleware::audit=info,error"),
            ("off", "debug", "zoho_gateway::middleware::audit=info,off"),
            ("warn,zoho_gateway=off", "", "zoho_gateway::middleware::audit=info,zoho_gateway=off,warn"),
            ("debug", "zoho_gateway::middleware::audit=off,error", "zoho_gateway::middleware::audit=off,debug"),
        ] {
            assert_eq!(filter(level, environment).to_string(), expected, "{level} {environment}");
        }
    }
}
