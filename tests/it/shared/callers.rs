//! `reserve` and `max_share` hold over all gateways together.

use serde_json::json;

use super::{ROUTE, sandbox, share, share_now, shared, was_kept};
use crate::support::{Call, Gateway, HASH_OF_ONE, HASH_OF_THREE, RedisServer, Setup, all};

fn one(call: Call) -> Call {
    call.header("authorization", "Bearer one")
}

fn three(call: Call) -> Call {
    call.header("authorization", "Bearer three")
}

/// The first has three of the nine slots of a minute for itself, and the second may use four.
fn with_callers(setup: Setup) -> Setup {
    // Without a spread, which could hold back the calls beyond the reserve.
    let setup = setup.route(ROUTE, "window", "60s").route(ROUTE, "pace", "burst");
    let setup = setup.set("callers.one.key_sha256", HASH_OF_ONE);
    let setup = setup.set("callers.one.accounts", json!(["main"])).set("callers.one.allow", json!(["people.lms.*"]));
    let setup = setup.set("callers.three.key_sha256", HASH_OF_THREE).set("callers.three.accounts", json!(["main"]));
    setup
        .set("callers.three.allow", json!(["people.lms.*"]))
        .set("callers.one.reserve", 3)
        .set("callers.three.max_share", 4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_keep_one_reserve_and_one_share() {
    let (zoho, redis) = (sandbox(), RedisServer::start(&[]));
    let gateways: Vec<Gateway> = (0..2).map(|_| with_callers(shared(&zoho, &redis)).start()).collect();
    // Both gateways are members.
    for gateway in &gateways {
        gateway.send(&three(share())).await.is_zohos(200);
    }
    let answers = all((0..6).map(|call| three(share_now()).sending(gateways[call % 2].address()))).await;
    let accepted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(accepted, 2, "its share is four: {answers:?}");
    // Six slots are not in the reserve, and four of them are used.
    for gateway in [0, 1, 1, 0, 1] {
        gateways[gateway].send(&one(share_now())).await.is_zohos(200);
    }
    for gateway in &gateways {
        gateway.send(&one(share_now())).await.problem_of(429, "threshold-saturated", ROUTE);
        gateway.send(&three(share_now())).await.problem_of(429, "threshold-saturated", ROUTE);
    }
    was_kept(&zoho).await;
}
