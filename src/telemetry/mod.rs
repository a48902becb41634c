//! What the gateway tells its operators: logs and metrics.

mod log;
mod metrics;

pub use log::{AUDIT, init as init_logging, milliseconds};
pub use metrics::{Exposition, Metrics};
