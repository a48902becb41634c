//! Logs and metrics for operators.

mod attempts;
mod audit_file;
mod audit_writer;
mod log;
mod metrics;
mod refusals;

pub use audit_file::probe as probe_audit;
pub use audit_writer::{Unwritten, failure as audit_failure, open as audit_to, written as audited};
pub use log::{Log, init as init_logging, milliseconds};
pub use metrics::{Exposition, KnownLabels, LiveState, LoginState, Metrics};
pub use refusals::{RecentRefusal, RecentRefusals};

/// The target of the audit's lines.
pub const AUDIT: &str = "zoho_gateway::middleware::audit";
