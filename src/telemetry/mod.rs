//! What the gateway tells its operators: logs and metrics.

mod attempts;
mod audit_file;
mod audit_writer;
mod log;
mod metrics;
mod plain;

pub use audit_file::probe as probe_audit;
pub use audit_writer::{Unwritten, open as audit_to, trouble as audit_trouble, written as audited};
pub use log::{Log, init as init_logging, milliseconds};
pub use metrics::{Exposition, Foreseen, Metrics};

/// The target of the audit's lines.
pub const AUDIT: &str = "zoho_gateway::middleware::audit";
