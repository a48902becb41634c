//! The future every room returns.
//!
//! A room that goes on when its `call` has returned takes a clone of what stands behind it along, and asks the clone
//! whether it is ready (`oneshot`, or `ready` each time): that the original was says nothing of it.

use std::{future::Future, pin::Pin};

/// A boxed future of a room's outcome. One allocation per room is nothing beside a call over TLS.
pub type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
