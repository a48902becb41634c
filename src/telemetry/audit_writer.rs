//! The thread that writes the audit, and the calls that wait for it.
//!
//! A line counts as written when write(2) has returned, so that it survives the process, or, if configured, when
//! fsync(2) has returned, so that it survives a power failure. Waiting calls do not block a thread of the runtime. The
//! thread takes all lines since its last turn, so that the calls of one moment share one fsync.
//!
//! A call waits at most [`WRITE_TIMEOUT`]. After a wait that timed out, no call waits until the disk is fast again.
//! Meanwhile lines are kept up to [`LONGEST_QUEUE`]; further lines are lost, and counted.

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

/// Longer than a healthy disk ever takes; the ledger's journal uses the same time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many bytes of lines may wait to be written: tens of thousands of lines.
const LONGEST_QUEUE: usize = 16 * 1024 * 1024;

/// A process has one audit, and its destination is known only after the logger was installed.
static WRITER: OnceLock<Arc<Writer>> = OnceLock::new();

/// It is unknown whether the line of a call was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritten;

/// The destination of the lines.
#[derive(Debug)]
enum Sink {
    File(AuditFile),
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
    /// The length of all `lines` together.
    bytes: usize,
    waiting: Vec<oneshot::Sender<()>>,
    /// A batch is being written.
    busy: bool,
    /// How many lines were not written.
    lost: u64,
    /// Why the newest batch failed; `None` if it was written.
    failure: Option<String>,
    /// A wait timed out, and no call waits until the disk is fast again.
    stalled: bool,
    closing: bool,
    ended: bool,
}

/// The lines that are written together, and the calls that wait for them.
struct Batch {
    lines: Vec<Vec<u8>>,
    waiting: Vec<oneshot::Sender<()>>,
}

/// Sends the audit's lines to the end of this file, or to standard error. The file is created if it is missing,
/// readable only by its owner; if it is renamed or removed, as logrotate does, it is opened again.
///
/// # Errors
/// When the file cannot be opened, or the thread cannot be started.
pub fn open(file: Option<&Path>, fsync: bool) -> io::Result<()> {
    let sink = match file {
        Some(path) => Sink::File(AuditFile::open(path, fsync)?),
        None => Sink::Stderr,
    };
    let writer = Arc::new(Writer::new(file.is_some()));
    let writing = Arc::clone(&writer);
    if WRITER.set(writer).is_ok() {
        thread::Builder::new().name("audit".to_owned()).spawn(move || writing.write_all(sink))?;
    }
    Ok(())
}

/// Runs `emit`, which must log an event of the audit, and resolves when its line is written.
///
/// # Errors
/// [`Unwritten`], when it was not written, or not in time.
pub async fn written(emit: impl FnOnce()) -> Result<(), Unwritten> {
    let Some(writer) = WRITER.get() else {
        emit();
        return Ok(());
    };
    writer.written(emit).await
}

/// Why the audit cannot be written now; `None` if it can.
#[must_use]
pub fn failure() -> Option<String> {
    let work = WRITER.get()?.work.lock();
    let slow = work.stalled.then(|| format!("it took longer than {} s to write", WRITE_TIMEOUT.as_secs()));
    work.failure.clone().or(slow)
}

/// The process's writer; `None` until the audit's destination is known.
pub(super) fn writer() -> Option<&'static Arc<Writer>> {
    WRITER.get()
}

/// Writes all remaining lines.
pub(super) fn close() {
    let Some(writer) = WRITER.get() else { return };
    let mut work = writer.work.lock();
    work.closing = true;
    writer.woken.notify_one();
    // A stalled reader of standard error must not delay the end of the process.
    writer.ended.wait_while_for(&mut work, |work| !work.ended, WRITE_TIMEOUT);
}

/// How many lines were not written.
pub(super) fn lost_lines() -> u64 {
    WRITER.get().map_or(0, |writer| writer.lost())
}

/// How many calls went on although it was unknown whether their line was written.
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

    /// Queues a line for the thread.
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
        // A line that is lost from now on may be this one.
        let lost_before = self.lost();
        emit();
        let outcome = self.flushed(lost_before).await;
        if outcome.is_err() {
            self.unconfirmed.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Resolves when every line until now is written or lost.
    async fn flushed(&self, lost_before: u64) -> Result<(), Unwritten> {
        let written = {
            let mut work = self.work.lock();
            let is_idle = work.lines.is_empty() && !work.busy;
            if work.stalled || work.ended || is_idle {
                return if is_idle && work.lost == lost_before { Ok(()) } else { Err(Unwritten) };
            }
            let (done, written) = oneshot::channel();
            work.waiting.push(done);
            self.woken.notify_one();
            written
        };
        match tokio::time::timeout(WRITE_TIMEOUT, written).await {
            Ok(Ok(())) if self.lost() == lost_before => Ok(()),
            Ok(_) => Err(Unwritten),
            Err(_) => {
                if !mem::replace(&mut self.work.lock().stalled, true) {
                    let waited_s = WRITE_TIMEOUT.as_secs();
                    tracing::error!(waited_s, "the audit takes too long to write; calls no longer wait for it");
                }
                Err(Unwritten)
            }
        }
    }

    fn write_all(&self, mut sink: Sink) {
        // However the thread ends, no call may wait for it any more.
        let _guard = EndGuard(self);
        while let Some(Batch { lines, waiting }) = self.next() {
            let began = clock::now();
            let outcome = sink.write(&lines);
            let in_time = clock::now().saturating_duration_since(began) < WRITE_TIMEOUT;
            if !lines.is_empty() {
                self.report(outcome, in_time);
            }
            self.work.lock().busy = false;
            for done in waiting {
                // The call may have left.
                let _ = done.send(());
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

    /// Takes the outcome of a batch, and logs when the audit fails and when it recovers.
    fn report(&self, outcome: Result<(), Failed>, in_time: bool) {
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

/// Marks the writer as ended when its thread ends.
struct EndGuard<'a>(&'a Writer);

impl Drop for EndGuard<'_> {
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

/// Lines of a batch could not be written.
struct Failed {
    lost: u64,
    error: io::Error,
}

impl Sink {
    /// Writes each line separately, so that the number of lost ones is known.
    fn write(&mut self, lines: &[Vec<u8>]) -> Result<(), Failed> {
        let mut failed = None;
        for line in lines {
            let outcome = match self {
                Self::File(file) => file.append(line),
                Self::Stderr => io::stderr().write_all(line),
            };
            if let Err(error) = outcome {
                let lost = failed.map_or(0, |Failed { lost, .. }| lost) + 1;
                failed = Some(Failed { lost, error });
            }
        }
        let synced = match self {
            Self::File(file) => file.sync(),
            Self::Stderr => Ok(()),
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

    /// A writer without a thread; the test does its work.
    fn threadless() -> Writer {
        Writer::new(true)
    }

    #[tokio::test]
    async fn a_line_is_written_when_its_batch_is() {
        let writer = Arc::new(threadless());
        let waiting = tokio::spawn({
            let writer = Arc::clone(&writer);
            async move { writer.written(|| writer.push(b"one\n")).await }
        });
        let Batch { lines, waiting: senders } = tokio::task::spawn_blocking({
            let writer = Arc::clone(&writer);
            move || writer.next().unwrap()
        })
        .await
        .unwrap();
        assert_eq!(lines, [b"one\n"]);
        tokio::task::yield_now().await;
        let senders = if senders.is_empty() { mem::take(&mut writer.work.lock().waiting) } else { senders };
        assert!(!waiting.is_finished());
        senders.into_iter().for_each(|sender| sender.send(()).unwrap());
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_line_lost_by_an_earlier_batch_is_not_written() {
        let writer = threadless();
        let lost_before = writer.lost();
        writer.push(b"one\n");
        let _ = writer.next();
        writer.report(Err(Failed { lost: 1, error: io::Error::other("full") }), true);
        writer.work.lock().busy = false;
        assert_eq!(writer.flushed(lost_before).await, Err(Unwritten));
        // A later line is not affected.
        assert_eq!(writer.flushed(writer.lost()).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_first_call_waits_for_a_stalled_disk() {
        let writer = threadless();
        let began = clock::now();
        assert_eq!(writer.written(|| writer.push(b"one\n")).await, Err(Unwritten));
        assert_eq!(clock::now() - began, WRITE_TIMEOUT);
        assert_eq!(writer.written(|| writer.push(b"two\n")).await, Err(Unwritten));
        assert_eq!(clock::now() - began, WRITE_TIMEOUT, "the second did not wait");
        assert_eq!((writer.unconfirmed.load(Ordering::Relaxed), writer.lost()), (2, 0), "both may still be written");
        // The batch that took so long does not show that the disk is fast again; the next one does.
        let _ = writer.next();
        writer.report(Ok(()), false);
        assert!(writer.work.lock().stalled);
        writer.report(Ok(()), true);
        assert!(!writer.work.lock().stalled);
    }

    #[test]
    fn lines_beyond_the_longest_queue_are_lost_and_counted() {
        let writer = threadless();
        let line = vec![b'x'; LONGEST_QUEUE / 2];
        (0..3).for_each(|_| writer.push(&line));
        assert_eq!(writer.work.lock().lines.len(), 2);
        assert_eq!(writer.lost(), 1);
        let _ = writer.next();
        writer.push(&line);
        assert_eq!(writer.lost(), 1, "the queue has capacity again");
    }

    #[tokio::test]
    async fn no_call_waits_for_a_thread_that_has_ended() {
        let writer = threadless();
        writer.push(b"one\n");
        drop(EndGuard(&writer));
        assert_eq!(writer.written(|| writer.push(b"two\n")).await, Err(Unwritten));
        assert_eq!(writer.lost(), 2);
    }
}
