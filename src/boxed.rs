//! The future every room returns.

use std::{future::Future, pin::Pin};

/// A boxed future of a room's outcome. One allocation per room is nothing beside a call over TLS.
pub type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
