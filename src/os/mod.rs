//! What the gateway needs of the operating system: the time, files, and the signal to stop.

pub mod clock;
pub mod shutdown;
pub mod writable;
