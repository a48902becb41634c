//! Durations of operations, for those who count them.

use std::{fmt::Debug, time::Duration};

/// Receives how long each operation of one kind took. It must not block.
pub trait Timer: Debug + Send + Sync {
    /// An operation ended after this time.
    fn ended(&self, took: Duration, succeeded: bool);
}

/// Counts nothing.
impl Timer for () {
    fn ended(&self, _: Duration, _: bool) {}
}
