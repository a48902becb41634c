//! What the gateway needs from the operating system: time, files, the name of the process, the shutdown, and the end of a frozen process.

pub mod atomic_file;
pub mod clock;
pub mod freeze_guard;
pub mod process_name;
pub mod process_usage;
pub mod shutdown;
pub mod timer;
pub mod writable;
