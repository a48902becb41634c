//! A strict Zoho, which counts arrivals by itself.

use std::collections::VecDeque;

/// Times are in milliseconds.
#[derive(Debug)]
pub(super) struct Zoho {
    requests: usize,
    window: u64,
    arrivals: VecDeque<u64>,
    locked_until: u64,
}

impl Zoho {
    pub(super) fn new(requests: u32, window: u64) -> Self {
        Self { requests: requests as usize, window, arrivals: VecDeque::new(), locked_until: 0 }
    }

    /// A call arrives. Returns the rest of a lock, and an error when it is one too many.
    pub(super) fn arrives(&mut self, now: u64) -> Result<Option<u64>, String> {
        while self.arrivals.front().is_some_and(|at| at + self.window <= now) {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
        if self.arrivals.len() > self.requests {
            return Err(format!(
                "{} calls of {} arrived within {} ms",
                self.arrivals.len(),
                self.requests,
                self.window
            ));
        }
        Ok((now < self.locked_until).then(|| self.locked_until - now))
    }

    pub(super) fn lock(&mut self, until: u64) {
        self.locked_until = self.locked_until.max(until);
    }
}
