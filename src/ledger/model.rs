//! Cancelling and granting under thousands of schedules: `cargo test --features model --lib ledger::model`.
//!
//! This runs the limiter's own code with shuttle's mutex: at each lock shuttle decides which thread continues. The
//! other mutexes of the ledger (queue capacity, windows, history, journal) are leaves: the limiter's mutex is never
//! locked while one of them is held, so no thread of a schedule is stopped inside one. If one were, the test would
//! hang.
//!
//! The clock only advances when a task sleeps until a near moment: the task advances the clock itself, at a point that
//! shuttle chooses. Deadlines are far away and never come, so a lost wake-up leaves its waiter waiting for ever, and
//! shuttle reports a deadlock. It did so in trials in which the head was not woken by calls that left the queue
//! (`QueueGuard::drop`), or only not by evicted calls, by an unused attempt, or by the end of a lock
//! (`RouteLimiter::note`).

use std::{
    future::{Future, poll_fn},
    num::NonZeroU32,
    pin::pin,
    sync::{
        Arc, LazyLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::StatusCode;
use shuttle::{
    Config, Runner, future,
    rand::Rng,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    sync::MutexGuard,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, advance},
};

use super::{tests::threshold_of, *};
use crate::{
    os::clock,
    zoho::catalogue::{Pace, Threshold},
};

/// How many schedules run for each scheduler, threshold and set of callers.
const SCHEDULES: usize = 1500;

/// A deadline that never comes.
const FAR: Duration = Duration::from_secs(1_000_000);

/// Has its own paused clock.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"));

/// The limiter's mutex.
#[derive(Debug)]
pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(super) fn new(inner: T) -> Self {
        Self(shuttle::sync::Mutex::new(inner))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limiter's sleep.
pub(super) async fn sleep_until(until: Instant) {
    let span = until.saturating_duration_since(clock::now());
    if span > FAR / 2 {
        std::future::pending().await
    } else {
        future::yield_now().await;
        RUNTIME.block_on(advance(until.saturating_duration_since(clock::now())));
    }
}

/// What a caller does with its attempt.
#[derive(Debug, Clone, Copy)]
enum Use {
    DropsUnused,
    Sends,
    /// Its connection breaks.
    Loses,
    HitsALock,
}

struct Model {
    limiter: Arc<RouteLimiter>,
    capacity: Arc<QueueCapacity>,
    out: AtomicU32,
    evicted: AtomicU32,
    requests: u32,
}

impl Model {
    /// A slot is free again with its answer, so that only wake-ups matter.
    fn new(requests: u32, waiting: usize) -> Arc<Self> {
        let threshold =
            Threshold { lock: Duration::from_millis(1), ..threshold_of(requests, Duration::ZERO, Pace::Burst) };
        let context = LimiterContext::in_memory(Limits::calls(waiting));
        let capacity = Arc::clone(&context.capacity);
        let limiter = RouteLimiter::new(LimitSpec::own(Key::default(), threshold), Vec::new(), &[], context);
        Arc::new(Self { limiter, capacity, out: AtomicU32::new(0), evicted: AtomicU32::new(0), requests })
    }

    /// A call that waits until it is served.
    async fn call(&self, how: Use) {
        let attempt =
            self.limiter.attempt(SlotRequest::plain(clock::now() + FAR)).await.expect("each waiter is served");
        self.use_attempt(attempt, how).await;
    }

    /// A call that may be refused because the queue is full, or be evicted.
    async fn call_in_a_full_queue(&self, caller: Caller, how: Use) {
        let request = SlotRequest { caller, ..SlotRequest::plain(clock::now() + FAR) };
        match self.limiter.attempt(request).await {
            Ok(attempt) => self.use_attempt(attempt, how).await,
            Err(Refused::Full { limit, .. }) => {
                self.evicted.fetch_add(u32::from(limit == Limit::Lent), Ordering::Relaxed);
            }
            Err(refused) => panic!("{refused:?}"),
        }
    }

    /// A call that may leave at a moment that shuttle chooses.
    async fn call_and_leave(&self, how: Use) {
        let mut polls = shuttle::rand::thread_rng().gen_range(0..4);
        let served = {
            let mut attempt = pin!(self.limiter.attempt(SlotRequest::plain(clock::now() + FAR)));
            poll_fn(|context| match attempt.as_mut().poll(context) {
                Poll::Ready(attempt) => Poll::Ready(Some(attempt.expect("each waiter is served"))),
                Poll::Pending if polls == 0 => Poll::Ready(None),
                Poll::Pending => {
                    polls -= 1;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await
        };
        if let Some(attempt) = served {
            self.use_attempt(attempt, how).await;
        }
    }

    async fn use_attempt(&self, mut attempt: Attempt, how: Use) {
        // An attempt from before a lock must not be sent.
        let sent = !matches!(how, Use::DropsUnused) && attempt.sending().is_ok();
        if sent {
            let out = self.out.fetch_add(1, Ordering::Relaxed) + 1;
            assert!(out <= self.requests, "{out} calls at once");
        }
        future::yield_now().await;
        if sent {
            self.out.fetch_sub(1, Ordering::Relaxed);
            match how {
                Use::DropsUnused | Use::Loses => {}
                Use::Sends => {
                    attempt.answered(StatusCode::OK);
                    attempt.judged(true);
                }
                Use::HitsALock => {
                    attempt.answered(StatusCode::OK);
                    attempt.locked(None);
                }
            }
        }
    }

    /// All calls have ended: no waiter and no slot may be left.
    fn assert_empty(&self) {
        assert_eq!(self.capacity.waiting(), 0, "a call is still counted");
        let status = self.limiter.status();
        assert_eq!(status.waiting, 0, "a call is still in the queue");
        let left = status.allowance.route.remaining;
        RUNTIME.block_on(advance(NO_ANSWER_GRACE));
        let free = self.limiter.status().allowance.route.remaining;
        assert_eq!(free, self.requests, "a slot leaked; {left} were left");
    }
}

/// Runs one caller for each use; every second one may leave.
fn check(scheduler: impl Scheduler + 'static, requests: u32, uses: &'static [Use]) {
    let _inside = RUNTIME.enter();
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    let schedules = Runner::new(scheduler, config).run(move || {
        let model = Model::new(requests, 100);
        let callers: Vec<_> = uses
            .iter()
            .enumerate()
            .map(|(number, &how)| {
                let model = Arc::clone(&model);
                future::spawn(async move {
                    if number % 2 == 0 { model.call(how).await } else { model.call_and_leave(how).await }
                })
            })
            .collect();
        for caller in callers {
            future::block_on(caller).expect("it ends");
        }
        model.assert_empty();
    });
    assert_eq!(schedules, SCHEDULES);
}

/// Four calls of one caller and three of another, of three times its weight, with a queue for two.
fn check_full_queue(scheduler: impl Scheduler + 'static, how: Use) {
    let _inside = RUNTIME.enter();
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    let evicted = Arc::new(AtomicU32::new(0));
    let all = Arc::clone(&evicted);
    let schedules = Runner::new(scheduler, config).run(move || {
        let model = Model::new(1, 2);
        let callers: Vec<_> = [1, 1, 3, 1, 3, 1, 3]
            .into_iter()
            .map(|weight| {
                let (model, weight) = (Arc::clone(&model), NonZeroU32::new(weight).expect("not zero"));
                let caller = Caller::new(&weight.to_string(), weight);
                future::spawn(async move { model.call_in_a_full_queue(caller, how).await })
            })
            .collect();
        for caller in callers {
            future::block_on(caller).expect("it ends");
        }
        model.assert_empty();
        all.fetch_add(model.evicted.load(Ordering::Relaxed), Ordering::Relaxed);
    });
    assert_eq!(schedules, SCHEDULES);
    assert!(evicted.load(Ordering::Relaxed) > 0, "no call was evicted");
}

const HELD: &[Use] = &[Use::DropsUnused, Use::DropsUnused, Use::Sends, Use::Sends, Use::DropsUnused];
const LOST: &[Use] = &[Use::Sends, Use::Loses, Use::Sends, Use::DropsUnused];
const LOCKED: &[Use] = &[Use::HitsALock, Use::Sends, Use::Sends, Use::HitsALock, Use::DropsUnused];

#[test]
fn no_wake_up_is_lost_and_no_slot_leaks() {
    for requests in [1, 2] {
        for uses in [HELD, LOST, LOCKED] {
            check(RandomScheduler::new(SCHEDULES), requests, uses);
        }
    }
}

/// With few switches, at moments that random schedules seldom find.
#[test]
fn no_wake_up_is_lost_at_the_worst_moments() {
    for requests in [1, 2] {
        for uses in [HELD, LOST, LOCKED] {
            check(PctScheduler::new(3, SCHEDULES), requests, uses);
        }
    }
}

/// A call may be evicted at any moment: while it checks its turn, is served, or leaves.
#[test]
fn an_evicted_call_leaves_nothing_and_wakes_the_next() {
    for how in [Use::DropsUnused, Use::Sends] {
        check_full_queue(RandomScheduler::new(SCHEDULES), how);
        check_full_queue(PctScheduler::new(3, SCHEDULES), how);
    }
}
