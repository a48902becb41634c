//! Jobs outlive their process: kill -9, restart, drain.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{ROUTE, accepted, form, gated, job, one_at_a_time, share, state, until_in};
use crate::support::{COURSE, Call, Gateway, Random, Reply, Upstream, get, ms, put, until};

const READ: &str = "people.lms.get-shared-users";

fn asynchronous(call: Call) -> Call {
    call.header("prefer", "respond-async")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_waiting_jobs_are_sent_and_the_one_on_the_way_is_unknown() {
    let (upstream, gateway, gate) = gated(one_at_a_time).await;
    let on_the_way = accepted(&gateway.send(&job()).await);
    upstream.until_received(1).await;
    let waiting = accepted(&gateway.send(&asynchronous(share(2))).await);
    let gateway = gateway.kill().start();
    assert_eq!(state(&gateway, &on_the_way).await["state"], "unknown");
    gateway.send(&get(&format!("{on_the_way}/answer"))).await.problem(502, "job-outcome-unknown");
    upstream.until_received(2).await;
    // Neither the first, which has no reader any more, nor a third one.
    gate.notify_one();
    gate.notify_one();
    until_in(&gateway, &waiting, "done").await;
    let bodies: Vec<_> = upstream.received().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [form(1).into_bytes(), form(2).into_bytes()]);
    let gateway = gateway.kill().start();
    assert_eq!(state(&gateway, &on_the_way).await["state"], "unknown");
    assert_eq!(state(&gateway, &waiting).await["state"], "done");
    gateway.send(&get(&format!("{waiting}/answer"))).await.is_zohos(200);
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_may_be_repeated_is_sent_again_after_a_kill() {
    let calls = [get(COURSE).header("prefer", "respond-async"), share(1).header("prefer", "respond-async; idempotent")];
    for call in calls {
        let (upstream, gateway, gate) = gated(|setup| setup).await;
        let location = accepted(&gateway.send(&call).await);
        upstream.until_received(1).await;
        let gateway = gateway.kill().start();
        upstream.until_received(2).await;
        gate.notify_one();
        gate.notify_one();
        until_in(&gateway, &location, "done").await;
        assert_eq!(upstream.received().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_leaves_waiting_jobs_to_the_next_process_and_ends_the_one_on_the_way() {
    let (upstream, mut gateway, gate) = gated(one_at_a_time).await;
    let on_the_way = accepted(&gateway.send(&job()).await);
    upstream.until_received(1).await;
    let waiting = accepted(&gateway.send(&asynchronous(share(2))).await);
    // A caller that waits learns at once that its call goes on as a job.
    let caller = tokio::spawn(share(3).header("prefer", "respond-async, wait=25").sending(gateway.address()));
    gateway.until_waiting(2).await;
    gateway.drain().await;
    let third = accepted(&caller.await.expect("no panic"));
    gate.notify_one();
    assert_eq!(gateway.wait(), Some(0));
    let gateway = gateway.stop().start();
    assert_eq!(state(&gateway, &on_the_way).await["state"], "done");
    for (location, sent) in [(&waiting, 2), (&third, 3)] {
        upstream.until_received(sent).await;
        gate.notify_one();
        until_in(&gateway, location, "done").await;
    }
    assert_eq!(upstream.received().len(), 3);
}

// === kill -9 under load ===

const KILLS: usize = 20;
const CALLERS: u64 = 8;

/// What a caller knows of a job.
struct Known {
    location: String,
    /// The states in which it was seen, in their order.
    seen: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_under_load_lose_no_job_and_send_none_twice() {
    let mut random = Random::seeded();
    let seed = random.seed();
    let upstream = Upstream::start(|_| Reply::json(200, "{}").after(ms(60))).await;
    let mut setup = Gateway::before_upstream(&upstream).set("token.requests", 1000);
    let address = format!("unix:{}", setup.path("proxy.sock").display());
    setup = setup.set("proxy.listen", json!([address])).route(ROUTE, "requests", 60).route(ROUTE, "window", "300ms");

    let (over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
    let known: Arc<Mutex<BTreeMap<u64, Known>>> = Arc::default();
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let (address, over, next, known) = (address.clone(), Arc::clone(&over), Arc::clone(&next), Arc::clone(&known));
        callers.push(tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                // Without an answer the caller does not know whether there is a job, and does not repeat it here.
                match asynchronous(share(number)).attempt(&address).await {
                    Some(answer) => {
                        let known_one = Known { location: accepted(&answer), seen: Vec::new() };
                        known.lock().expect("no panic").insert(number, known_one);
                    }
                    None => tokio::time::sleep(ms(5)).await,
                }
                look(&address, &known, number.saturating_sub(7)).await;
                tokio::time::sleep(ms(60)).await;
            }
        }));
    }
    for _ in 0..KILLS {
        let gateway = setup.start();
        tokio::time::sleep(ms(50 + random.below(600))).await;
        gateway.kill();
    }
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no panic");
    }
    let gateway = setup.start();
    until("all jobs have ended", async || {
        let counts = gateway.send(&get("/gateway/jobs?limit=1")).await.json()["counts"].clone();
        counts["queued"] == 0 && counts["sending"] == 0
    })
    .await;

    let mut sent: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for request in upstream.received() {
        *sent.entry(request.body).or_default() += 1;
    }
    assert!(sent.values().all(|times| *times == 1), "seed {seed}: sent twice: {sent:?}");
    let mut known = std::mem::take(&mut *known.lock().expect("no panic"));
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for (number, known) in &mut known {
        let job = state(&gateway, &known.location).await;
        let end = job["state"].as_str().expect("a state").to_owned();
        known.seen.push(end.clone());
        let was_sent = sent.contains_key(form(*number).as_bytes());
        assert!(end == "unknown" || (end == "done" && was_sent), "seed {seed}: {job}, sent: {was_sent}");
        is_one_story(&known.seen, seed);
        *ends.entry(end).or_default() += 1;
    }
    // A gateway that takes hardly any jobs would pass the test.
    assert!(ends["done"] >= 50 && ends.values().sum::<usize>() == known.len(), "seed {seed}: {ends:?}");
    let unknown = ends.get("unknown").copied().unwrap_or_default();
    assert!(unknown <= KILLS * 10, "only what was on the way at a kill: {ends:?}");
    drop(gateway);
}

/// Looks at a job, if it is known.
async fn look(address: &str, known: &Mutex<BTreeMap<u64, Known>>, number: u64) {
    let location = known.lock().expect("no panic").get(&number).map(|known| known.location.clone());
    let Some(location) = location else { return };
    let Some(answer) = get(&location).attempt(address).await else { return };
    assert_eq!(answer.status, 200, "a job was lost: {answer:?}");
    let state = answer.json()["state"].as_str().expect("a state").to_owned();
    if let Some(known) = known.lock().expect("no panic").get_mut(&number) {
        known.seen.push(state);
    }
}

/// An end is the end.
pub(crate) fn is_one_story(seen: &[String], seed: u64) {
    let ended = seen.iter().position(|state| ["done", "failed", "unknown"].contains(&state.as_str()));
    let ends: BTreeSet<_> = seen[ended.unwrap_or(seen.len())..].iter().collect();
    assert!(ends.len() <= 1, "seed {seed}: {seen:?}");
}

/// A read that is cached: a job gets its answer from there too, and a job that writes invalidates it when it is executed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_invalidates_the_cache_when_it_is_executed() {
    let gate = Arc::new(Notify::new());
    let (closed, version) = (Arc::clone(&gate), Arc::new(AtomicU64::new(0)));
    let written = Arc::clone(&version);
    let upstream = Upstream::start(move |request| match request.line.starts_with("GET") {
        true => Reply::json(200, &format!("{{\"version\":{}}}", version.load(Ordering::Relaxed))),
        false => Reply::json(200, "{}").behind(&closed),
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).route(READ, "cache", "1h").start();
    let read = async || -> Value { gateway.send(&get(COURSE)).await.json()["version"].clone() };
    assert_eq!(read().await, 0);
    let location = accepted(&gateway.send(&asynchronous(put(COURSE).form(form(1)))).await);
    upstream.until_received(2).await;
    written.store(1, Ordering::Relaxed);
    gate.notify_one();
    until_in(&gateway, &location, "done").await;
    assert_eq!(read().await, 1);
}
