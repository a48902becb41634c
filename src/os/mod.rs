//! What the gateway needs from the operating system: time, files and the shutdown.

pub mod atomic_file;
pub mod clock;
pub mod shutdown;
pub mod writable;
