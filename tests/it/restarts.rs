//! The promise outlives the process: the calls and locks of an earlier gateway count for the next one.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::sync::Notify;
use zoho_gateway::os::clock;

use crate::support::{
    Answer, COURSE, Call, Gateway, Process, Random, Reply, SHARE, Sandbox, Setup, Upstream, all, delete, get,
    libfaketime, ms, prlimit, put, unshare_time,
};

const ROUTE: &str = "people.lms.share-course";
const API: &str = "PUT /api/v1/courses/{id}/share";
const GET: &str = "people.lms.get-shared-users";
const GET_API: &str = "GET /api/v1/courses/{id}/share";
const DELETE: &str = "people.lms.remove-shared-user";

/// A sandbox without a limit for token requests.
fn zoho() -> Sandbox {
    Sandbox::start(&["--token-requests", "1000"])
}

fn share() -> Call {
    put(COURSE).form(SHARE)
}

fn now_or_never(call: Call) -> Call {
    call.header("prefer", "wait=0")
}

/// Resolves when everything that the ledger knows is on disk: a call is sent only after everything before it is
/// recorded.
async fn until_recorded(gateway: &Gateway) {
    gateway.send(&get(COURSE)).await.is_zohos(200);
}

// === kill -9 under load ===

const KILLS: usize = 20;

/// Callers of each account and route: enough to use up the threshold, but too few for the unanswered calls of the kills
/// to use it up.
const CALLERS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_under_load_break_no_threshold() {
    let mut random = Random::seeded();
    let seed = random.seed();
    let options = ["--requests", "30", "--window", "1s", "--lock", "60s", "--delay", "150ms"];
    let zoho = Sandbox::start(&[&options[..], &["--token-requests", "1000"]].concat());
    let mut setup = Gateway::before(&zoho);
    // The callers find the gateway at the same address again.
    let address = format!("unix:{}", setup.path("proxy.sock").display());
    setup = setup.set("proxy.listen", json!([address]));
    for key in ["client_id", "client_secret", "endpoints.accounts", "endpoints.people", "endpoints.calendar"] {
        setup = setup.same(&format!("accounts.berlin.{key}"), &format!("accounts.main.{key}"));
    }
    setup = setup.set("accounts.berlin.refresh_token", "1000.sandbox.berlin");
    for route in [ROUTE, GET] {
        setup = setup.route(route, "requests", 30).route(route, "window", "1s");
    }

    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let mut callers = Vec::new();
    for account in ["main", "berlin"] {
        for call in [share(), get(COURSE)] {
            let call = call.header("prefer", "wait=25").header("gateway-account", account);
            for _ in 0..CALLERS {
                callers.push(tokio::spawn(insist(
                    call.clone(),
                    address.clone(),
                    Arc::clone(&over),
                    Arc::clone(&served),
                )));
            }
        }
    }
    let mut gateways_that_served = 0;
    for _ in 0..KILLS {
        let (gateway, before) = (setup.start(), served.load(Ordering::Relaxed));
        tokio::time::sleep(ms(50 + random.below(1700))).await;
        gateways_that_served += usize::from(served.load(Ordering::Relaxed) > before);
        gateway.kill();
    }
    // The last report about the calls in flight.
    tokio::time::sleep(ms(400)).await;
    over.store(true, Ordering::Relaxed);
    let mut rejected = Vec::new();
    for caller in callers {
        rejected.extend(caller.await.expect("no panic"));
    }

    let tallies = zoho.tallies().await;
    assert_eq!(tallies.len(), 4, "seed {seed}: {tallies:#?}");
    for tally in tallies.values() {
        assert_eq!((tally.locks, tally.arrivals_during_lock), (0, 0), "seed {seed}: {tallies:#?}");
        assert!(tally.most_in_any_window <= 30, "seed {seed}: {tallies:#?}");
    }
    assert!(rejected.is_empty(), "seed {seed}: {rejected:#?}");
    // A gateway that sends hardly any calls would pass the test.
    let busiest = tallies.values().map(|tally| tally.most_in_any_window).max();
    assert!(
        busiest >= Some(20) && gateways_that_served >= KILLS / 4,
        "{gateways_that_served} gateways, seed {seed}: {tallies:#?}"
    );
}

/// A caller that always sends one more call, as soon as a gateway listens. Returns the first answer that is not a
/// success, and stops.
async fn insist(call: Call, address: String, over: Arc<AtomicBool>, served: Arc<AtomicUsize>) -> Option<Answer> {
    while !over.load(Ordering::Relaxed) {
        match call.attempt(&address).await {
            Some(answer) if answer.status == 200 => {
                served.fetch_add(1, Ordering::Relaxed);
            }
            Some(answer) => return Some(answer),
            None => tokio::time::sleep(ms(5)).await,
        }
    }
    None
}

// === recovered state ===

/// A gateway that used up its threshold and has ended.
async fn thirty_of_thirty(zoho: &Sandbox, end: impl FnOnce(Gateway) -> Setup) -> Setup {
    let gateway = Gateway::before(zoho).start();
    let call = now_or_never(share());
    for answer in all((0..30).map(|_| call.sending(gateway.address()))).await {
        answer.is_zohos(200);
    }
    end(gateway)
}

/// The next gateway knows it, and says when a slot becomes free: in `longest` seconds at most.
async fn nothing_is_left(gateway: &Gateway, zoho: &Sandbox, longest: u64) {
    let body = gateway.send(&now_or_never(share())).await.problem_of(429, "threshold-saturated", ROUTE);
    assert!(body["retry_after"].as_u64().is_some_and(|seconds| seconds <= longest), "{body}");
    let tally = zoho.tally(API).await;
    assert_eq!((tally.arrivals, tally.most_in_any_window, tally.locks), (30, 30, 0));
}

/// Every answer was recorded, so no call counts as unanswered, which would take longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_restart_forgets_nothing_and_assumes_nothing() {
    let zoho = zoho();
    let gateway = thirty_of_thirty(&zoho, Gateway::stop).await.start();
    nothing_is_left(&gateway, &zoho, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_forgets_nothing() {
    let zoho = zoho();
    let gateway = thirty_of_thirty(&zoho, Gateway::kill).await.start();
    nothing_is_left(&gateway, &zoho, 65).await;
}

/// The wall clock of each process differs by days, ahead and behind; the monotonic clock is unchanged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_of_the_wall_clock_frees_a_slot() {
    let zoho = zoho();
    let mut setup = thirty_of_thirty(&zoho, Gateway::kill).await;
    for step in ["+2d", "-2d", "+400d", "-400d"] {
        let stepped = setup
            .clone()
            .env("LD_PRELOAD", &libfaketime())
            .env("FAKETIME", step)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
        let gateway = stepped.start();
        nothing_is_left(&gateway, &zoho, 65).await;
        let date = now_or_never(share()).send(gateway.address()).await.header("date").map(str::to_owned);
        gateway.kill();
        let here = httpdate::fmt_http_date(zoho_gateway::os::clock::wall());
        assert_ne!(date.map(|date| date[..16].to_owned()), Some(here[..16].to_owned()), "its clock was stepped");
    }
    setup = setup.set("queue.max_wait", "1s");
    nothing_is_left(&setup.start(), &zoho, 65).await;
}

/// One time namespace ends, and the next has its number (the kernel reuses numbers) but its own clock. How far the
/// clocks of the first and of the second are ahead, in seconds.
const CLOCKS: [(u32, u32); 4] = [(1000, 1120), (1000, 2000), (2000, 0), (1000, 1000)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_another_time_namespace_frees_no_slot() {
    let Some(unshare) = unshare_time() else { return };
    for (first, second) in CLOCKS {
        let zoho = zoho();
        let setup = Gateway::before(&zoho).route(ROUTE, "requests", 1).route(ROUTE, "window", "1m");
        let gateway = setup.in_time_namespace(unshare, first).start();
        gateway.send(&share()).await.is_zohos(200);
        until_recorded(&gateway).await;
        let setup = gateway.kill_in_time_namespace().await;
        let gateway = setup.in_time_namespace(unshare, second).start();
        let answer = gateway.send(&now_or_never(share())).await;
        let body = answer.problem_of(429, "threshold-saturated", ROUTE);
        // The whole window, minus the time before the kill, plus at most the time that it took to record it.
        assert!(
            body["retry_after"].as_u64().is_some_and(|seconds| (20..=61).contains(&seconds)),
            "{first}, {second}: {body}"
        );
        gateway.kill_in_time_namespace().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_another_time_namespace_ends_no_lock() {
    let Some(unshare) = unshare_time() else { return };
    for (first, second) in CLOCKS {
        let upstream = Upstream::start(|request| match request.line.starts_with("PUT") {
            true => Reply::json(429, "{}"),
            false => Reply::json(200, "{}"),
        })
        .await;
        let setup = Gateway::before_upstream(&upstream).route(ROUTE, "lock", "90s");
        let gateway = setup.in_time_namespace(unshare, first).start();
        gateway.send(&now_or_never(share())).await.problem_of(429, "threshold-locked", ROUTE);
        until_recorded(&gateway).await;
        let setup = gateway.kill_in_time_namespace().await;
        let gateway = setup.in_time_namespace(unshare, second).start();
        gateway.send(&now_or_never(share())).await.problem_of(429, "threshold-locked", ROUTE);
        gateway.kill_in_time_namespace().await;
        let writes = upstream.received().into_iter().filter(|request| request.line.starts_with("PUT"));
        assert_eq!(writes.count(), 1, "{first}, {second}");
    }
}

/// Shows that the tests above would fail: this is the result of a gateway that forgets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_state_the_next_gateway_overspends() {
    let zoho = zoho();
    let setup = thirty_of_thirty(&zoho, Gateway::kill).await;
    fs::remove_dir_all(setup.state("")).expect("the state");
    let gateway = setup.start();
    all((0..30).map(|_| now_or_never(share()).sending(gateway.address()))).await;
    let tally = zoho.tally(API).await;
    assert!(tally.most_in_any_window > 30 && tally.locks == 1, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_counts_as_lost_costs_a_window_and_no_lock() {
    let zoho = zoho();
    let setup = thirty_of_thirty(&zoho, Gateway::kill).await.set("state.when_empty", "assume_lost");
    fs::remove_dir_all(setup.state("")).expect("the state");
    let gateway = setup.start();
    nothing_is_left(&gateway, &zoho, 65).await;
}

// === locks ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_outlives_a_kill() {
    let zoho = zoho();
    let gateway = Gateway::before(&zoho).start();
    zoho.lock(API, 300.0).await;
    gateway.send(&now_or_never(share())).await.problem_of(429, "threshold-locked", ROUTE);
    until_recorded(&gateway).await;

    let gateway = gateway.kill().start();
    let body = gateway.send(&now_or_never(share())).await.problem_of(429, "threshold-locked", ROUTE);
    assert!(body["retry_after"].as_u64().is_some_and(|seconds| (200..=300).contains(&seconds)), "{body}");
    assert_eq!(zoho.tally(API).await.arrivals, 1, "no call was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lock_that_outlived_a_kill_one_call_goes_alone() {
    let gate = Arc::new(Notify::new());
    let (closed, shares) = (Arc::clone(&gate), AtomicUsize::new(0));
    let upstream = Upstream::start(move |request| match request.line.starts_with("PUT") {
        true => match shares.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::json(429, "{}"),
            1 => Reply::json(200, "{}").behind(&closed),
            _ => Reply::json(200, "{}"),
        },
        false => Reply::json(200, "{}"),
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).route(ROUTE, "lock", "1s").start();
    gateway.send(&now_or_never(share())).await.problem_of(429, "threshold-locked", ROUTE);
    until_recorded(&gateway).await;

    let setup = gateway.kill();
    // The lock ends while no gateway runs.
    tokio::time::sleep(ms(1100)).await;
    let gateway = setup.start();
    let calls: Vec<_> = (0..5).map(|_| tokio::spawn(share().sending(gateway.address()))).collect();
    upstream.until_received(3).await;
    gateway.until_waiting(4).await;
    assert_eq!(upstream.received().len(), 3, "the first gateway's two, and the one that goes alone");
    gate.notify_one();
    for call in calls {
        call.await.expect("no panic").is_zohos(200);
    }
}

// === faults of the store ===

/// Runs a gateway that is expected not to start, and returns what the operator reads.
#[track_caller]
fn fails_to_start(setup: &Setup) -> String {
    let config = setup.write();
    let ended = Process::run(&[Path::new("run"), Path::new("--config"), &config], &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    ended.stderr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_at_a_time_uses_a_folder() {
    let zoho = zoho();
    let first = Gateway::before(&zoho).start();
    let folder = first.setup().state("").display().to_string();
    let folder = folder.trim_end_matches('/');
    let second = Gateway::before(&zoho).set("state.dir", folder);
    let message = fails_to_start(&second);
    assert!(message.contains(&format!("{folder} is in use by process {} ", first.process().id())), "{message}");
    assert!(
        message.contains("Only a gateway for another login") && !message.contains("another state.dir"),
        "{message}"
    );
    first.send(&get(COURSE)).await.is_zohos(200);
    // The first gateway keeps the folder.
    let _first = first.stop();

    let second = second.start();
    let answer = second.send(&get(COURSE)).await;
    answer.is_zohos(200);
    assert!(
        answer.header("ratelimit").is_some_and(|limit| limit.contains(";r=28;")),
        "it knows of the first's: {answer:?}"
    );
}

#[test]
fn a_folder_that_cannot_be_used_is_reported() {
    let unreachable = "http://127.0.0.1:1";
    let setup = Setup::before_all(unreachable, unreachable, unreachable).set("state.dir", "./a-file");
    let path = setup.path("a-file");
    fs::write(&path, "no folder").expect("written");
    let message = fails_to_start(&setup);
    assert!(message.contains(&path.display().to_string()) || message.contains("a-file"), "{message}");
    assert!(message.contains("set state.dir to a folder that the gateway may write"), "{message}");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "no folder");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_costs_a_window_and_forgets_no_lock() {
    let zoho = zoho();
    let gateway = Gateway::before(&zoho).route(GET, "window", "500ms").start();
    zoho.lock(API, 300.0).await;
    gateway.send(&now_or_never(share())).await.problem_of(429, "threshold-locked", ROUTE);
    until_recorded(&gateway).await;
    let setup = gateway.stop();
    damage(&setup.state("ledger.redb"));

    let began = clock::now();
    let gateway = setup.start();
    let line = gateway.process().logged(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        line["message"].as_str()?.contains("the state store is lost").then_some(line)
    });
    assert_eq!(line["level"], "ERROR", "{line}");
    let aside = line["set_aside"].as_str().unwrap_or_else(|| panic!("{line}"));
    assert!(aside.contains("ledger.redb.damaged-") && Path::new(aside).exists(), "{line}");

    let body = gateway
        .send(&now_or_never(delete(COURSE).form("sharedUserErecno=588882000000212025")))
        .await
        .problem_of(429, "threshold-saturated", DELETE);
    assert!(body["retry_after"].as_u64().is_some_and(|seconds| (5..=65).contains(&seconds)), "{body}");
    let body = gateway.send(&now_or_never(share())).await.problem_of(429, "threshold-locked", ROUTE);
    assert!(body["retry_after"].as_u64().is_some_and(|seconds| (200..=300).contains(&seconds)), "{body}");
    gateway.send(&get(COURSE).header("prefer", "wait=25")).await.is_zohos(200);
    assert!(clock::now() - began >= ms(5500), "a window and the grace of calls without an answer");
    assert_eq!(zoho.requests().await.len(), 3, "nothing else was sent");
}

/// Writes over the middle of a file.
fn damage(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("the database");
    let length = file.metadata().expect("its length").len();
    let rubbish = vec![0xA5; usize::try_from(length / 2).expect("a small file")];
    file.write_all_at(&rubbish, length / 4).expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_nothing_is_sent_until_there_is_space() {
    let zoho = zoho();
    let gateway = Gateway::before(&zoho).ignoring_the_file_size_signal().start();
    gateway.send(&get(COURSE)).await.is_zohos(200);

    prlimit(gateway.process().id(), "--fsize=0:");
    for call in [get(COURSE), now_or_never(get(COURSE)), share()] {
        gateway.send(&call).await.problem(503, "state-unavailable");
    }
    let ready = gateway.admin("/readyz").await;
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("not ready")));
    let state = ready.json()["checks"]["state"].to_string();
    assert!(state.contains("state-unavailable") && state.contains("ledger.redb"), "{state}");
    assert!(gateway.has_metric("zoho_gateway_state_available 0").await);
    // Long enough for the gateway to try again, in vain.
    for _ in 0..30 {
        tokio::time::sleep(ms(50)).await;
        gateway.send(&get(COURSE)).await.problem(503, "state-unavailable");
    }
    assert_eq!(zoho.requests().await.len(), 1, "nothing was sent");
    let failures = |line: &String| line.contains("\"ERROR\"") || line.contains("\"WARN\"");
    let log: Vec<_> = gateway.process().log().into_iter().filter(failures).collect();
    assert_eq!(log.len(), 1, "logged once: {log:#?}");

    prlimit(gateway.process().id(), "--fsize=unlimited:");
    gateway.until_ready().await;
    assert!(gateway.has_metric("zoho_gateway_state_available 1").await);
    let left = async |gateway: &Gateway| gateway.send(&get(COURSE)).await.header("ratelimit").map(str::to_owned);
    assert!(left(&gateway).await.is_some_and(|limit| limit.contains(";r=28;")), "no more and no less than it sent");
    let gateway = gateway.kill().start();
    assert!(left(&gateway).await.is_some_and(|limit| limit.contains(";r=27;")), "and so says the disk");
    assert_eq!(zoho.tally(GET_API).await.arrivals, 3);
}
