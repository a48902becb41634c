//! Failures of accept(2): pauses after each one, and logs at most one line in ten seconds, with a count.

use std::{io, time::Duration};

use tokio::time::Instant;

use crate::os::clock;

/// The shortest time between two log lines. The first failure is logged at once.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The pause after a failure saves processor time. It doubles with each failure in a row.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The failures of one listener.
#[derive(Debug, Default)]
pub(super) struct AcceptFailures {
    /// How many failures came since the last log line.
    unlogged: u64,
    /// When that line was logged.
    logged: Option<Instant>,
    /// The last pause, if no connection was accepted after it.
    pause: Option<Duration>,
}

impl AcceptFailures {
    /// Notes a failure. Gives the time to pause.
    pub(super) fn failed(&mut self, error: &io::Error) -> Duration {
        // The connection failed, not the listener (accept(2), "Error handling").
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return Duration::ZERO;
        }
        self.unlogged += 1;
        if let Some(failures) = self.due_line() {
            tracing::warn!(%error, failures, "could not accept a connection");
        }
        let pause = self.pause.map_or(SHORTEST_PAUSE, |pause| (2 * pause).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        pause
    }

    /// Notes that a connection was accepted.
    pub(super) fn succeeded(&mut self) {
        self.pause = None;
    }

    /// The number of failures to log, if a log line is due.
    fn due_line(&mut self) -> Option<u64> {
        let now = clock::now();
        if self.logged.is_some_and(|logged| now < logged + BETWEEN_LINES) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repeated_failures_are_counted_and_rarely_logged() {
        for number in [24, 23, 105] {
            let error = io::Error::from_raw_os_error(number);
            let (mut failures, began) = (AcceptFailures::default(), clock::now());
            let (mut all, mut lines, mut logged) = (0, 0, 0);
            while clock::now() - began < Duration::from_secs(60) {
                tokio::time::sleep(failures.failed(&error)).await;
                all += 1;
                if failures.unlogged == 0 {
                    lines += 1;
                    logged = all;
                }
            }
            assert!((6..=7).contains(&lines) && all < 150, "{lines} lines for {all} failures");
            assert_eq!(failures.unlogged, all - logged, "the next line counts the rest");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_short_again_after_a_success() {
        let (mut failures, error) = (AcceptFailures::default(), io::Error::from_raw_os_error(24));
        let pauses = |failures: &mut AcceptFailures| [(); 8].map(|()| failures.failed(&error).as_millis());
        assert_eq!(pauses(&mut failures), [10, 20, 40, 80, 160, 320, 500, 500]);
        failures.succeeded();
        assert_eq!(pauses(&mut failures)[0], 10);
    }

    #[test]
    fn a_connection_closed_before_accept_is_not_a_failure() {
        let mut failures = AcceptFailures::default();
        for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset] {
            assert_eq!(failures.failed(&kind.into()), Duration::ZERO);
        }
        assert_eq!((failures.unlogged, failures.logged), (0, None));
    }
}
