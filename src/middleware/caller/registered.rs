//! A caller as it is configured.

use std::sync::Arc;

use super::CallerLimit;
use crate::{call::permissions::Permissions, ledger::Caller};

/// A configured caller.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its name and weight.
    pub who: Caller,
    /// What it may do.
    pub permissions: Arc<Permissions>,
    /// How many requests it may make.
    pub limit: Option<CallerLimit>,
}
