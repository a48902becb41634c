//! A gateway ends, or stops to run: the others go on, and get its slots when it can no longer use them.

use super::{Load, REQUESTS, all_succeed, sandbox, share, shared, until_accepted, until_idle, was_kept};
use crate::support::{RedisServer, all, ms};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_get_the_slots_of_a_killed_gateway_later() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let mut gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &redis).start()).collect();
    let mut loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    let mut killed = gateways.pop().expect("three");
    killed.kill_now();
    // At once, with what they have.
    until_accepted(&zoho, REQUESTS).await;
    loads.pop().expect("three").end().await;
    all_succeed(loads).await;
    until_idle(&gateways, REQUESTS).await;
    let calls = (0..2 * REQUESTS).map(|call| share().sending(gateways[call as usize % 2].address()));
    for answer in all(calls).await {
        answer.is_zohos(200);
    }
    was_kept(&zoho).await;
}

/// A gateway that is gone without a word would keep its slots for longer than this test waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_get_the_slots_of_a_stopped_gateway_soon() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let setup = || shared(&zoho, &redis).set("upstream.timeout", "60s");
    let mut gateways: Vec<_> = (0..3).map(|_| setup().start()).collect();
    let mut loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    let stopped = gateways.pop().expect("three");
    tokio::task::spawn_blocking(|| stopped.stop()).await.expect("it ends well");
    until_accepted(&zoho, 2 * REQUESTS).await;
    loads.pop().expect("three").end().await;
    all_succeed(loads).await;
    until_idle(&gateways, REQUESTS).await;
    was_kept(&zoho).await;
}

/// The next process on its folder knows that it is dead. Otherwise its slots would wait for longer than this test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slots_of_a_killed_gateway_are_free_soon_after_its_restart() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let setup = || shared(&zoho, &redis).set("upstream.timeout", "60s");
    let mut gateways: Vec<_> = (0..3).map(|_| setup().start()).collect();
    for _ in 0..3 {
        let mut loads = Load::on_each(&gateways, 6);
        until_accepted(&zoho, 2 * REQUESTS).await;
        let killed = gateways.pop().expect("three").kill();
        loads.pop().expect("three").end().await;
        gateways.push(killed.start());
        until_accepted(&zoho, REQUESTS).await;
        all_succeed(loads).await;
        gateways[2].send(&share()).await.is_zohos(200);
        until_idle(&gateways, REQUESTS).await;
    }
    was_kept(&zoho).await;
}

/// When it woke, it would send what it was about to send, although the others have its slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_frozen_for_long_never_runs_again() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let mut gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &redis).start()).collect();
    let mut loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    let mut frozen = gateways.pop().expect("three");
    frozen.process().signal("STOP");
    assert_eq!(frozen.wait(), None, "it is killed by a signal");
    frozen.kill_now();
    until_accepted(&zoho, REQUESTS).await;
    loads.pop().expect("three").end().await;
    all_succeed(loads).await;
    until_idle(&gateways, REQUESTS).await;
    was_kept(&zoho).await;
}

/// It loses its lease, but keeps its slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_frozen_for_a_moment_goes_on() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways: Vec<_> = (0..3).map(|_| shared(&zoho, &redis).start()).collect();
    let mut loads = Load::on_each(&gateways, 6);
    until_accepted(&zoho, 2 * REQUESTS).await;
    for _ in 0..2 {
        gateways[2].process().signal("STOP");
        tokio::time::sleep(ms(2500)).await;
        gateways[2].process().signal("CONT");
        until_accepted(&zoho, 2 * REQUESTS).await;
    }
    let of_frozen = loads.pop().expect("three").end().await;
    for answer in of_frozen {
        let answer = answer.expect("an answer");
        // The time of a call in flight may be over when it wakes.
        assert!([200, 504].contains(&answer.status), "{answer:?}");
    }
    all_succeed(loads).await;
    gateways[2].send(&share()).await.is_zohos(200);
    was_kept(&zoho).await;
}
