//! Logs, metrics and traces for operators.

mod attempts;
mod audit_file;
mod audit_writer;
mod line_limit;
mod log;
mod log_format;
mod log_level;
mod metrics;
mod observations;
mod refusals;
mod traces;

pub use audit_file::probe as probe_audit;
pub use audit_writer::{Unwritten, failure as audit_failure, open as audit_to, written as audited};
pub use line_limit::line_of_unknown_client;
pub use log::{Log, configure as configure_log, init as init_logging, milliseconds};
pub use log_format::LogFormat;
pub use log_level::{LogLevel, NoLogLevel, log_level, set_log_level};
pub use metrics::{Exposition, KnownLabels, LiveState, LoginState, Metrics};
pub use observations::{Observations, ObservedLimit, RejectedPayloads, Report};
pub use refusals::{RecentRefusal, RecentRefusals};
pub use traces::Traces;

/// The target of the audit's lines.
pub const AUDIT: &str = "zoho_gateway::middleware::audit";
