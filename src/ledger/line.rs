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

use super::{
    Bucket, Permit, Quota,
    bucket::{Denied, Taken},
};
use crate::{catalogue::Threshold, clock};

/// Added to a `Retry-After` that depends on a call without an answer yet.
const A_WHILE: Duration = Duration::from_secs(1);

/// The queue and the slots of one account and route.
#[derive(Debug)]
pub struct Line {
    state: Mutex<State>,
    room: Arc<WaitingRoom>,
    /// Tells permits that are held, but not yet used, of a lock.
    locked: Notify,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    /// In the order of service.
    waiters: BTreeMap<Number, Waiter>,
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    deadline: Instant,
    wake: Arc<Notify>,
    /// Set when something happened after which it cannot be served in time.
    refused: Option<Refused>,
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
        Arc::new(Self { state: Mutex::new(state), room, locked: Notify::new() })
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

    /// The same for a change for the worse: who can no longer be served in time is to hear so at once.
    pub(super) fn worsen<T>(&self, change: impl FnOnce(&mut Bucket, Instant) -> T) -> T {
        let mut state = self.state.lock();
        let now = clock::now();
        let outcome = change(&mut state.bucket, now);
        state.tell_hopeless(now);
        state.wake_head();
        outcome
    }

    /// Locks the bucket.
    pub(super) fn lock(&self, retry_after: Option<Duration>) -> Option<Instant> {
        let until = self.worsen(|bucket, now| bucket.locked(now, retry_after));
        self.locked.notify_waiters();
        until
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
        state.waiters.insert(number, Waiter { deadline, wake: Arc::clone(&wake), refused: None });
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
        // A call on its way will take a while yet, and nobody knows how long.
        let unanswered = if self.bucket.is_unanswered(now) { A_WHILE } else { Duration::ZERO };
        let retry_after = expected.saturating_duration_since(now) + unanswered;
        match self.bucket.locked_until(now) {
            Some(until) => Refused::Locked { retry_after: until.saturating_duration_since(now) },
            None => Refused::Saturated { retry_after },
        }
    }

    fn wake_head(&self) {
        if let Some((_, head)) = self.waiters.first_key_value() {
            head.wake.notify_one();
        }
    }

    fn tell_hopeless(&mut self, now: Instant) {
        let expected = |ahead| self.bucket.expected(now, ahead);
        let hopeless: Vec<_> = (self.waiters.iter().enumerate())
            .filter(|(ahead, (_, waiter))| expected(*ahead) > waiter.deadline)
            .map(|(ahead, (&number, _))| (number, self.refused(now, expected(ahead))))
            .collect();
        for (number, refused) in hopeless {
            if let Some(waiter) = self.waiters.get_mut(&number) {
                waiter.refused = Some(refused);
                waiter.wake.notify_one();
            }
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
        if let Some(refused) = state.waiters.get(&self.number).and_then(|waiter| waiter.refused) {
            return Err(refused);
        }
        if now >= self.deadline {
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
