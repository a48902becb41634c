//! Several Zoho logins behind one gateway: each with its own token, its own counts and its own standing.

use crate::support::{COURSE, Gateway, Sandbox, Setup, get};

const ROUTE: &str = "people.lms.get-shared-users";

/// With a second account, whose refresh token is this.
fn with_second(zoho: &Sandbox, refresh_token: &str) -> Setup {
    let url = zoho.url();
    Gateway::before(zoho)
        .set("accounts.second.client_id", "1000.SANDBOX")
        .set("accounts.second.client_secret", "sandbox-client-secret")
        .set("accounts.second.refresh_token", refresh_token)
        .set("accounts.second.endpoints.accounts", url.as_str())
        .set("accounts.second.endpoints.people", url.as_str())
        .set("accounts.second.endpoints.calendar", url.as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_account_has_its_own_token_and_threshold() {
    let zoho = Sandbox::boundless();
    let gateway = with_second(&zoho, "1000.sandbox.second-login").route(ROUTE, "requests", 1).start();
    let hasty = get(COURSE).header("prefer", "wait=0");
    let second = hasty.clone().header("gateway-account", "second");
    gateway.send(&hasty).await.is_zohos(200);
    gateway.send(&second).await.is_zohos(200);
    assert_eq!(gateway.send(&hasty).await.problem(429, "threshold-saturated")["account"], "main");
    assert_eq!(gateway.send(&second).await.problem(429, "threshold-saturated")["account"], "second");
    let [main, second] = &zoho.requests().await[..] else { panic!("two requests") };
    assert_ne!(main.header("authorization"), second.header("authorization"));
    assert_eq!(zoho.token_calls().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_account_does_not_take_the_living_ones_callers_away() {
    let zoho = Sandbox::boundless();
    let gateway = with_second(&zoho, "1000.nobody.granted-this").start();
    let body =
        gateway.send(&get(COURSE).header("gateway-account", "second")).await.problem(503, "account-unauthorised");
    assert_eq!(body["account"], "second", "{body}");
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let ready = gateway.admin("/readyz").await;
    let standing = ready.json()["checks"]["account second"].to_string();
    assert!(ready.status == 200 && standing.contains("invalid_code"), "{ready:?}");
}
