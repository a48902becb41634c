//! One access token for all gateways: one request brings it, renews it and replaces it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{ROUTE, WINDOW, sandbox, share, share_now, shared, sharing};
use crate::support::{Gateway, REFRESH_TOKEN, RedisServer, Reply, Sandbox, Setup, Upstream, all, ms, until};

const GRANT: &str = r#"{"access_token":"1000.fake.token","token_type":"Bearer","expires_in":3600}"#;

/// Gateways that start at once.
fn many(number: usize, setup: impl Fn() -> Setup) -> Vec<Gateway> {
    (0..number).map(|_| setup().start()).collect()
}

/// Each of them serves a call that was sent at the same moment.
async fn all_serve(gateways: &[Gateway]) {
    for answer in all(gateways.iter().map(|gateway| share().sending(gateway.address()))).await {
        answer.is_zohos(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_of_twenty_gateways_costs_one_token_request() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways = many(20, || shared(&zoho, &redis));
    all_serve(&gateways).await;
    assert_eq!(zoho.token_calls().await, 1);
    // The server never sees a token.
    for key in redis.command(&["KEYS", "*"]).lines() {
        let value = redis.command(&["--no-raw", "GET", key]);
        assert!(!value.contains("1000.") && !key.contains(REFRESH_TOKEN), "{key}: {value}");
    }
}

/// A first start without `when_empty = "fresh"` leaves one token request, and that is enough for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_after_a_loss_share_the_one_request_that_is_left() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways = many(3, || shared(&zoho, &redis).set("state.when_empty", "assume_lost"));
    let patient = share().header("prefer", "wait=60");
    for answer in all(gateways.iter().map(|gateway| patient.sending(gateway.address()))).await {
        answer.is_zohos(200);
    }
    assert_eq!(zoho.token_calls().await, 1);
    until("no further token request goes alone", async || {
        let status = gateways[0].admin("/status").await.json();
        let locks = status["shared"][0]["record"]["locks"].as_array().cloned();
        locks.is_some_and(|locks| locks.iter().all(|lock| lock["route"] != "token-requests"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_token_is_replaced_once_for_all() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways = many(3, || shared(&zoho, &redis));
    all_serve(&gateways).await;
    for replaced in 1..=3 {
        zoho.pull("revoke-access-tokens").await;
        all_serve(&gateways).await;
        assert_eq!(zoho.token_calls().await, 1 + replaced);
    }
}

/// Each token lives for four seconds, and three gateways together fetch no more than one would.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_once_for_all() {
    let redis = RedisServer::start(&[]);
    let zoho = Sandbox::start(&["--requests", "100000", "--token-requests", "99", "--token-life", "4s"]);
    let gateways = many(3, || shared(&zoho, &redis).route(ROUTE, "requests", 100_000));
    let began = zoho_gateway::os::clock::now();
    while zoho.token_calls().await < 4 {
        all_serve(&gateways).await;
        tokio::time::sleep(ms(50)).await;
    }
    // Each serves for more than three seconds.
    assert!(began.elapsed() >= ms(8000), "{:?}", began.elapsed());
}

/// A Zoho that never answers the first token request.
async fn mute_at_first() -> (Upstream, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let zoho = Upstream::bare(move |request| match request.line.starts_with("POST /oauth/v2/token") {
        true if count.fetch_add(1, Ordering::SeqCst) == 0 => Reply::json(200, GRANT).after(ms(600_000)),
        true => Reply::json(200, GRANT),
        false => Reply::json(200, "{}"),
    })
    .await;
    (zoho, asked)
}

/// The other one waits. It takes over when the turn of the dead one and its claim to slots are over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_dies_during_its_request_is_replaced() {
    let ((zoho, asked), redis) = (mute_at_first().await, RedisServer::start(&[]));
    let setup = || sharing(Gateway::before_upstream(&zoho), &redis).set("upstream.timeout", "8s");
    let (one, other) = (setup().start(), setup().start());
    let lost = tokio::spawn(share_now().sending(one.address()));
    until("the first asks", async || asked.load(Ordering::SeqCst) == 1).await;
    other.send(&share_now()).await.problem_of(504, "upstream-timeout", ROUTE);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "while the first one makes its request, the other one waits");
    lost.abort();
    drop(one.kill());
    until("the other has a token", async || other.send(&share_now()).await.status == 200).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_credentials_cost_one_request_of_all() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    zoho.pull("revoke-refresh-tokens").await;
    let gateways = many(3, || shared(&zoho, &redis));
    for _ in 0..3 {
        for gateway in &gateways {
            let body = gateway.send(&share()).await.problem_of(503, "account-unauthorised", ROUTE);
            assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("invalid_code")), "{body}");
        }
    }
    assert_eq!(zoho.token_calls().await, 1);
    // Other credentials are tried, also by a gateway that asks the same record.
    let renewed = shared(&zoho, &redis).set("accounts.main.refresh_token", "1000.sandbox.new-login").start();
    renewed.send(&share()).await.is_zohos(200);
    gateways[0].send(&share_now()).await.problem_of(503, "account-unauthorised", ROUTE);
}

/// The pause after a failure, and its growth, hold for all: otherwise five gateways would use up the requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_accounts_server_costs_as_much_as_with_one_gateway() {
    let redis = RedisServer::start(&[]);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let zoho = Upstream::bare(move |request| match request.line.starts_with("POST /oauth/v2/token") {
        true if count.fetch_add(1, Ordering::SeqCst) < 3 => Reply::json(500, r#"{"error":"Internal Server Error"}"#),
        true => Reply::json(200, GRANT),
        false => Reply::json(200, "{}"),
    })
    .await;
    let gateways = many(5, || sharing(Gateway::before_upstream(&zoho), &redis));
    let call = share_now();
    for gateway in &gateways {
        until("it has a token", async || gateway.send(&call).await.status == 200).await;
    }
    assert_eq!(zoho.token_calls(), 4, "however many calls and gateways there were meanwhile");
}

/// A token that is there serves on while Redis is away, and an emptied Redis costs no token request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_record_costs_nothing_while_tokens_are_valid() {
    let (zoho, mut redis) = (sandbox(), RedisServer::start(&[]));
    let gateways = many(2, || shared(&zoho, &redis).route(ROUTE, "window", WINDOW));
    all_serve(&gateways).await;
    tokio::task::block_in_place(|| {
        redis.kill();
        redis.restart_empty();
    });
    all_serve(&gateways).await;
    assert_eq!(zoho.token_calls().await, 1);
}
