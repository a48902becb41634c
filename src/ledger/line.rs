//! A bucket with a first-come queue before it.
//!
//! Only the caller at the head of the queue sleeps until the next slot; the others sleep until they are woken. Whoever
//! leaves the head, served, refused or gone, wakes the next one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use super::{Bucket, Permit, Quota, bucket::Denied};
use crate::{catalogue::Threshold, clock};

/// The queue and the slots of one account and route.
#[derive(Debug)]
pub struct Line {
    state: Mutex<State>,
    room: Arc<WaitingRoom>,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    /// In the order of service.
    waiters: BTreeMap<Number, Arc<Notify>>,
    next: u64,
}

/// A waiter's number: by entrance, then by arrival.
type Number = (Entrance, u64);

/// How many callers may wait, over all lines together.
#[derive(Debug)]
pub struct WaitingRoom {
    waiting: AtomicUsize,
    places: usize,
}

/// The caller was not given a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// None comes free within its wait; the earliest could be in `retry_after`.
    Saturated {
        /// Until a call could succeed.
        retry_after: Duration,
    },
    /// The call is locked for longer than its wait.
    Locked {
        /// Until the lock ends.
        retry_after: Duration,
    },
    /// Every place of the waiting room is taken.
    Full {
        /// Until a call could succeed.
        retry_after: Duration,
    },
}

/// Where a caller enters the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entrance {
    /// Before those who had no turn yet: it had one and met a lock.
    Front,
    /// Behind everybody.
    Back,
}

// === impl WaitingRoom ===

impl WaitingRoom {
    /// A waiting room with so many places.
    #[must_use]
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { waiting: AtomicUsize::new(0), places })
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Who comes back from a lock was in already and is not turned away.
    fn enter(&self, entrance: Entrance) -> bool {
        let entered = |waiting| (entrance == Entrance::Front || waiting < self.places).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, entered).is_ok()
    }

    fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Line ===

impl Line {
    /// An empty line before an empty bucket.
    #[must_use]
    pub fn new(threshold: Threshold, room: Arc<WaitingRoom>) -> Arc<Self> {
        let state = State { bucket: Bucket::new(threshold), waiters: BTreeMap::new(), next: 0 };
        Arc::new(Self { state: Mutex::new(state), room })
    }

    /// Waits for a slot until `deadline`.
    ///
    /// Dropping the future leaves the queue; nothing is spent.
    ///
    /// # Errors
    /// [`Refused`], at once when no slot can come free in time, at the latest at `deadline`.
    pub async fn permit(self: &Arc<Self>, deadline: Instant, entrance: Entrance) -> Result<Permit, Refused> {
        let place = match self.enter(deadline, entrance)? {
            Entered::Served(permit) => return Ok(permit),
            Entered::Waiting(place) => place,
        };
        loop {
            // Listening starts before looking, so that no wake-up falls between the two.
            let woken = place.listen();
            let sleep_until = match place.look()? {
                Look::Served(permit) => return Ok(permit),
                Look::Wait { until } => until.map_or(deadline, |until| until.min(deadline)),
            };
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(sleep_until) => {}
            }
        }
    }

    /// What is left of the threshold. Whoever waits comes first, so then nothing is left.
    #[must_use]
    pub fn quota(&self) -> Quota {
        let state = self.state.lock();
        let mut quota = state.bucket.quota(clock::now());
        if !state.waiters.is_empty() {
            quota.remaining = 0;
        }
        quota
    }

    /// When a caller that came now could be served.
    #[must_use]
    pub fn expected(&self) -> Duration {
        let (now, state) = (clock::now(), self.state.lock());
        state.bucket.expected(now, state.waiters.len()).saturating_duration_since(now)
    }

    /// Changes the bucket and wakes the head of the queue, for which something may have come free.
    pub(super) fn change(&self, change: impl FnOnce(&mut Bucket, Instant)) {
        let mut state = self.state.lock();
        change(&mut state.bucket, clock::now());
        state.wake_head();
    }

    /// Locks the bucket and wakes everybody: who cannot wait that long is to hear so at once.
    pub(super) fn lock(&self, retry_after: Option<Duration>) -> Option<Instant> {
        let mut state = self.state.lock();
        let until = state.bucket.locked(clock::now(), retry_after);
        state.waiters.values().for_each(|waiter| waiter.notify_one());
        until
    }

    fn enter(self: &Arc<Self>, deadline: Instant, entrance: Entrance) -> Result<Entered, Refused> {
        let now = clock::now();
        let mut state = self.state.lock();
        let number = (entrance, state.next);
        let ahead = if entrance == Entrance::Back { state.waiters.len() } else { state.ahead_of(number) };
        if ahead == 0
            && let Ok(taken) = state.bucket.take(now)
        {
            return Ok(Entered::Served(Permit::new(Arc::clone(self), taken)));
        }
        let expected = state.bucket.expected(now, ahead);
        if expected > deadline || deadline <= now {
            return Err(state.refused(now, expected));
        }
        if !self.room.enter(entrance) {
            return Err(Refused::Full { retry_after: expected.saturating_duration_since(now) });
        }
        let wake = Arc::new(Notify::new());
        state.next += 1;
        state.waiters.insert(number, Arc::clone(&wake));
        Ok(Entered::Waiting(Place { line: Arc::clone(self), number, deadline, wake }))
    }
}

enum Entered {
    Served(Permit),
    Waiting(Place),
}

// === impl State ===

impl State {
    fn ahead_of(&self, number: Number) -> usize {
        self.waiters.range(..number).count()
    }

    fn refused(&self, now: Instant, expected: Instant) -> Refused {
        let retry_after = expected.saturating_duration_since(now);
        match self.bucket.locked_until(now) {
            Some(until) => Refused::Locked { retry_after: until.saturating_duration_since(now) },
            None => Refused::Saturated { retry_after },
        }
    }

    fn wake_head(&self) {
        if let Some((_, head)) = self.waiters.first_key_value() {
            head.notify_one();
        }
    }
}

/// A place in the queue; dropping it leaves the queue.
struct Place {
    line: Arc<Line>,
    number: Number,
    deadline: Instant,
    wake: Arc<Notify>,
}

enum Look {
    Served(Permit),
    /// Look again then, or when woken.
    Wait {
        until: Option<Instant>,
    },
}

// === impl Place ===

impl Place {
    fn listen(&self) -> Notified<'_> {
        self.wake.notified()
    }

    fn look(&self) -> Result<Look, Refused> {
        let now = clock::now();
        let mut state = self.line.state.lock();
        let head = state.waiters.first_key_value().is_some_and(|(&number, _)| number == self.number);
        let until = if head {
            match state.bucket.take(now) {
                Ok(taken) => return Ok(Look::Served(Permit::new(Arc::clone(&self.line), taken))),
                Err(Denied::Until(at)) => Some(at),
                Err(Denied::Unanswered) => None,
            }
        } else {
            None
        };
        let locked_too_long = state.bucket.locked_until(now).is_some_and(|until| until > self.deadline);
        if now >= self.deadline || locked_too_long {
            let expected = state.bucket.expected(now, state.ahead_of(self.number));
            return Err(state.refused(now, expected));
        }
        Ok(Look::Wait { until })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.line.state.lock();
        state.waiters.remove(&self.number);
        state.wake_head();
        self.line.room.leave();
    }
}
