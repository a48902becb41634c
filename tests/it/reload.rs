//! The configuration changes while the gateway runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use zoho_gateway::os::clock;

use crate::support::{
    COURSE, Call, Connection, Gateway, HASH_OF_ONE, Judge, Process, Rule, SHARE, Setup, call, get, ms, put, until,
};

const ROUTE: &str = "people.lms.share-course";
const READ: &str = "people.lms.get-shared-users";

fn with_rule(setup: &Setup, requests: usize, window: &str) -> Setup {
    setup.clone().route(ROUTE, "requests", requests as u64).route(ROUTE, "window", window)
}

async fn reload(gateway: &Gateway, setup: &Setup) -> Value {
    setup.write();
    let answer = call("POST", "/reload").send(gateway.admin_address()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// A caller that sends a call every `pause`, on one connection, until the end. Each has to succeed.
async fn calls(call: Call, address: String, pause: Duration, over: Arc<AtomicBool>, served: Arc<AtomicUsize>) {
    let mut connection = Connection::open(&address).await;
    while !over.load(Ordering::Relaxed) {
        let answer = connection.send(&call).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        served.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_call_fails_and_no_threshold_is_exceeded() {
    let judge = Judge::start().await;
    let setup = Gateway::before_upstream(&judge.upstream).route(READ, "throttle", "off").set("queue.max_wait", "30s");
    let setup = with_rule(&setup, 20, "1s");
    let gateway = setup.start();
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = Vec::new();
    // 500 calls a second, and callers that always wait for a slot.
    for (call, count, pause) in [(get(COURSE), 30, ms(50)), (put(COURSE).form(SHARE), 20, ms(1))] {
        for _ in 0..count {
            let (address, over, served) = (gateway.address().to_owned(), Arc::clone(&over), Arc::clone(&served));
            callers.push(tokio::spawn(calls(call.clone(), address, pause, over, served)));
        }
    }
    let began = clock::now().into_std();
    let mut rules = vec![Rule { requests: 20, window: ms(1000), from: began }];
    for (requests, window, length) in
        [(5, 1000, 1500), (30, 1000, 1200), (30, 2500, 1500), (10, 2500, 2600), (20, 1000, 1200)]
    {
        tokio::time::sleep(ms(1200)).await;
        let report = reload(&gateway, &with_rule(&setup, requests, &format!("{window}ms"))).await;
        assert_eq!(report["outcome"], "applied");
        rules.push(Rule { requests, window: ms(window), from: clock::now().into_std() });
        tokio::time::sleep(ms(length)).await;
    }
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no call fails");
    }
    println!("{} calls in {:?}", served.load(Ordering::Relaxed), began.elapsed());
    judge.check(&rules);
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_calls_are_served_under_the_new_threshold() {
    let judge = Judge::start().await;
    let setup = Gateway::before_upstream(&judge.upstream);
    let gateway = with_rule(&setup, 1, "60s").start();
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
    let waiting = tokio::spawn(put(COURSE).form(SHARE).header("prefer", "wait=70").sending(gateway.address()));
    gateway.until_waiting(1).await;
    let report = reload(&gateway, &with_rule(&setup, 2, "60s")).await;
    assert_eq!(report["changed"], json!([format!("routes.\"{ROUTE}\".requests")]));
    waiting.await.expect("no panic").is_zohos(200);
    // A call that can no longer be served in time is told at once.
    let waiting = tokio::spawn(put(COURSE).form(SHARE).header("prefer", "wait=70").sending(gateway.address()));
    gateway.until_waiting(1).await;
    reload(&gateway, &with_rule(&setup, 1, "90s")).await;
    assert_eq!(waiting.await.expect("no panic").status, 429);
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_changes_nothing_and_says_why() {
    let judge = Judge::start().await;
    let setup = Gateway::before_upstream(&judge.upstream);
    let gateway = setup.start();
    let run = |setup: &Setup| {
        let config = setup.write();
        Process::run(&["reload", "--config", config.to_str().unwrap(), "--admin", &gateway.admin_url()], &[])
    };
    let ended = run(&setup.clone().set("queue.max_wait", "soon").set("proxy.hopes", 1));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for words in ["gateway.toml:", "queue.max_wait", "proxy.hopes", "2 problems"] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    let status = gateway.admin("/status").await.json();
    assert_eq!(status["reload"]["outcome"], "refused");
    gateway.send(&get(COURSE)).await.is_zohos(200);
    // Some keys need a restart; the others are applied.
    let newer = setup.clone().set("proxy.max_connections", 7).set("callers.one.key_sha256", HASH_OF_ONE);
    let newer = newer.set("callers.one.accounts", json!(["main"])).set("callers.one.allow", json!(["*"]));
    let ended = run(&newer);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("callers.one.key_sha256"), "{ended:?}");
    assert!(ended.stdout.contains("until a restart: proxy.max_connections"), "{ended:?}");
    let status = gateway.admin("/status").await.json();
    assert_eq!(status["reload"]["needs_restart"], json!(["proxy.max_connections"]));
    assert_eq!(gateway.send(&get(COURSE)).await.status, 401);
    gateway.send(&get(COURSE).header("authorization", "Bearer one")).await.is_zohos(200);
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_and_a_change_of_the_file_reload_too() {
    let judge = Judge::start().await;
    let setup = Gateway::before_upstream(&judge.upstream);
    let gateway = setup.start();
    let trigger = async || gateway.admin("/status").await.json()["reload"]["trigger"].clone();
    gateway.process().signal("HUP");
    until("the signal reloads", async || trigger().await == "signal").await;
    setup.set("queue.max_wait", "7s").write();
    until("the file reloads", async || trigger().await == "file").await;
    assert_eq!(judge.upstream.token_calls(), 0);
    gateway.stop();
}
