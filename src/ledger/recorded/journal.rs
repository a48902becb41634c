//! The ledger on disk: a slot is recorded there before the call's first byte leaves.
//!
//! Memory decides while the process lives; the store is its copy for the next process. One thread writes: a caller that
//! needs a durable change waits for the commit under way and the next one, which contains every change since then, so
//! a hundred calls cost one commit. Changes without a waiting caller, mostly answers, follow within [`WRITE_DELAY`];
//! until then the next process would count the call as unanswered, which is the safe side.
//!
//! When the store fails, all waiting ends at once. The store is opened again every [`RETRY`]; then everything known is
//! written again.

use std::{
    collections::BTreeMap,
    io, mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{
    super::{Health, KeptToken, Key, Row, Unrecorded},
    recorded_window::RecordedWindow,
    recovered::Recovered,
};
use crate::{
    ledger::store::{Store, WriteError},
    os::{clock, timer::Timer},
};

/// How long a change may stay unwritten while no caller waits for it.
const WRITE_DELAY: Duration = Duration::from_millis(100);

/// The time between attempts to reopen a failed store.
const RETRY: Duration = Duration::from_millis(500);

/// A disk that needs longer than this for a commit counts as failed for the waiting callers.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The writer of the store; clones share it.
#[derive(Debug, Clone)]
pub struct Journal(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    work: Mutex<Work>,
    woken: Condvar,
    /// Whether `work.failure` is set, readable without the mutex.
    failing: AtomicBool,
    recovered: Arc<Recovered>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    timer: Arc<dyn Timer>,
}

#[derive(Debug, Default)]
struct Work {
    batch: Batch,
    /// The changes are written at once, although no caller waits.
    urgent: bool,
    closing: bool,
    failure: Option<String>,
    known: Vec<Weak<RecordedWindow>>,
}

/// What one commit writes.
#[derive(Debug, Default)]
struct Batch {
    changed: Vec<Arc<RecordedWindow>>,
    waiting: Vec<oneshot::Sender<()>>,
    incidents: Vec<String>,
    /// By account, the newest one that is not written yet.
    tokens: BTreeMap<String, KeptToken>,
}

// === impl Journal ===

impl Journal {
    /// A journal that records nothing.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(None)
    }

    /// Starts to write to this store; `recovered` is what it held, and `timer` receives how long each commit takes.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn keep(store: Store, recovered: Arc<Recovered>, timer: Arc<dyn Timer>) -> io::Result<Self> {
        let inner = Arc::new(Inner {
            work: Mutex::default(),
            woken: Condvar::new(),
            failing: AtomicBool::new(false),
            recovered,
            writer: Mutex::default(),
            timer,
        });
        let writing = Arc::clone(&inner);
        let writer = thread::Builder::new().name("journal".to_owned()).spawn(move || {
            // However the thread ends, no caller may wait for it any more.
            let _guard = EndGuard(&writing);
            writing.write_all(store);
        })?;
        *inner.writer.lock() = Some(writer);
        Ok(Self(Some(inner)))
    }

    /// The state of the store.
    #[must_use]
    pub fn health(&self) -> Health {
        let Some(inner) = &self.0 else { return Health::InMemory };
        inner.work.lock().failure.clone().map_or(Health::Good, Health::Failing)
    }

    /// Whether nothing can be recorded now.
    pub(super) fn is_failing(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.failing.load(Ordering::Relaxed))
    }

    /// Registers a window, so that it is written again after a failure of the store.
    pub(super) fn register(&self, window: Weak<RecordedWindow>) {
        if let Some(inner) = &self.0 {
            inner.work.lock().known.push(window);
        }
    }

    /// This window has changed, for the first time since its record was last read.
    pub(super) fn changed(&self, window: Arc<RecordedWindow>) {
        if let Some(inner) = &self.0 {
            let mut work = inner.work.lock();
            work.batch.changed.push(window);
            if work.batch.changed.len() == 1 {
                inner.woken.notify_one();
            }
        }
    }

    /// Resolves when every change until now is durable. The changes are written even if this is dropped.
    ///
    /// # Errors
    /// [`Unrecorded`] when they could not be written.
    pub async fn recorded(&self) -> Result<(), Unrecorded> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let (done, written) = oneshot::channel();
        {
            let mut work = inner.work.lock();
            if work.failure.is_some() {
                return Err(Unrecorded);
            }
            work.batch.waiting.push(done);
            inner.woken.notify_one();
        }
        match tokio::time::timeout(COMMIT_TIMEOUT, written).await {
            Ok(Ok(())) => Ok(()),
            // Dropped unsent by a commit that failed.
            Ok(Err(_)) => Err(Unrecorded),
            Err(_) => {
                tracing::error!(waited_s = COMMIT_TIMEOUT.as_secs(), "the state store takes too long to write");
                Err(Unrecorded)
            }
        }
    }

    /// Writes all changes at once, although no caller waits for them.
    pub(super) fn write_soon(&self) {
        if let Some(inner) = &self.0 {
            inner.work.lock().urgent = true;
            inner.woken.notify_one();
        }
    }

    /// Keeps a report for a post-mortem.
    pub(in crate::ledger) fn keep_incident(&self, report: String) {
        if let Some(inner) = &self.0 {
            inner.work.lock().batch.incidents.push(report);
            inner.woken.notify_one();
        }
    }

    /// Keeps an account's token for the next process, and replaces the one before.
    pub fn keep_token(&self, account: &str, token: KeptToken) {
        if let Some(inner) = &self.0 {
            inner.work.lock().batch.tokens.insert(account.to_owned(), token);
            inner.woken.notify_one();
        }
    }

    /// Writes what is left and closes the store.
    pub async fn close(&self) {
        let Some(inner) = &self.0 else { return };
        inner.work.lock().closing = true;
        inner.woken.notify_one();
        let writer = inner.writer.lock().take();
        if let Some(writer) = writer {
            // It ends with its current write.
            let _ = tokio::task::spawn_blocking(|| writer.join()).await;
        }
    }
}

// === impl Work ===

impl Work {
    /// Whether there is something to write that cannot wait.
    fn is_urgent(&self) -> bool {
        let asked = !self.batch.waiting.is_empty() || !self.batch.incidents.is_empty() || !self.batch.tokens.is_empty();
        asked || self.urgent || self.closing
    }
}

impl Inner {
    fn write_all(&self, mut store: Store) {
        while let Some(batch) = self.next() {
            let began = clock::now();
            let outcome = batch.write(&mut store);
            self.timer.ended(clock::now().saturating_duration_since(began), outcome.is_ok());
            match outcome {
                Ok(()) => batch.waiting.into_iter().for_each(|done| {
                    // The caller may have left.
                    let _ = done.send(());
                }),
                Err(error) => {
                    self.fail(batch, &error);
                    if !self.recover(&mut store) {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for something to write; `None` at the end.
    fn next(&self) -> Option<Batch> {
        let mut work = self.work.lock();
        while !work.is_urgent() {
            if work.batch.changed.is_empty() {
                self.woken.wait(&mut work);
            } else if self.woken.wait_for(&mut work, WRITE_DELAY).timed_out() {
                break;
            }
        }
        work.urgent = false;
        let batch = mem::take(&mut work.batch);
        let done = work.closing && batch.is_empty();
        (!done).then_some(batch)
    }

    /// Ends all waiting, by dropping the senders.
    fn fail(&self, batch: Batch, error: &WriteError) {
        tracing::error!(%error, "the state store cannot be written to; calls are refused until it can");
        let waiting = {
            let mut work = self.work.lock();
            work.failure = Some(error.to_string());
            self.failing.store(true, Ordering::Relaxed);
            work.batch.incidents.extend(batch.incidents);
            for (account, token) in batch.tokens {
                // A newer one that came meanwhile stays.
                work.batch.tokens.entry(account).or_insert(token);
            }
            mem::take(&mut work.batch.waiting)
        };
        drop((batch.waiting, waiting));
    }

    /// Opens the store again until it takes everything that is known. Returns whether that came before the end.
    fn recover(&self, store: &mut Store) -> bool {
        loop {
            {
                let mut work = self.work.lock();
                if !work.closing {
                    self.woken.wait_for(&mut work, RETRY);
                }
                if work.closing {
                    return false;
                }
            }
            let known = self.known();
            match store.reopen().and_then(|()| store.write(&known)) {
                Ok(()) => {
                    let mut work = self.work.lock();
                    work.failure = None;
                    self.failing.store(false, Ordering::Relaxed);
                    tracing::info!("the state store can be written to again");
                    return true;
                }
                Err(error) => self.work.lock().failure = Some(error.to_string()),
            }
        }
    }

    /// All rows: those of this process, and those that an earlier process left and that are still unused.
    fn known(&self) -> Vec<(Key, Row)> {
        let known: Vec<_> = {
            let mut work = self.work.lock();
            work.known.retain(|known| known.strong_count() > 0);
            work.known.iter().filter_map(Weak::upgrade).collect()
        };
        let mut rows = self.recovered.left();
        rows.extend(known.iter().map(|known| known.record()));
        rows
    }
}

impl Batch {
    fn write(&self, store: &mut Store) -> Result<(), WriteError> {
        let rows: Vec<_> = self.changed.iter().map(|changed| changed.record()).collect();
        store.write(&rows)?;
        self.tokens.iter().try_for_each(|(account, token)| store.keep_token(account, token))?;
        self.incidents.iter().try_for_each(|report| store.keep_incident(report))
    }

    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.waiting.is_empty() && self.incidents.is_empty() && self.tokens.is_empty()
    }
}

/// Marks the journal as failed when the writer thread ends.
struct EndGuard<'a>(&'a Inner);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        let mut work = self.0.work.lock();
        work.failure.get_or_insert_with(|| "the journal has ended".to_owned());
        self.0.failing.store(true, Ordering::Relaxed);
        work.batch.waiting.clear();
    }
}
