//! Cancelling against granting, under thousands of schedules: `cargo test --features model --lib ledger::model`.
//!
//! The limiter's own code runs here, with shuttle's mutex instead of its own: at each lock shuttle decides who goes on. The
//! other mutexes of the ledger (queue capacity, windows, history, journal) are leaves: nobody asks for the limiter's while
//! holding one of them, so no thread of a schedule is ever stopped inside one. If it were, the test would hang.
//!
//! Time stands still but for those who sleep until a moment nearby: they move the clock there, at a point of shuttle's
//! choosing. Deadlines are far away and never come, so a wake-up that is lost leaves its waiter for ever, and shuttle
//! reports a deadlock. It did when by way of trial the head was not woken by whoever left the queue (`QueueGuard::drop`), be it
//! only by those who were turned out, by a permit given back (`RouteLimiter::change`), or by a lock's end (`RouteLimiter::executed`).

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

/// For each scheduler, threshold and set of callers.
const SCHEDULES: usize = 1500;

/// Nobody sleeps as long as this.
const FAR: Duration = Duration::from_secs(1_000_000);

/// With a paused clock of its own.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"));

/// The line's mutex.
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

/// The line's sleep.
pub(super) async fn sleep_until(until: Instant) {
    let span = until.saturating_duration_since(clock::now());
    if span > FAR / 2 {
        std::future::pending().await
    } else {
        future::yield_now().await;
        RUNTIME.block_on(advance(until.saturating_duration_since(clock::now())));
    }
}

/// What a caller does with its permit.
#[derive(Debug, Clone, Copy)]
enum Use {
    GivesBack,
    Sends,
    /// Its connection breaks.
    Loses,
    MeetsALock,
}

struct Model {
    limiter: Arc<RouteLimiter>,
    room: Arc<QueueCapacity>,
    out: AtomicU32,
    turned_out: AtomicU32,
    requests: u32,
}

impl Model {
    /// A slot is free again with its answer, so that only wake-ups count.
    fn new(requests: u32, places: usize) -> Arc<Self> {
        let threshold =
            Threshold { lock: Duration::from_millis(1), ..threshold_of(requests, Duration::ZERO, Pace::Burst) };
        let context = LimiterContext::in_memory(Limits::calls(places));
        let room = Arc::clone(&context.room);
        let limiter = RouteLimiter::new(LimitSpec::own(Key::default(), threshold), Vec::new(), context);
        Arc::new(Self { limiter, room, out: AtomicU32::new(0), turned_out: AtomicU32::new(0), requests })
    }

    /// One caller that stays until it is served.
    async fn call(&self, how: Use) {
        let permit = self.limiter.attempt(SlotRequest::plain(clock::now() + FAR)).await.expect("who waits is served");
        self.make_use_of(permit, how).await;
    }

    /// One of callers who do not all find a place: it is served, or told that there is none or that its own is needed.
    async fn call_in_a_crowd(&self, caller: Caller, how: Use) {
        let request = SlotRequest { caller, ..SlotRequest::plain(clock::now() + FAR) };
        match self.limiter.attempt(request).await {
            Ok(permit) => self.make_use_of(permit, how).await,
            Err(Refused::Full { limit, .. }) => {
                self.turned_out.fetch_add(u32::from(limit == Limit::Lent), Ordering::Relaxed);
            }
            Err(refused) => panic!("{refused:?}"),
        }
    }

    /// One that loses patience at a moment of shuttle's choosing.
    async fn call_and_leave(&self, how: Use) {
        let mut looks = shuttle::rand::thread_rng().gen_range(0..4);
        let served = {
            let mut permit = pin!(self.limiter.attempt(SlotRequest::plain(clock::now() + FAR)));
            poll_fn(|context| match permit.as_mut().poll(context) {
                Poll::Ready(permit) => Poll::Ready(Some(permit.expect("who waits is served"))),
                Poll::Pending if looks == 0 => Poll::Ready(None),
                Poll::Pending => {
                    looks -= 1;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await
        };
        if let Some(permit) = served {
            self.make_use_of(permit, how).await;
        }
    }

    async fn make_use_of(&self, mut permit: Attempt, how: Use) {
        // One that a lock overtook is worth nothing.
        let sent = !matches!(how, Use::GivesBack) && permit.sending().is_ok();
        if sent {
            let out = self.out.fetch_add(1, Ordering::Relaxed) + 1;
            assert!(out <= self.requests, "{out} are out");
        }
        future::yield_now().await;
        if sent {
            self.out.fetch_sub(1, Ordering::Relaxed);
            match how {
                Use::GivesBack | Use::Loses => {}
                Use::Sends => {
                    permit.answered(StatusCode::OK);
                    permit.judged(true);
                }
                Use::MeetsALock => {
                    permit.answered(StatusCode::OK);
                    permit.locked(None);
                }
            }
        }
    }

    /// Everybody has gone: nothing may be left of them.
    fn is_empty(&self) {
        assert_eq!(self.room.waiting(), 0, "somebody sits on");
        let status = self.limiter.status();
        assert_eq!(status.waiting, 0, "somebody stands on");
        let left = status.allowance.route.remaining;
        RUNTIME.block_on(advance(NO_ANSWER_GRACE));
        let free = self.limiter.status().allowance.route.remaining;
        assert_eq!(free, self.requests, "a slot leaked; {left} were left");
    }
}

/// Runs these callers, every second of whom may leave.
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
        model.is_empty();
    });
    assert_eq!(schedules, SCHEDULES);
}

/// Four calls of one caller and three of another, of three times its weight, before a room for two.
fn check_crowd(scheduler: impl Scheduler + 'static, how: Use) {
    let _inside = RUNTIME.enter();
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    let turned_out = Arc::new(AtomicU32::new(0));
    let all = Arc::clone(&turned_out);
    let schedules = Runner::new(scheduler, config).run(move || {
        let model = Model::new(1, 2);
        let callers: Vec<_> = [1, 1, 3, 1, 3, 1, 3]
            .into_iter()
            .map(|weight| {
                let (model, weight) = (Arc::clone(&model), NonZeroU32::new(weight).expect("not zero"));
                let caller = Caller::new(&weight.to_string(), weight);
                future::spawn(async move { model.call_in_a_crowd(caller, how).await })
            })
            .collect();
        for caller in callers {
            future::block_on(caller).expect("it ends");
        }
        model.is_empty();
        all.fetch_add(model.turned_out.load(Ordering::Relaxed), Ordering::Relaxed);
    });
    assert_eq!(schedules, SCHEDULES);
    assert!(turned_out.load(Ordering::Relaxed) > 0, "nobody had to go");
}

const HELD: &[Use] = &[Use::GivesBack, Use::GivesBack, Use::Sends, Use::Sends, Use::GivesBack];
const LOST: &[Use] = &[Use::Sends, Use::Loses, Use::Sends, Use::GivesBack];
const LOCKED: &[Use] = &[Use::MeetsALock, Use::Sends, Use::Sends, Use::MeetsALock, Use::GivesBack];

#[test]
fn no_wake_up_is_lost_and_no_slot_leaks() {
    for requests in [1, 2] {
        for uses in [HELD, LOST, LOCKED] {
            check(RandomScheduler::new(SCHEDULES), requests, uses);
        }
    }
}

/// A few switches at the worst moments, which chance alone seldom finds.
#[test]
fn nor_at_the_worst_moments() {
    for requests in [1, 2] {
        for uses in [HELD, LOST, LOCKED] {
            check(PctScheduler::new(3, SCHEDULES), requests, uses);
        }
    }
}

/// A seat may be given away at any moment: while its owner looks, is served, or leaves.
#[test]
fn who_is_turned_out_leaves_nothing_and_wakes_the_next() {
    for how in [Use::GivesBack, Use::Sends] {
        check_crowd(RandomScheduler::new(SCHEDULES), how);
        check_crowd(PctScheduler::new(3, SCHEDULES), how);
    }
}
