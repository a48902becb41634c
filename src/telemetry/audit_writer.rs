//! The thread that writes the audit, and who waits for it.
//!
//! A line is written when write(2) has taken it, so that it outlives the process, or, where that is asked for, when
//! fsync(2) has returned, so that it outlives a power failure. Calls wait for that without holding a thread of the
//! runtime. The thread takes all lines that came since its last turn, so that the calls of one moment share one fsync.
//!
//! Nobody waits longer than [`PATIENCE`]. Once somebody has waited so long in vain, nobody waits until the disk is fast
//! again. Lines that come meanwhile are kept up to [`LONGEST_QUEUE`]; those beyond it are lost, and counted.

use std::{
    io::{self, Write},
    mem,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::audit_file::AuditFile;
use crate::os::clock;

/// Longer than a healthy disk ever takes; the ledger's journal has the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many bytes of lines may wait to be written: tens of thousands of lines.
const LONGEST_QUEUE: usize = 16 * 1024 * 1024;

/// There is one audit in a process, and where it goes is known only after the logger was installed.
static WRITER: OnceLock<Arc<Writer>> = OnceLock::new();

/// A call went on although its line was not known to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritten;

/// Where the lines end up.
#[derive(Debug)]
enum Sink {
    File { file: AuditFile, fsync: bool },
    Stderr,
}

#[derive(Debug)]
pub(super) struct Writer {
    to_file: bool,
    work: Mutex<Work>,
    woken: Condvar,
    ended: Condvar,
    unconfirmed: AtomicU64,
}

#[derive(Debug, Default)]
struct Work {
    lines: Vec<Vec<u8>>,
    /// What they hold together.
    bytes: usize,
    waiting: Vec<oneshot::Sender<()>>,
    /// A batch is being written.
    busy: bool,
    /// Lines that are not where they belong.
    lost: u64,
    /// Why the newest batch failed.
    failure: Option<String>,
    /// Somebody waited in vain, and nobody waits until the disk is fast again.
    stalled: bool,
    closing: bool,
    ended: bool,
}

/// What is written in one go, and who waits for it.
struct Batch {
    lines: Vec<Vec<u8>>,
    waiting: Vec<oneshot::Sender<()>>,
}

/// From here on the audit's lines go to the end of this file, or to standard error. The file is made where it is not
/// there, for its owner alone; renamed or removed, as logrotate does, it is opened anew.
///
/// # Errors
/// When the file cannot be opened now, or no thread can be started.
pub fn open(file: Option<&Path>, fsync: bool) -> io::Result<()> {
    let sink = match file {
        Some(path) => Sink::File { file: AuditFile::open(path, fsync)?, fsync },
        None => Sink::Stderr,
    };
    let writer = Arc::new(Writer::new(file.is_some()));
    let writing = Arc::clone(&writer);
    if WRITER.set(writer).is_ok() {
        thread::Builder::new().name("audit".to_owned()).spawn(move || writing.write_all(sink))?;
    }
    Ok(())
}

/// Runs `emit`, which is to log an event of the audit, and resolves when its line is written.
///
/// # Errors
/// [`Unwritten`], when it is not, or not in time.
pub async fn written(emit: impl FnOnce()) -> Result<(), Unwritten> {
    let Some(writer) = WRITER.get() else {
        emit();
        return Ok(());
    };
    writer.written(emit).await
}

/// What is wrong with the audit, if anything is.
#[must_use]
pub fn trouble() -> Option<String> {
    let work = WRITER.get()?.work.lock();
    let slow = work.stalled.then(|| format!("it took longer than {} s to write", PATIENCE.as_secs()));
    work.failure.clone().or(slow)
}

/// The process's writer, once it is known where the audit goes.
pub(super) fn writer() -> Option<&'static Arc<Writer>> {
    WRITER.get()
}

/// Writes what is still to be written.
pub(super) fn close() {
    let Some(writer) = WRITER.get() else { return };
    let mut work = writer.work.lock();
    work.closing = true;
    writer.woken.notify_one();
    // A reader of standard error that stalls must not hold up the end of the process.
    writer.ended.wait_while_for(&mut work, |work| !work.ended, PATIENCE);
}

/// How many lines are not where they belong.
pub(super) fn lost_lines() -> u64 {
    WRITER.get().map_or(0, |writer| writer.lost())
}

/// How often a call went on although its line was not known to be written.
pub(super) fn unconfirmed_lines() -> u64 {
    WRITER.get().map_or(0, |writer| writer.unconfirmed.load(Ordering::Relaxed))
}

// === impl Writer ===

impl Writer {
    fn new(to_file: bool) -> Self {
        Self {
            to_file,
            work: Mutex::default(),
            woken: Condvar::new(),
            ended: Condvar::new(),
            unconfirmed: AtomicU64::new(0),
        }
    }

    pub(super) fn is_to_file(&self) -> bool {
        self.to_file
    }

    /// Takes a line, for the thread to write.
    pub(super) fn push(&self, line: &[u8]) {
        let mut work = self.work.lock();
        if work.ended || work.bytes + line.len() > LONGEST_QUEUE {
            work.lost += 1;
            return;
        }
        work.bytes += line.len();
        work.lines.push(line.to_vec());
        self.woken.notify_one();
    }

    fn lost(&self) -> u64 {
        self.work.lock().lost
    }

    async fn written(&self, emit: impl FnOnce()) -> Result<(), Unwritten> {
        // A line that is lost from here on may be this one.
        let lost_before = self.lost();
        emit();
        let outcome = self.landed(lost_before).await;
        if outcome.is_err() {
            self.unconfirmed.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Resolves when every line until now is written or lost.
    async fn landed(&self, lost_before: u64) -> Result<(), Unwritten> {
        let landing = {
            let mut work = self.work.lock();
            let is_idle = work.lines.is_empty() && !work.busy;
            if work.stalled || work.ended || is_idle {
                return if is_idle && work.lost == lost_before { Ok(()) } else { Err(Unwritten) };
            }
            let (landed, landing) = oneshot::channel();
            work.waiting.push(landed);
            self.woken.notify_one();
            landing
        };
        match tokio::time::timeout(PATIENCE, landing).await {
            Ok(Ok(())) if self.lost() == lost_before => Ok(()),
            Ok(_) => Err(Unwritten),
            Err(_) => {
                if !mem::replace(&mut self.work.lock().stalled, true) {
                    let waited_s = PATIENCE.as_secs();
                    tracing::error!(waited_s, "the audit takes too long to write; calls no longer wait for it");
                }
                Err(Unwritten)
            }
        }
    }

    fn write_all(&self, mut sink: Sink) {
        // Whatever ends the thread, nobody may wait for it any more.
        let _ended = Ended(self);
        while let Some(Batch { lines, waiting }) = self.next() {
            let began = clock::now();
            let outcome = sink.write(&lines);
            let in_time = clock::now().saturating_duration_since(began) < PATIENCE;
            if !lines.is_empty() {
                self.learn(outcome, in_time);
            }
            self.work.lock().busy = false;
            for waiting in waiting {
                // Those who have left need not know.
                let _ = waiting.send(());
            }
        }
    }

    /// Waits for something to write; `None` at the end.
    fn next(&self) -> Option<Batch> {
        let mut work = self.work.lock();
        while work.lines.is_empty() && work.waiting.is_empty() {
            if work.closing {
                return None;
            }
            self.woken.wait(&mut work);
        }
        work.busy = true;
        work.bytes = 0;
        Some(Batch { lines: mem::take(&mut work.lines), waiting: mem::take(&mut work.waiting) })
    }

    fn learn(&self, outcome: Result<(), Failed>, in_time: bool) {
        let mut work = self.work.lock();
        match outcome {
            Ok(()) => {
                let failed = work.failure.take().is_some();
                let stalled = in_time && mem::take(&mut work.stalled);
                drop(work);
                if failed || stalled {
                    tracing::info!("the audit can be written again");
                }
            }
            Err(Failed { lost, error }) => {
                work.lost += lost;
                let first = work.failure.replace(error.to_string()).is_none();
                drop(work);
                if first {
                    tracing::error!(%error, "the audit cannot be written; its lines are lost until it can");
                }
            }
        }
    }
}

/// The thread has ended.
struct Ended<'a>(&'a Writer);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut work = self.0.work.lock();
        work.ended = true;
        work.busy = false;
        work.lost += work.lines.len() as u64;
        work.lines.clear();
        work.waiting.clear();
        self.0.ended.notify_all();
    }
}

// === impl Sink ===

/// Lines that are not where they belong.
struct Failed {
    lost: u64,
    error: io::Error,
}

impl Sink {
    /// Each line by itself, so that it is known which were lost.
    fn write(&mut self, lines: &[Vec<u8>]) -> Result<(), Failed> {
        let mut failed = None;
        for line in lines {
            let outcome = match self {
                Self::File { file, .. } => file.append(line),
                Self::Stderr => io::stderr().write_all(line),
            };
            if let Err(error) = outcome {
                let lost = failed.map_or(0, |Failed { lost, .. }| lost) + 1;
                failed = Some(Failed { lost, error });
            }
        }
        let synced = match self {
            Self::File { file, fsync: true } => file.sync(),
            Self::File { fsync: false, .. } | Self::Stderr => Ok(()),
        };
        match (failed, synced) {
            (None, Ok(())) => Ok(()),
            (Some(failed), Ok(())) => Err(failed),
            (_, Err(error)) => Err(Failed { lost: lines.len() as u64, error }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer whose thread a test plays.
    fn unserved() -> Writer {
        Writer::new(true)
    }

    #[tokio::test]
    async fn a_line_is_written_when_the_batch_with_it_is() {
        let writer = Arc::new(unserved());
        let waiting = tokio::spawn({
            let writer = Arc::clone(&writer);
            async move { writer.written(|| writer.push(b"one\n")).await }
        });
        let Batch { lines, waiting: landings } = tokio::task::spawn_blocking({
            let writer = Arc::clone(&writer);
            move || writer.next().unwrap()
        })
        .await
        .unwrap();
        assert_eq!(lines, [b"one\n"]);
        tokio::task::yield_now().await;
        let landings = if landings.is_empty() { mem::take(&mut writer.work.lock().waiting) } else { landings };
        assert!(!waiting.is_finished());
        landings.into_iter().for_each(|landing| landing.send(()).unwrap());
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_line_lost_by_an_earlier_batch_is_not_taken_for_written() {
        let writer = unserved();
        let lost_before = writer.lost();
        writer.push(b"one\n");
        let _ = writer.next();
        writer.learn(Err(Failed { lost: 1, error: io::Error::other("full") }), true);
        writer.work.lock().busy = false;
        assert_eq!(writer.landed(lost_before).await, Err(Unwritten));
        // One that comes after it is not held to that.
        assert_eq!(writer.landed(writer.lost()).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_disk_that_stalls_but_the_first() {
        let writer = unserved();
        let began = clock::now();
        assert_eq!(writer.written(|| writer.push(b"one\n")).await, Err(Unwritten));
        assert_eq!(clock::now() - began, PATIENCE);
        assert_eq!(writer.written(|| writer.push(b"two\n")).await, Err(Unwritten));
        assert_eq!(clock::now() - began, PATIENCE, "the second did not wait");
        assert_eq!((writer.unconfirmed.load(Ordering::Relaxed), writer.lost()), (2, 0), "both may still be written");
        // The batch that took so long does not show that the disk is fast again; the next one does.
        let _ = writer.next();
        writer.learn(Ok(()), false);
        assert!(writer.work.lock().stalled);
        writer.learn(Ok(()), true);
        assert!(!writer.work.lock().stalled);
    }

    #[test]
    fn lines_beyond_the_longest_queue_are_lost_and_counted() {
        let writer = unserved();
        let line = vec![b'x'; LONGEST_QUEUE / 2];
        (0..3).for_each(|_| writer.push(&line));
        assert_eq!(writer.work.lock().lines.len(), 2);
        assert_eq!(writer.lost(), 1);
        let _ = writer.next();
        writer.push(&line);
        assert_eq!(writer.lost(), 1, "there is room again");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_thread_that_has_ended() {
        let writer = unserved();
        writer.push(b"one\n");
        drop(Ended(&writer));
        assert_eq!(writer.written(|| writer.push(b"two\n")).await, Err(Unwritten));
        assert_eq!(writer.lost(), 2);
    }
}
