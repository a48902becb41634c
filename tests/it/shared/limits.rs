//! The limits beyond that of a route: of the account's day, and of its token requests.

use super::{ROUTE, accepted, sandbox, share, share_now, shared};
use crate::support::{RedisServer, Sandbox};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_keep_one_daily_limit() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let setup = || shared(&zoho, &redis).set("accounts.main.daily_calls", 5);
    let (one, other) = (setup().start(), setup().start());
    one.send(&share()).await.is_zohos(200);
    // More than the half that the other one left.
    for _ in 0..4 {
        other.send(&share()).await.is_zohos(200);
    }
    for gateway in [&one, &other] {
        let body = gateway.send(&share_now()).await.problem_of(429, "threshold-saturated", ROUTE);
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("daily_calls")), "{body}");
    }
    assert_eq!(accepted(&zoho).await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_gateways_share_the_token_requests() {
    let redis = RedisServer::start(&[]);
    let zoho = Sandbox::start(&["--requests", "9", "--window", "1s", "--token-requests", "4"]);
    let setup = || shared(&zoho, &redis).set("token.requests", 4).set("token.reserve", 0);
    let gateways: Vec<_> = (0..5).map(|_| setup().start()).collect();
    for token_calls in 1..=4 {
        for gateway in &gateways {
            gateway.send(&share()).await.is_zohos(200);
        }
        assert_eq!(zoho.token_calls().await, token_calls);
        zoho.pull("revoke-access-tokens").await;
    }
    for gateway in &gateways {
        gateway.send(&share_now()).await.problem(503, "token-throttled");
    }
    assert_eq!(zoho.token_calls().await, 4);
}

/// A gateway that needs more tokens than its part gets those that others do not need.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_may_use_all_token_requests() {
    let redis = RedisServer::start(&[]);
    let zoho = Sandbox::start(&["--requests", "9", "--window", "1s", "--token-requests", "4"]);
    let setup = || shared(&zoho, &redis).set("token.requests", 4).set("token.reserve", 1);
    let gateways: Vec<_> = (0..2).map(|_| setup().start()).collect();
    for token_calls in 1..=4 {
        gateways[0].send(&share()).await.is_zohos(200);
        assert_eq!(zoho.token_calls().await, token_calls);
        zoho.pull("revoke-access-tokens").await;
    }
    gateways[0].send(&share_now()).await.problem(503, "token-throttled");
    assert_eq!(zoho.token_calls().await, 4);
}
