//! What the gateway tells its operators: logs and metrics.

mod audit_file;
mod log;
mod metrics;

pub use audit_file::{open as audit_to, probe as probe_audit};
pub use log::{Log, init as init_logging, milliseconds};
pub use metrics::{Exposition, Metrics};

/// The target of the audit's lines.
pub const AUDIT: &str = "zoho_gateway::audit";
