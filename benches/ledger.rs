//! What the ledger and its queue cost: `cargo bench --bench ledger`.
//!
//! Absolute times depend on the machine; the peer in the same run, governor's GCRA, gives the ratio. Results of a run
//! are in `docs/benchmarks.md`.

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
use zoho_gateway::{
    catalogue::{Pace, Threshold},
    clock,
    ledger::{Bucket, Claim, Limits, Line},
};

const ROUNDS: usize = 7;

fn main() {
    // The queue's timers belong to a runtime, though nothing here ever waits for one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let gcra = median(|| per_operation(1_000_000, check_gcra()));
    let bucket = median(|| per_operation(1_000_000, grant_by_bucket()));
    let line = median(|| per_operation(1_000_000, grant_by_line()));
    report("governor: one check", gcra, gcra);
    report("bucket: take, answered", bucket, gcra);
    report("line: permit, sent, answered, executed", line, gcra);
    queue(100_000, gcra);
    buckets(100_000);
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

/// A bucket of 30 slots that is always nearly full.
fn grant_by_bucket() -> impl FnMut() {
    let mut bucket = Bucket::new(threshold(30, Duration::from_micros(29)), clock::now());
    let mut now = clock::now();
    move || {
        now += Duration::from_micros(1);
        black_box(bucket.take(now)).expect("a slot has come free");
        bucket.answered(now, now);
    }
}

fn grant_by_line() -> impl FnMut() {
    let line = Line::in_memory(threshold(1_000_000, Duration::from_millis(1)), Limits::NOBODY);
    move || {
        let Poll::Ready(Ok(mut permit)) = poll(line.permit(Claim::plain(clock::now()))) else {
            unreachable!("a million slots in a millisecond are enough")
        };
        permit.sending().expect("no lock");
        permit.answered();
        permit.executed();
    }
}

/// Many waiters in one line: what each costs to come and to go, and to keep.
fn queue(waiters: usize, peer: f64) {
    let line = Line::in_memory(threshold(1, Duration::from_secs(1)), Limits::calls(waiters));
    let held = poll(line.permit(Claim::plain(clock::now())));
    let far = clock::now() + Duration::from_secs(1_000_000);
    let before = resident();
    let mut waiting: Vec<_> = Vec::with_capacity(waiters);
    let began = clock::now();
    for _ in 0..waiters {
        let mut permit = Box::pin(line.permit(Claim::plain(far)));
        assert!(permit.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "it has to wait");
        waiting.push(permit);
    }
    let entered = began.elapsed().as_secs_f64() / waiters as f64;
    let memory = resident().saturating_sub(before);
    let began = clock::now();
    // From the middle, the back and the front alike.
    while !waiting.is_empty() {
        let place = waiting.len() / 2;
        drop(waiting.swap_remove(place));
    }
    let left = began.elapsed().as_secs_f64() / waiters as f64;
    drop(held);
    report(&format!("line of {waiters}: enter"), entered, peer);
    report(&format!("line of {waiters}: leave"), left, peer);
    println!("line of {waiters}: {} MiB", memory / 1024);
}

fn buckets(number: usize) {
    let before = resident();
    let lines: Vec<Arc<Line>> =
        (0..number).map(|_| Line::in_memory(threshold(30, Duration::from_secs(60)), Limits::NOBODY)).collect();
    for line in &lines {
        // All slots charged: the most that a bucket holds.
        for _ in 0..30 {
            let Poll::Ready(Ok(mut permit)) = poll(line.permit(Claim::plain(clock::now()))) else {
                unreachable!("thirty slots are free")
            };
            permit.sending().expect("no lock");
            permit.answered();
            permit.executed();
        }
    }
    println!("{number} full buckets: {} MiB", resident().saturating_sub(before) / 1024);
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

/// Resident memory in KiB, of Linux.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

fn report(what: &str, seconds: f64, peer: f64) {
    println!("{what}: {:.0} ns, {:.1} x governor's check", seconds * 1e9, seconds / peer);
}
