//! The thread that writes the database of the jobs. A database in memory is written at once, without a thread.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Change, Unavailable, database::Database, newest};

/// The time between attempts to write changes for which nobody waits.
const RETRY: Duration = Duration::from_millis(500);

/// A disk that needs longer than this for a commit counts as failed for those who wait.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The handle of the thread.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` without a thread.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    in_memory: Option<Arc<Database>>,
    failure: Arc<Mutex<Option<String>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// One change, and who waits for it.
struct Request {
    change: Change,
    done: Option<oneshot::Sender<Result<(), Unavailable>>>,
}

/// Resolves when a change is durable, or cannot be written.
#[derive(Debug)]
pub(in crate::middleware::jobs) struct Written(oneshot::Receiver<Result<(), Unavailable>>);

impl Writer {
    pub(super) fn start(database: Arc<Database>) -> io::Result<Self> {
        let failure = Arc::default();
        if database.is_in_memory() {
            let in_memory = Some(database);
            return Ok(Self { requests: Mutex::default(), in_memory, failure, thread: Mutex::default() });
        }
        let (requests, received) = mpsc::channel();
        let shown = Arc::clone(&failure);
        let thread =
            thread::Builder::new().name("jobs".to_owned()).spawn(move || write_all(&database, &received, &shown))?;
        Ok(Self { requests: Mutex::new(Some(requests)), in_memory: None, failure, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn write(&self, change: Change) -> Written {
        let (done, written) = oneshot::channel();
        self.send(Request { change, done: Some(done) });
        Written::new(written)
    }

    pub(super) fn write_later(&self, change: Change) {
        self.send(Request { change, done: None });
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Ends the thread after its last write.
    pub(super) fn close(&self) {
        drop(self.requests.lock().take());
        let thread = self.thread.lock().take();
        // A panic of the thread has been reported by the hook.
        let _ = thread.map(thread::JoinHandle::join);
    }

    /// After the end, dropping the request ends all waiting.
    fn send(&self, request: Request) {
        if let Some(database) = &self.in_memory {
            let written = database.commit(&[request.change]).map_err(|_| Unavailable);
            let _ = request.done.map(|done| done.send(written));
            return;
        }
        if let Some(requests) = &*self.requests.lock() {
            let _ = requests.send(request);
        }
    }
}

impl Written {
    pub(super) fn new(done: oneshot::Receiver<Result<(), Unavailable>>) -> Self {
        Self(done)
    }

    /// Waits at most as long as a disk may take. The change may be made later all the same.
    pub(in crate::middleware::jobs) async fn in_time(self) -> Result<(), Unavailable> {
        tokio::time::timeout(COMMIT_TIMEOUT, self).await.unwrap_or(Err(Unavailable))
    }
}

impl Future for Written {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(context)).unwrap_or(Err(Unavailable)))
    }
}

/// Writes until all senders are gone. Changes for which nobody waits outlive failures.
fn write_all(database: &Database, received: &mpsc::Receiver<Request>, failure: &Mutex<Option<String>>) {
    let mut unwritten: Vec<Change> = Vec::new();
    loop {
        let first = match unwritten.is_empty() {
            true => received.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            false => received.recv_timeout(RETRY),
        };
        let over = matches!(first, Err(mpsc::RecvTimeoutError::Disconnected));
        let batch: Vec<_> = first.into_iter().chain(received.try_iter()).collect();
        let mut changes = std::mem::take(&mut unwritten);
        changes.extend(batch.iter().map(|request| request.change.clone()));
        if !changes.is_empty() {
            let opened = if database.is_open() { Ok(()) } else { database.reopen() };
            let written = opened.and_then(|()| database.commit(&changes));
            tell(failure, written.as_ref().err());
            if written.is_err() {
                // A caller that waits for its change decides what to do without it.
                changes.truncate(changes.len() - batch.len());
                let left = batch.iter().filter(|request| request.done.is_none());
                changes.extend(left.map(|request| request.change.clone()));
                unwritten = newest(changes);
            }
            for done in batch.into_iter().filter_map(|request| request.done) {
                // The caller may have left.
                let _ = done.send(written.clone().map_err(|_| Unavailable));
            }
        }
        if over {
            return database.close();
        }
    }
}

/// Shows the state to operators, and logs when it changes.
fn tell(failure: &Mutex<Option<String>>, error: Option<&String>) {
    let mut shown = failure.lock();
    match (&*shown, error) {
        (None, Some(error)) => {
            tracing::error!(error, "the database of the jobs cannot be written; no job is accepted until it can")
        }
        (Some(_), None) => tracing::info!("the database of the jobs can be written again"),
        _ => {}
    }
    *shown = error.cloned();
}
