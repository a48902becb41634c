//! What the gateway tells its operators: logs and metrics.

mod log;
mod metrics;

pub use log::init as init_logging;
pub use metrics::{Exposition, Metrics};
