//! What this process uses of the machine.

use std::{fs, time::Duration};

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// What this process uses of the machine, as far as the system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessUsage {
    /// The processor time of all its threads.
    pub cpu_time: Duration,
    /// Its memory that is in RAM.
    pub resident_bytes: Option<u64>,
    /// Its open files and sockets.
    pub open_files: Option<u64>,
    /// How many it may open; `None` without a limit.
    pub max_files: Option<u64>,
}

impl ProcessUsage {
    /// The usage now.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").ok();
        Self {
            cpu_time: Duration::try_from(time).unwrap_or_default(),
            resident_bytes: status.and_then(|status| resident_bytes(&status)),
            open_files: open_files(),
            max_files: getrlimit(Resource::Nofile).current,
        }
    }
}

/// The resident set in the text of `/proc/PID/status`, which names it in KiB.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn open_files() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // The folder itself was open while it was read.
    u64::try_from(open).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_read_in_bytes() {
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\nVmRSS:\t   12044 kB\nRssAnon:\t 8 kB\n"), Some(12_044 * 1024));
        for text in ["", "VmRSS:\n", "VmRSS: many kB", "VmRSS: 5", "VmRSS: 18446744073709551615 kB"] {
            assert_eq!(resident_bytes(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_new_file_and_new_memory_show() {
        let before = ProcessUsage::now();
        let (file, memory) = (fs::File::open("/dev/null").expect("opens"), vec![1u8; 64 << 20]);
        let after = ProcessUsage::now();
        assert!(after.cpu_time > before.cpu_time, "{before:?} {after:?}");
        assert!(after.resident_bytes > before.resident_bytes, "{before:?} {after:?}");
        assert!(after.open_files.is_some() && after.open_files <= after.max_files, "{after:?}");
        drop((file, memory));
    }
}
