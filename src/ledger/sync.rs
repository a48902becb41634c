//! The mutex of the queue.

pub(super) use parking_lot::Mutex;
