//! How often a call may be made.

use std::{num::NonZeroU32, time::Duration};

/// Zoho's "Threshold Limit" and "Lock period" of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// How many calls may arrive in any span of `window`.
    pub requests: NonZeroU32,
    /// The span; a minute on Zoho's pages. At least a millisecond.
    pub window: Duration,
    /// How long Zoho refuses the call after one too many arrived.
    pub lock: Duration,
    /// How the allowance is spent within the window.
    pub pace: Pace,
}

/// How an allowance is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// A caller that wants the route alone spends it as it asks; when several want it, it is spread among them.
    #[default]
    Fair,
    /// As soon as the ledger allows.
    Burst,
    /// Spread evenly over the window.
    Smooth,
}
