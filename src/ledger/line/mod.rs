//! A bucket with a fair queue before it.
//!
//! Only the caller at the head of the queue sleeps until the next slot; the others sleep until they are woken. Whoever
//! leaves the head, served, refused or gone, wakes the next one. A slot is handed out when the store knows of it.

mod place;
mod state;

use std::{mem, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};

use self::{
    place::{Entered, Look, Place},
    state::State,
};
use super::{
    Books, Bucket, Caller, Claim, Limits, Permit, Quota, Urgency,
    bell::Bell,
    bucket::Taken,
    daily::Daily,
    journal::{Recorded, Unrecorded},
    recorder::{Incident, rfc3339},
    sync::{Mutex, sleep_until},
    waiting_room::Limit,
};
use crate::{
    ledger::store::{Key, Row},
    os::clock,
    zoho::catalogue::Threshold,
};

/// The queue and the slots of one account and route.
#[derive(Debug)]
pub struct Line {
    key: Arc<Key>,
    state: Mutex<State>,
    books: Books,
    /// Tells permits that are held, but not yet used, of a lock.
    locked: Notify,
}

/// The caller was not given a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// None comes free within its wait; the earliest could be in `retry_after`.
    Saturated {
        /// Until a call could succeed.
        retry_after: Duration,
        /// It is the account's daily limit that has no room.
        daily: bool,
    },
    /// The call is locked for longer than its wait.
    Locked {
        /// Until the lock ends.
        retry_after: Duration,
    },
    /// As many wait as may.
    Full {
        /// Until a call could succeed.
        retry_after: Duration,
        /// What there is too much of.
        limit: Limit,
    },
    /// The state store cannot be written to, and nothing is sent unrecorded.
    Unrecorded,
    /// The gateway stops, and no slot comes free before its end.
    Closing,
}

/// A lock that an answer told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    /// Its end.
    pub until: Instant,
    /// It came while the ledger had free slots, so another client spends the same quota.
    pub foreign: bool,
}

/// What is left of the limits that a call counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Of the route's threshold.
    pub route: Quota,
    /// Of the account's day, where it has a limit.
    pub daily: Option<Quota>,
}

/// How a line stands, for operators.
#[derive(Debug)]
pub struct Standing {
    /// Whose line it is, and of which route.
    pub key: Arc<Key>,
    /// What is left for newcomers.
    pub allowance: Allowance,
    /// Until the lock ends.
    pub locked: Option<Duration>,
    /// How many wait.
    pub waiting: usize,
    /// How long a plain newcomer would wait.
    pub expected: Duration,
    /// How many locks came while the ledger showed room.
    pub foreign_locks: u64,
}

impl Line {
    /// An empty line before this bucket, and before the account's daily one.
    pub(super) fn new(key: Key, bucket: Bucket, daily: Option<Arc<Daily>>, books: Books) -> Arc<Self> {
        let state = Mutex::new(State::new(bucket, daily));
        let line = Arc::new(Self { key: Arc::new(key), state, books, locked: Notify::new() });
        let recorded: Arc<dyn Recorded> = line.clone();
        line.books.journal.knows(Arc::downgrade(&recorded));
        line
    }

    /// A line by itself, forgotten with the process.
    #[must_use]
    pub fn in_memory(threshold: Threshold, limits: Limits) -> Arc<Self> {
        let books = Books::in_memory(limits);
        Self::new(Key::default(), Bucket::new(threshold, clock::now()), None, books)
    }

    /// Waits for a slot until the claim's deadline.
    ///
    /// Dropping the future leaves the queue; nothing is spent.
    ///
    /// # Errors
    /// [`Refused`], at once when no slot can come free in time, at the latest at the deadline.
    pub async fn permit(self: &Arc<Self>, claim: Claim) -> Result<Permit, Refused> {
        let permit = self.slot(claim).await?;
        // The slot is given back where the store does not take it.
        self.books.journal.recorded().await.map_err(|Unrecorded| Refused::Unrecorded)?;
        Ok(permit)
    }

    async fn slot(self: &Arc<Self>, claim: Claim) -> Result<Permit, Refused> {
        let deadline = claim.deadline;
        let place = match self.enter(claim)? {
            Entered::Served(permit) => return Ok(permit),
            Entered::Waiting(place) => place,
        };
        loop {
            // Listening starts before looking, so that no wake-up falls between the two.
            let woken = place.listen();
            let until = match place.look()? {
                Look::Served(permit) => return Ok(permit),
                Look::Wait { until } => until.map_or(deadline, |until| until.min(deadline)),
            };
            tokio::select! {
                () = woken => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Nobody waits beyond this moment any more: the gateway stops then. Those who cannot be served before hear so at once,
    /// or as soon as it shows.
    pub fn close(self: &Arc<Self>, at: Instant) {
        let now = clock::now();
        let mut state = self.state.lock();
        state.close(at, now);
        state.wake_head();
    }

    /// What is left for newcomers. Whoever waits comes first, so then nothing is left of the route's threshold.
    #[must_use]
    pub fn allowance(&self) -> Allowance {
        self.state.lock().allowance(clock::now())
    }

    /// What would become of this claim if it came now: how long it would wait, and why it would be refused, if it would.
    ///
    /// Asks the same questions in the same order as [`permit`](Self::permit), and changes nothing.
    pub fn verdict(&self, claim: &Claim) -> (Duration, Result<(), Refused>) {
        let now = clock::now();
        let mut state = self.state.lock();
        let expected = state.expected(&claim.caller, claim.urgency, now).saturating_duration_since(now);
        let judged = if self.books.journal.is_failing() {
            Err(Refused::Unrecorded)
        } else if state.queue.is_empty() && state.has_room(now) {
            return (Duration::ZERO, Ok(()));
        } else {
            state
                .admits(claim, now)
                .and_then(|()| self.books.room.admits(claim).map_err(|limit| state.full(claim, now, limit)))
        };
        (expected, judged)
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let now = clock::now();
        let mut state = self.state.lock();
        Standing {
            key: Arc::clone(&self.key),
            allowance: state.allowance(now),
            locked: state.bucket.locked_until(now).map(|until| until.saturating_duration_since(now)),
            waiting: state.queue.len(),
            expected: state.expected(&Caller::anonymous(), Urgency::default(), now).saturating_duration_since(now),
            foreign_locks: state.foreign_locks,
        }
    }

    fn enter(self: &Arc<Self>, claim: Claim) -> Result<Entered, Refused> {
        if self.books.journal.is_failing() {
            return Err(Refused::Unrecorded);
        }
        let now = clock::now();
        let mut state = self.state.lock();
        if state.queue.is_empty()
            && let Ok(taken) = state.take(now)
        {
            self.note(&mut state);
            return Ok(Entered::Served(Permit::new(Arc::clone(self), taken, claim)));
        }
        state.admits(&claim, now)?;
        let bell = Arc::new(Bell::default());
        let seat = self.books.room.enter(&claim, &bell, now).map_err(|limit| state.full(&claim, now, limit))?;
        let ticket = state.join(&claim, Arc::clone(&bell), now);
        Ok(Entered::Waiting(Place::new(Arc::clone(self), ticket, bell, claim, seat)))
    }

    /// Has the store told of a change, once until it has taken it.
    fn note(self: &Arc<Self>, state: &mut State) {
        if !mem::replace(&mut state.noted, true) {
            self.books.journal.changed(self.clone());
        }
    }
}

/// For permits.
impl Line {
    pub(super) fn books(&self) -> &Books {
        &self.books
    }

    pub(super) fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// Changes the bucket, and the account's daily one in the same way, and wakes the head of the queue, for which
    /// something may have come free.
    pub(super) fn change(self: &Arc<Self>, change: impl Fn(&mut Bucket, Instant)) {
        let mut state = self.state.lock();
        state.change(clock::now(), change);
        state.wake_head();
        self.note(&mut state);
    }

    /// The same for a change for the worse: who can no longer be served in time is to hear so at once.
    pub(super) fn worsen(self: &Arc<Self>, change: impl Fn(&mut Bucket, Instant)) {
        let mut state = self.state.lock();
        let now = clock::now();
        state.change(now, change);
        state.review(now);
        state.wake_head();
        self.note(&mut state);
    }

    /// Locks the bucket. `None` when the lock has no length.
    pub(super) fn lock(self: &Arc<Self>, retry_after: Option<Duration>) -> Option<Met> {
        let now = clock::now();
        let (met, quota) = {
            let mut state = self.state.lock();
            let foreign = state.bucket.shows_room(now);
            let quota = state.bucket.quota(now);
            let until = state.bucket.locked(now, retry_after)?;
            state.foreign_locks += u64::from(foreign);
            state.review(now);
            state.wake_head();
            self.note(&mut state);
            (Met { until, foreign }, quota)
        };
        // A process that ends now must not leave a successor that knows nothing of the lock.
        self.books.journal.hurry();
        self.locked.notify_waiters();
        if met.foreign {
            self.report(met.until, quota, now);
        }
        Some(met)
    }

    /// The end of a lock that came after this slot was taken.
    pub(super) fn overtaken(&self, taken: Taken) -> Option<Instant> {
        self.state.lock().bucket.overtaken(taken)
    }

    /// Resolves when such a lock comes.
    pub(super) async fn overtaking(&self, taken: Taken) -> Instant {
        loop {
            let mut locked = std::pin::pin!(self.locked.notified());
            // Listening starts before looking, so that no lock falls between the two.
            locked.as_mut().enable();
            if let Some(until) = self.overtaken(taken) {
                return until;
            }
            locked.await;
        }
    }

    /// Keeps the record of the last window for a post-mortem.
    fn report(&self, until: Instant, quota: Quota, now: Instant) {
        let since = now.checked_sub(quota.window).unwrap_or(now);
        let (calls, calls_are_complete) = self.books.recorder.calls(&self.key, since);
        let text = self.books.recorder.keep(&Incident {
            at: rfc3339(clock::wall()),
            account: &self.key.account,
            route: &self.key.meter,
            requests: quota.requests.get(),
            window_seconds: quota.window.as_secs_f64(),
            charged: quota.requests.get() - quota.remaining,
            locked_for_seconds: until.saturating_duration_since(now).as_secs_f64(),
            calls,
            calls_are_complete,
        });
        self.books.journal.keep_incident(text);
    }
}

impl Recorded for Line {
    fn record(&self) -> (Key, Row) {
        let mut state = self.state.lock();
        state.noted = false;
        ((*self.key).clone(), state.bucket.row(clock::now()))
    }
}
