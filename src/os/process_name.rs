//! The name by which an operator recognises a process.

/// The host's name and the number of this process: `web-1 (process 4211)`. In a pod, the host's name is the pod's.
#[must_use]
pub fn of_this_process() -> String {
    let system = rustix::system::uname();
    format!("{} (process {})", system.nodename().to_string_lossy(), std::process::id())
}
