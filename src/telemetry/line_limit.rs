//! Limits the log lines about clients that are no known callers, so that a scanner cannot fill the disk.

use std::{num::NonZeroU32, sync::LazyLock, time::Duration};

use parking_lot::Mutex;

use crate::{ledger::gcra::Gcra, os::clock};

/// A person who tests a client reads each of these lines; a scanner makes 36,000 an hour at most.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(100).unwrap();
const PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();

static UNKNOWN_CLIENTS: LazyLock<Mutex<LineLimit>> = LazyLock::new(Mutex::default);

struct LineLimit {
    gcra: Gcra,
    /// How many lines were left out since the last one.
    left_out: u64,
}

impl Default for LineLimit {
    fn default() -> Self {
        Self { gcra: Gcra::new(PER_SECOND, Duration::from_secs(1), AT_ONCE), left_out: 0 }
    }
}

/// Whether the line of an unknown client may be written, and how many were left out before it. A handshake or a request
/// takes one.
pub fn line_of_unknown_client() -> Option<u64> {
    UNKNOWN_CLIENTS.lock().take(clock::now())
}

impl LineLimit {
    fn take(&mut self, now: tokio::time::Instant) -> Option<u64> {
        if self.gcra.take(now).is_err() {
            self.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_left_out_are_counted() {
        let (mut limit, now) = (LineLimit::default(), clock::now());
        let written = (0..1000).filter(|_| limit.take(now).is_some()).count();
        assert_eq!(written, AT_ONCE.get() as usize);
        let later = now + Duration::from_secs(1);
        assert_eq!(limit.take(later), Some(1000 - u64::from(AT_ONCE.get())));
        let written = 1 + (0..1000).filter(|_| limit.take(later).is_some()).count();
        assert_eq!(written, PER_SECOND.get() as usize);
    }
}
