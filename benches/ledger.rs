//! Measures the time and memory of the ledger and its queue: `cargo bench --bench ledger`.
//!
//! Absolute times depend on the machine, so each is compared with governor's GCRA in the same run. Results of a run are
//! in `docs/benchmarks.md`.

#![expect(clippy::print_stdout, reason = "its table is its result")]

use std::{
    fs,
    future::Future,
    hint::black_box,
    num::NonZeroU32,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use governor::{Quota, RateLimiter, clock::FakeRelativeClock};
use http::StatusCode;
use zoho_gateway::{
    ledger::{
        Journal, LimiterContext, Limiters, Limits, RecordedBackend, Recovered, RouteLimiter, SlotRequest, Window,
        store::Store,
    },
    os::clock,
    secret::credential::Credential,
    zoho::account::{Account, AccountName},
    zoho::catalogue::{Catalogue, Pace, Route, RouteId, Threshold},
    zoho::data_center::DataCenter,
    zoho::share::Share,
};

const ROUNDS: usize = 7;

fn main() {
    // The queue's timers need a runtime, though no test here waits for one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let gcra = median(|| per_operation(1_000_000, check_gcra()));
    let window = median(|| per_operation(1_000_000, take_from_window()));
    let limiter = median(|| per_operation(1_000_000, attempt_by_limiter()));
    report("governor: one check", gcra, gcra);
    report("window: take a slot, answer it", window, gcra);
    report("limiter: attempt, sent, answered, executed", limiter, gcra);
    // Kept, so that the next measurement cannot use freed memory.
    let _kept = full_windows(100_000);
    queue(100_000, gcra);
    runtime.block_on(journal());
}

fn threshold(requests: u32, window: Duration) -> Threshold {
    let requests = NonZeroU32::new(requests).expect("not zero");
    Threshold { requests, window, lock: Duration::from_secs(300), pace: Pace::Burst }
}

fn check_gcra() -> impl FnMut() {
    let clock = FakeRelativeClock::default();
    let limiter = RateLimiter::direct_with_clock(Quota::per_second(NonZeroU32::MAX), clock.clone());
    move || {
        clock.advance(Duration::from_micros(1));
        black_box(limiter.check()).expect("far below the quota");
    }
}

/// Takes slots from a window of 30 that is always nearly full.
fn take_from_window() -> impl FnMut() {
    let mut window = Window::new(threshold(30, Duration::from_micros(29)), clock::now());
    let mut now = clock::now();
    move || {
        now += Duration::from_micros(1);
        black_box(window.take(now)).expect("a slot has come free");
        window.answered(now, now);
    }
}

fn attempt_by_limiter() -> impl FnMut() {
    let limiter = limiter(threshold(1_000_000, Duration::from_millis(1)), Limits::NOBODY);
    move || {
        let Poll::Ready(Ok(mut attempt)) = poll(limiter.attempt(SlotRequest::plain(clock::now()))) else {
            unreachable!("a million slots in a millisecond are enough")
        };
        attempt.sending().expect("no lock");
        attempt.answered(StatusCode::OK);
        attempt.judged(true);
    }
}

/// Many waiters in one queue: the time to enter and to leave, and the memory.
fn queue(waiters: usize, reference: f64) {
    let limiter = limiter(threshold(1, Duration::from_secs(1)), Limits::calls(waiters));
    let held = poll(limiter.attempt(SlotRequest::plain(clock::now())));
    let far = clock::now() + Duration::from_secs(1_000_000);
    let before = resident();
    let mut waiting: Vec<_> = Vec::with_capacity(waiters);
    let began = clock::now();
    for _ in 0..waiters {
        let mut attempt = Box::pin(limiter.attempt(SlotRequest::plain(far)));
        assert!(attempt.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "it has to wait");
        waiting.push(attempt);
    }
    let entered = began.elapsed().as_secs_f64() / waiters as f64;
    let memory = resident().saturating_sub(before);
    let began = clock::now();
    // From the middle, the back and the front.
    while !waiting.is_empty() {
        let index = waiting.len() / 2;
        drop(waiting.swap_remove(index));
    }
    let left = began.elapsed().as_secs_f64() / waiters as f64;
    drop(held);
    report(&format!("queue of {waiters}: enter"), entered, reference);
    report(&format!("queue of {waiters}: leave"), left, reference);
    println!("queue of {waiters}: {} MiB", memory / 1024);
}

fn full_windows(number: usize) -> Vec<Arc<RouteLimiter>> {
    let before = resident();
    let all = Limiters::in_memory(Limits::NOBODY);
    let limiters = many(&all, number, threshold(30, Duration::from_secs(60)));
    for limiter in &limiters {
        // All slots in use: a window needs most memory then.
        for _ in 0..30 {
            let Poll::Ready(Ok(mut attempt)) = poll(limiter.attempt(SlotRequest::plain(clock::now()))) else {
                unreachable!("thirty slots are free")
            };
            attempt.sending().expect("no lock");
            attempt.answered(StatusCode::OK);
            attempt.judged(true);
        }
    }
    println!("{number} windows, all slots in use: {} MiB", resident().saturating_sub(before) / 1024);
    limiters
}

/// The cost of recording each call on disk before it is sent: one call at a time, and many at once.
async fn journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = Store::open(folder.path()).expect("a new store");
    let past = Arc::new(Recovered::new(opened.start_state, clock::now()));
    let journal = Journal::keep(opened.store, Arc::clone(&past), Arc::new(())).expect("a thread");
    let limits = Limits::calls(100_000);
    let backend = Arc::new(RecordedBackend::new(past, journal.clone()));
    let context = LimiterContext { backend, ..LimiterContext::in_memory(limits) };
    let limiters = many(&Limiters::new(context), 1000, threshold(400, Duration::from_secs(60)));
    let call = async |limiter: &Arc<RouteLimiter>| {
        let mut attempt = limiter.attempt(SlotRequest::plain(clock::now())).await.expect("a free slot and a disk");
        attempt.sending().expect("no lock");
        attempt.answered(StatusCode::OK);
        attempt.judged(true);
    };

    let mut alone: Vec<_> = Vec::new();
    for limiter in &limiters[..200] {
        let began = clock::now();
        call(limiter).await;
        alone.push(began.elapsed().as_secs_f64());
    }
    alone.sort_by(f64::total_cmp);
    println!("recorded call, one at a time: {:.0} us", alone[alone.len() / 2] * 1e6);

    for at_once in [10, 100, 1000] {
        let (began, cpu, calls) = (clock::now(), cpu_seconds(), 20_000);
        let caller = async |first: usize| {
            for number in (first..calls).step_by(at_once) {
                call(&limiters[number % limiters.len()]).await;
            }
        };
        futures_util::future::join_all((0..at_once).map(caller)).await;
        let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        println!(
            "recorded calls on 1000 routes, {at_once} at once: {:.0} per s, {:.0} us of CPU each",
            calls as f64 / took,
            cpu / calls as f64 * 1e6
        );
    }
    journal.close().await;
}

fn limiter(threshold: Threshold, limits: Limits) -> Arc<RouteLimiter> {
    many(&Limiters::in_memory(limits), 1, threshold).remove(0)
}

/// The limiters of one account and `number` routes.
fn many(limiters: &Limiters, number: usize, threshold: Threshold) -> Vec<Arc<RouteLimiter>> {
    let (account, route) = (
        account(),
        Catalogue::published().expect("the catalogue").find("people.lms.share-course").expect("a route").clone(),
    );
    let limiter = |number| {
        let id = RouteId::new(&format!("people.bench.call-{number}"));
        limiters.limit(&account, &Route { id, threshold: Some(threshold), ..route.clone() }).limiter().cloned()
    };
    (0..number).filter_map(limiter).collect()
}

fn account() -> Account {
    Account {
        name: AccountName::new("main"),
        data_center: DataCenter::Us,
        endpoints: DataCenter::Us.endpoints(),
        client_id: String::new(),
        client_secret: Credential::awaited(None),
        refresh_token: Credential::awaited(None),
        daily_calls: None,
        share: Share::WHOLE,
    }
}

/// User and system time of this process on Linux, where a tick is a hundredth of a second.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Seconds per operation.
fn per_operation(operations: usize, mut operation: impl FnMut()) -> f64 {
    let began = clock::now();
    for _ in 0..operations {
        operation();
    }
    clock::now().duration_since(began).as_secs_f64() / operations as f64
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut measured: Vec<_> = (0..ROUNDS).map(|_| measure()).collect();
    measured.sort_by(f64::total_cmp);
    measured[ROUNDS / 2]
}

/// Resident memory in KiB, on Linux.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

fn report(what: &str, seconds: f64, reference: f64) {
    println!("{what}: {:.0} ns, {:.1} x governor's check", seconds * 1e9, seconds / reference);
}
