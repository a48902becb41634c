//! Kills the process if it was frozen for too long: by SIGSTOP, a debugger, or the freezer of its control group.
//!
//! A process can freeze between its decision to send a call and the write to the socket. When it wakes minutes later, it
//! writes at once, long after others have stopped to count on that call. No check of our own can prevent this, because
//! the process can freeze after any check. So the kernel kills it before it can run again: a POSIX timer sends SIGKILL
//! unless a thread sets it again in time, which a frozen process cannot do.
//!
//! The timer follows CLOCK_BOOTTIME, so a machine that slept for too long wakes without the process. A debugger that stops
//! the process for too long ends it too.
//!
//! The kernel ignores such a signal to the first process of a PID namespace, which the gateway is in a container without an
//! init process. There the guard cannot work and does not start.

use std::{
    convert::Infallible,
    io, process,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::{
        signal::{SigEvent, SigevNotify, Signal},
        time::TimeSpec,
        timer::{Expiration, Timer, TimerSetTimeFlags},
    },
    time::ClockId,
};

/// How often the timer is set again before it would expire. With five times, a process that was frozen for less than four
/// fifths of the time always goes on.
const BEATS: u32 = 5;

/// The process that the kernel protects from signals of its own PID namespace.
const FIRST_PROCESS: u32 = 1;

const UNKILLABLE: &str = "the kernel does not let a timer kill process 1 of a container; start the gateway below an init \
                          process (Docker: --init; Kubernetes: shareProcessNamespace: true)";

/// A running guard. Dropping it disarms the timer and ends the thread.
#[derive(Debug)]
pub struct FreezeGuard {
    /// Its end ends the thread.
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// A timer that kills the process.
struct KillTimer {
    timer: Timer,
    after: Duration,
}

// === impl FreezeGuard ===

impl FreezeGuard {
    /// Kills the process when it was `frozen` for so long, or when `may_rearm` has said no for so long. `may_rearm` is
    /// asked five times in that span, and must not block. From this function's return on, the timer is armed.
    ///
    /// # Errors
    /// When this is process 1, when the system has no timer or no thread left, or when `frozen` is zero.
    pub fn start(frozen: Duration, may_rearm: impl Fn() -> bool + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (report, armed) = mpsc::channel();
        // A thread of its own, because a busy runtime must not look like a freeze. The timer stays on it.
        let watch = move || match KillTimer::armed(frozen) {
            Ok(timer) => {
                let _ = report.send(Ok(()));
                timer.keep_armed(&stopped, may_rearm);
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name("freeze-guard".to_owned()).spawn(watch)?;
        armed.recv().map_err(io::Error::other)??;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for FreezeGuard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of `may_rearm` has its own message.
            let _ = thread.join();
        }
    }
}

// === impl KillTimer ===

impl KillTimer {
    fn armed(after: Duration) -> io::Result<Self> {
        if after.is_zero() {
            // To the kernel, zero means never.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a time longer than zero"));
        }
        if process::id() == FIRST_PROCESS {
            return Err(io::Error::new(io::ErrorKind::Unsupported, UNKILLABLE));
        }
        let kill = SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 });
        let mut timer = Self { timer: Timer::new(ClockId::CLOCK_BOOTTIME, kill)?, after };
        timer.arm()?;
        Ok(timer)
    }

    fn arm(&mut self) -> io::Result<()> {
        let expiration = Expiration::OneShot(TimeSpec::from_duration(self.after));
        Ok(self.timer.set(expiration, TimerSetTimeFlags::empty())?)
    }

    /// Sets the timer again and again until `stopped` disconnects.
    fn keep_armed(mut self, stopped: &Receiver<Infallible>, may_rearm: impl Fn() -> bool) {
        while stopped.recv_timeout(self.after / BEATS) == Err(RecvTimeoutError::Timeout) {
            if may_rearm()
                && let Err(error) = self.arm()
            {
                tracing::error!(%error, "the timer that kills a frozen process cannot be set again; the process will be killed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        io::{BufRead, BufReader},
        os::unix::process::ExitStatusExt,
        process::{Child, Command, Stdio},
    };

    use rustix::process::{Pid, kill_process};

    use super::*;

    const FROZEN: Duration = Duration::from_secs(3);

    /// What the guarded process does with its guard.
    const MODE: &str = "FREEZE_GUARD_MODE";
    const GUARDED: &str = "is guarded";
    const GUARDED_PROCESS: [&str; 3] = ["os::freeze_guard::tests::guarded_process", "--exact", "--nocapture"];

    /// How a process ended.
    #[derive(Debug, PartialEq, Eq)]
    enum End {
        KilledWhileStopped,
        Killed,
        Well,
    }

    /// The guarded process: this test binary runs this test alone. It ends when its standard input ends.
    #[test]
    fn guarded_process() {
        let Ok(mode) = env::var(MODE) else { return };
        let rearm = mode != "no longer";
        let guard = FreezeGuard::start(FROZEN, move || rearm).unwrap();
        let _guard = (mode != "dropped").then_some(guard);
        println!("{GUARDED}");
        io::stdin().read_line(&mut String::new()).unwrap();
    }

    /// Stops a guarded process for some time, then waits for some time.
    fn end_of(mode: &str, stopped: Duration, then: Duration) -> End {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(GUARDED_PROCESS).env(MODE, mode).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(GUARDED)), "{mode}");
        if !stopped.is_zero() {
            signal(&child, rustix::process::Signal::STOP);
            thread::sleep(stopped);
            if let Some(status) = child.try_wait().unwrap() {
                assert_eq!(status.signal(), Some(9), "{mode}: {status}");
                return End::KilledWhileStopped;
            }
            signal(&child, rustix::process::Signal::CONT);
        }
        thread::sleep(then);
        drop(child.stdin.take());
        let status = child.wait().unwrap();
        if status.success() {
            return End::Well;
        }
        assert_eq!(status.signal(), Some(9), "{mode}: {status}");
        End::Killed
    }

    fn signal(child: &Child, signal: rustix::process::Signal) {
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    #[test]
    fn a_process_that_is_frozen_for_longer_never_runs_again() {
        assert_eq!(end_of("guarded", FROZEN + Duration::from_millis(500), Duration::ZERO), End::KilledWhileStopped);
    }

    #[test]
    fn a_process_that_is_frozen_for_less_goes_on() {
        assert_eq!(end_of("guarded", Duration::from_millis(800), FROZEN + Duration::from_secs(1)), End::Well);
    }

    #[test]
    fn a_process_that_may_not_set_the_timer_again_is_killed() {
        assert_eq!(end_of("no longer", Duration::ZERO, FROZEN + Duration::from_secs(1)), End::Killed);
    }

    #[test]
    fn a_dropped_guard_kills_nothing() {
        assert_eq!(end_of("dropped", FROZEN + Duration::from_secs(1), Duration::ZERO), End::Well);
    }

    /// The kernel ignored the timer's signal there, and a frozen gateway in a container went on.
    #[test]
    fn the_first_process_of_a_container_is_told_so() {
        let unshare = |program: &str| {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--pid", "--fork", program]);
            command
        };
        if !unshare("true").output().is_ok_and(|output| output.status.success()) {
            eprintln!("PID namespaces are not permitted here: process 1 is NOT tested");
            return;
        }
        let mut command = unshare(env::current_exe().unwrap().to_str().unwrap());
        let output = command.args(GUARDED_PROCESS).env(MODE, "guarded").stdin(Stdio::null()).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && printed.contains(UNKILLABLE), "{output:?}");
    }

    #[test]
    fn a_time_of_zero_is_an_error() {
        let error = FreezeGuard::start(Duration::ZERO, || true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
