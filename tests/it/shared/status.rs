//! What operators see of a shared ledger, on `/status` and by the command `status`.

use serde_json::Value;

use super::{API, REQUESTS, ROUTE, Setup, sandbox, share, shared, until_idle};
use crate::support::{Gateway, Process, RedisServer, faults_of_status, ms, until};

/// The time after which a silent gateway is gone, and after which its slots are free.
const GONE_AFTER: f64 = 12.12;
const SETTLED_AFTER: f64 = GONE_AFTER + 1.01;

/// The shared ledger of the only account.
async fn ledger(gateway: &Gateway) -> Value {
    let page = gateway.admin("/status").await.json();
    assert_eq!(faults_of_status(&page), [""; 0], "{page}");
    page["shared"][0].clone()
}

/// The entry of a list with this value.
fn find<'a>(list: &'a Value, field: &str, value: &str) -> &'a Value {
    list.as_array().into_iter().flatten().find(|one| one[field] == value).unwrap_or(&Value::Null)
}

/// Its name for operators ends like this.
fn is_process(member: &Value, gateway: &Gateway) -> bool {
    let end = format!("(process {})", gateway.process().id());
    member["gateway"].as_str().is_some_and(|name| name.ends_with(&end) && name.len() > end.len() + 1)
}

/// The member of this gateway as `observer` sees it.
async fn member_of(gateway: &Gateway, observer: &Gateway) -> Value {
    let ledger = ledger(observer).await;
    let mut members = ledger["record"]["members"].as_array().into_iter().flatten();
    members.find(|member| is_process(member, gateway)).cloned().unwrap_or_default()
}

/// Resolves when the member of this gateway has this state, and returns the member.
async fn until_state(gateway: &Gateway, observer: &Gateway, state: &str) -> Value {
    let mut member = Value::Null;
    until(format!("a member is {state}"), async || {
        member = member_of(gateway, observer).await;
        member["state"] == state
    })
    .await;
    member
}

/// What the command prints.
async fn printed(gateway: &Gateway) -> String {
    let arguments = ["status".to_owned(), "--admin".to_owned(), gateway.admin_url()];
    tokio::task::spawn_blocking(move || Process::run(&arguments, &[])).await.expect("no panic").succeeded()
}

/// A span that began a moment ago.
fn about(value: &Value, seconds: f64) -> bool {
    value.as_f64().is_some_and(|value| value > seconds - 5.0 && value <= seconds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_gateway_with_its_slots_and_its_end() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let mut gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &redis).start()).collect();
    for gateway in &gateways {
        gateway.send(&share()).await.is_zohos(200);
    }
    until_idle(&gateways, REQUESTS).await;
    let mut held = 0;
    for gateway in &gateways {
        let member = until_state(gateway, &gateways[0], "live").await;
        assert_eq!(member["this"], is_process(&member, &gateways[0]), "{member}");
        assert!(member["silent_seconds"].as_f64().is_some_and(|silent| silent < 3.0), "{member}");
        held += find(&member["holds"], "limit", ROUTE)["held"].as_u64().unwrap_or_default();
    }
    assert_eq!(held, REQUESTS);
    let own = ledger(&gateways[1]).await["own"].clone();
    assert!(is_process(&own, &gateways[1]) && !own["epoch"].is_null(), "{own}");

    let mut killed = gateways.pop().expect("three");
    let slots = find(&member_of(&killed, &gateways[0]).await["holds"], "limit", ROUTE)["held"].clone();
    killed.kill_now();
    let silent = until_state(&killed, &gateways[0], "silent").await;
    assert!(about(&silent["gone_in_seconds"], GONE_AFTER), "{silent}");
    let waits = find(&silent["holds"], "limit", ROUTE);
    assert!(waits["held"] == slots && about(&waits["free_in_seconds"], SETTLED_AFTER), "{silent}");
    let text = printed(&gateways[0]).await;
    let name = silent["gateway"].as_str().expect("a name");
    assert!(text.contains(&format!("{name}: silent for")) && text.contains("It counts as gone at"), "{text}");
    assert!(text.contains(&format!("{ROUTE}: {slots} slots, free at")), "{text}");

    let stopped = gateways.pop().expect("three");
    stopped.terminate();
    let left = until_state(&stopped, &gateways[0], "left").await;
    assert!(printed(&gateways[0]).await.contains("stopped"), "{left}");

    let gone = until_state(&killed, &gateways[0], "gone").await;
    let waits = find(&gone["holds"], "limit", ROUTE)["free_in_seconds"].as_f64();
    assert!(waits.is_none_or(|free| free <= SETTLED_AFTER - GONE_AFTER), "{gone}");
    until("its slots are free", async || {
        find(&member_of(&killed, &gateways[0]).await["holds"], "limit", ROUTE).is_null()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shut_slots_and_the_calls_that_wait_for_them() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let setup = || -> Setup { shared(&zoho, &redis).without("state.when_empty") };
    let gateways: Vec<_> = (0..2).map(|_| setup().start()).collect();
    let call = tokio::spawn(share().sending(gateways[0].address()));
    until("the record says who waits", async || {
        let waiting = member_of(&gateways[0], &gateways[1]).await["waiting"].clone();
        find(&waiting, "route", ROUTE)["calls"] == 1
    })
    .await;
    let ledger = ledger(&gateways[1]).await;
    let shut = find(&ledger["record"]["shut"], "limit", ROUTE);
    assert!(shut["slots"] == REQUESTS && about(&shut["for_seconds"], SETTLED_AFTER), "{ledger}");
    // Until the other members have had time for their claims, the call may go sooner.
    until("it knows when the call goes", async || {
        let status = gateways[0].admin("/status").await.json();
        let bucket = find(&status["buckets"], "route", ROUTE);
        assert!(bucket["callers"][0]["waiting"] == 1 && bucket["next_call"]["waits_for"] == "slot", "{bucket}");
        about(&bucket["next_call"]["in_seconds"], SETTLED_AFTER)
    })
    .await;
    let text = printed(&gateways[0]).await;
    assert!(text.contains(&format!("{ROUTE}: 9 slots until")) && text.contains("1 call waits"), "{text}");
    call.await.expect("no panic").is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_and_who_sends_the_first_call_after_it() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways: Vec<_> = (0..2).map(|_| shared(&zoho, &redis).route(ROUTE, "lock", "4s").start()).collect();
    for gateway in &gateways {
        gateway.send(&share()).await.is_zohos(200);
    }
    zoho.lock(API, 4.0).await;
    let first = tokio::spawn(share().sending(gateways[0].address()));
    until("the record has the lock", async || {
        let ledger = ledger(&gateways[1]).await;
        let lock = find(&ledger["record"]["locks"], "route", ROUTE);
        lock["reason"] == "zoho" && about(&lock["for_seconds"], 4.5)
    })
    .await;
    let text = printed(&gateways[1]).await;
    assert!(text.contains(&format!("{ROUTE}: locked by Zoho until")), "{text}");
    first.await.expect("no panic").is_zohos(200);
    until("the lock is over", async || ledger(&gateways[1]).await["record"]["locks"] == serde_json::json!([])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_gateway_knows_while_redis_is_frozen() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateway = shared(&zoho, &redis).start();
    gateway.send(&share()).await.is_zohos(200);
    until("it has all slots", async || {
        find(&ledger(&gateway).await["own"]["holds"], "limit", ROUTE)["held"] == REQUESTS
    })
    .await;
    redis.freeze();
    until("its lease has ended", async || gateway.admin("/readyz").await.status == 503).await;
    for _ in 0..3 {
        let ledger = tokio::time::timeout(ms(1000), ledger(&gateway)).await.expect("an answer within a second");
        assert!(ledger["record"].is_null() && ledger["record_missing"] == "Redis has not answered yet", "{ledger}");
        assert_eq!(find(&ledger["own"]["holds"], "limit", ROUTE)["held"], REQUESTS, "{ledger}");
    }
    let text = printed(&gateway).await;
    assert!(text.contains("Redis has not answered yet") && text.contains("it sends nothing without Redis"), "{text}");
    redis.thaw();
    until("it reads the record again", async || ledger(&gateway).await["record"].is_object()).await;
}
