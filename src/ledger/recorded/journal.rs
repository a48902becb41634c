//! The ledger on disk: what a call takes is known there before its first byte leaves.
//!
//! StartState is the truth while the process lives, the store its copy for the next one. One thread writes: whoever needs a
//! change to be durable waits for the commit under way and the next one, which takes every change since then with it, so
//! a hundred calls cost one commit. Changes that nobody waits for, answers above all, follow within [`LAZY`]; until then
//! the next process would take the call for one without an answer, which is the safe side.
//!
//! A store that cannot be written to ends the waiting at once and is opened again every [`RETRY`]; then everything known
//! is written anew.

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
use crate::ledger::store::{Store, WriteError};

/// How long a change may stay unwritten for which nobody waits.
const LAZY: Duration = Duration::from_millis(100);

/// How long a store is left alone after it failed.
const RETRY: Duration = Duration::from_millis(500);

/// A disk that takes longer than this for a commit is as good as none: its callers are told so.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to the store; clones share it.
#[derive(Debug, Clone)]
pub struct Journal(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    work: Mutex<Work>,
    woken: Condvar,
    /// The same as `work.failure`, to be read in passing.
    failing: AtomicBool,
    past: Arc<Recovered>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Work {
    changed: Vec<Arc<RecordedWindow>>,
    waiting: Vec<oneshot::Sender<()>>,
    incidents: Vec<String>,
    /// By account, the newest one that is not written yet.
    tokens: BTreeMap<String, KeptToken>,
    /// Somebody cannot wait, but need not know.
    urgent: bool,
    closing: bool,
    failure: Option<String>,
    known: Vec<Weak<RecordedWindow>>,
}

// === impl Journal ===

impl Journal {
    /// Of a ledger that is forgotten with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(None)
    }

    /// Writes to this store from now on; `past` is what it held.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn keep(store: Store, past: Arc<Recovered>) -> io::Result<Self> {
        let inner = Arc::new(Inner {
            work: Mutex::default(),
            woken: Condvar::new(),
            failing: AtomicBool::new(false),
            past,
            writer: Mutex::default(),
        });
        let writing = Arc::clone(&inner);
        let writer = thread::Builder::new().name("journal".to_owned()).spawn(move || {
            // Whatever ends the thread, nobody may wait for it any more.
            let ended = Ended(&writing);
            writing.write_all(store);
            drop(ended);
        })?;
        *inner.writer.lock() = Some(writer);
        Ok(Self(Some(inner)))
    }

    /// How the store is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        let Some(inner) = &self.0 else { return Health::InMemory };
        inner.work.lock().failure.clone().map_or(Health::Good, Health::Failing)
    }

    /// Whether it is certain that nothing can be recorded now.
    pub(super) fn is_failing(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.failing.load(Ordering::Relaxed))
    }

    /// From now on this window belongs to everything that is known.
    pub(super) fn knows(&self, window: Weak<RecordedWindow>) {
        if let Some(inner) = &self.0 {
            inner.work.lock().known.push(window);
        }
    }

    /// This window has changed, for the first time since its record was last read.
    pub(super) fn changed(&self, window: Arc<RecordedWindow>) {
        if let Some(inner) = &self.0 {
            let mut work = inner.work.lock();
            work.changed.push(window);
            if work.changed.len() == 1 {
                inner.woken.notify_one();
            }
        }
    }

    /// Resolves when every change until now is durable. Nobody needs to stay for it to happen.
    ///
    /// # Errors
    /// [`Unrecorded`] when they are not.
    pub async fn recorded(&self) -> Result<(), Unrecorded> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let (landed, landing) = oneshot::channel();
        {
            let mut work = inner.work.lock();
            if work.failure.is_some() {
                return Err(Unrecorded);
            }
            work.waiting.push(landed);
            inner.woken.notify_one();
        }
        match tokio::time::timeout(PATIENCE, landing).await {
            Ok(Ok(())) => Ok(()),
            // Dropped unsent by a commit that failed.
            Ok(Err(_)) => Err(Unrecorded),
            Err(_) => {
                tracing::error!(waited_s = PATIENCE.as_secs(), "the state store takes too long to write");
                Err(Unrecorded)
            }
        }
    }

    /// What has changed is written at once, though nobody waits for it.
    pub(super) fn hurry(&self) {
        if let Some(inner) = &self.0 {
            inner.work.lock().urgent = true;
            inner.woken.notify_one();
        }
    }

    /// Keeps a report for a post-mortem.
    pub(super) fn keep_incident(&self, report: String) {
        if let Some(inner) = &self.0 {
            inner.work.lock().incidents.push(report);
            inner.woken.notify_one();
        }
    }

    /// Keeps an account's token for the next process, in place of the one before.
    pub fn keep_token(&self, account: &str, token: KeptToken) {
        if let Some(inner) = &self.0 {
            inner.work.lock().tokens.insert(account.to_owned(), token);
            inner.woken.notify_one();
        }
    }

    /// Writes what is left and lets the store go.
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

// === impl Inner ===

impl Work {
    /// Whether something is to be written that cannot be put off.
    fn is_pressing(&self) -> bool {
        let asked = !self.waiting.is_empty() || !self.incidents.is_empty() || !self.tokens.is_empty();
        asked || self.urgent || self.closing
    }
}

/// What is written in one go.
struct Batch {
    changed: Vec<Arc<RecordedWindow>>,
    waiting: Vec<oneshot::Sender<()>>,
    incidents: Vec<String>,
    tokens: BTreeMap<String, KeptToken>,
}

impl Inner {
    fn write_all(&self, mut store: Store) {
        while let Some(batch) = self.next() {
            match batch.write(&mut store) {
                Ok(()) => batch.waiting.into_iter().for_each(|waiting| {
                    // Whoever has left need not know.
                    let _ = waiting.send(());
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
        while !work.is_pressing() {
            if work.changed.is_empty() {
                self.woken.wait(&mut work);
            } else if self.woken.wait_for(&mut work, LAZY).timed_out() {
                break;
            }
        }
        work.urgent = false;
        let batch = Batch {
            changed: mem::take(&mut work.changed),
            waiting: mem::take(&mut work.waiting),
            incidents: mem::take(&mut work.incidents),
            tokens: mem::take(&mut work.tokens),
        };
        let done = work.closing && batch.is_empty();
        (!done).then_some(batch)
    }

    /// Tells everybody who waits, by dropping what they wait for.
    fn fail(&self, batch: Batch, error: &WriteError) {
        tracing::error!(%error, "the state store cannot be written to; calls are refused until it can");
        let waiting = {
            let mut work = self.work.lock();
            work.failure = Some(error.to_string());
            self.failing.store(true, Ordering::Relaxed);
            work.incidents.extend(batch.incidents);
            for (account, token) in batch.tokens {
                // A newer one that came meanwhile stays.
                work.tokens.entry(account).or_insert(token);
            }
            mem::take(&mut work.waiting)
        };
        drop((batch.waiting, waiting));
    }

    /// Opens the store again until it takes everything that is known. Whether it did before the end.
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

    /// Everything: what lives, and what an earlier process left that nobody asked for yet.
    fn known(&self) -> Vec<(Key, Row)> {
        let known: Vec<_> = {
            let mut work = self.work.lock();
            work.known.retain(|known| known.strong_count() > 0);
            work.known.iter().filter_map(Weak::upgrade).collect()
        };
        let mut rows = self.past.left();
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

/// The writer has ended.
struct Ended<'a>(&'a Inner);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut work = self.0.work.lock();
        work.failure.get_or_insert_with(|| "the journal has ended".to_owned());
        self.0.failing.store(true, Ordering::Relaxed);
        work.waiting.clear();
    }
}
