//! A write through one gateway makes what the others have cached stale.

use super::{REQUESTS, WINDOW, sandbox, share, shared};
use crate::support::{Answer, COURSE, Gateway, RedisServer, Sandbox, Setup, get, until};

const READ: &str = "people.lms.get-shared-users";

fn caching(zoho: &Sandbox, redis: &RedisServer) -> Setup {
    shared(zoho, redis).route(READ, "cache", "10m").route(READ, "requests", REQUESTS).route(READ, "window", WINDOW)
}

async fn read(gateway: &Gateway) -> Answer {
    let answer = gateway.send(&get(COURSE).header("prefer", "wait=20")).await;
    answer.is_zohos(200);
    answer
}

fn is_hit(answer: &Answer) -> bool {
    answer.header("cache-status").is_some_and(|status| status.contains("; hit"))
}

/// Both gateways have cached the same read.
async fn two_caches(setup: impl Fn() -> Setup) -> [Gateway; 2] {
    let gateways = [setup().start(), setup().start()];
    for gateway in &gateways {
        until("the answer is cached", async || is_hit(&read(gateway).await)).await;
    }
    gateways
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_through_another_gateway_is_visible() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let [one, other] = two_caches(|| caching(&zoho, &redis)).await;
    for _ in 0..5 {
        one.send(&share()).await.is_zohos(200);
        // The message is on its way before the write has its answer, so a read finds it at once, or a moment later.
        until("the other one asks Zoho", async || !is_hit(&read(&other).await)).await;
        assert!(is_hit(&read(&other).await), "once");
        assert!(!is_hit(&read(&one).await), "its own cache is stale too");
        assert!(is_hit(&read(&one).await), "its own message does not come back");
    }
}

/// While a gateway does not hear the others, it may miss a write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_heard_nothing_for_a_while_asks_again() {
    let (zoho, mut redis) = (sandbox(), RedisServer::start(&[]));
    let gateways = two_caches(|| caching(&zoho, &redis)).await;
    tokio::task::block_in_place(|| {
        redis.kill();
        redis.restart();
    });
    for gateway in &gateways {
        until("it asks Zoho", async || !is_hit(&read(gateway).await)).await;
    }
}

/// The answer to a write does not wait for long, and the message is sent when the server is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_while_redis_stands_still_is_told_later() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let [one, other] = two_caches(|| caching(&zoho, &redis).set("state.lease", "8s")).await;
    one.send(&share()).await.is_zohos(200);
    until("the other one asks Zoho", async || !is_hit(&read(&other).await)).await;
    until("it holds slots", async || super::idle(&one).await > 0).await;
    redis.freeze();
    one.send(&share()).await.is_zohos(200);
    assert!(is_hit(&read(&other).await), "nobody has told it");
    redis.thaw();
    until("the other one asks Zoho", async || !is_hit(&read(&other).await)).await;
}
