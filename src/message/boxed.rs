//! The future that services return.

use std::{future::Future, pin::Pin};

/// A boxed future of a service's outcome. An allocation costs nothing compared with a call over TLS.
pub type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
