//! Several Zoho accounts in one gateway: each with its own token, its own slots and its own health.

use std::fs;

use crate::support::{COURSE, Gateway, Sandbox, Setup, get, until};

const ROUTE: &str = "people.lms.get-shared-users";

/// Adds a second account with this refresh token.
pub(crate) fn with_second(zoho: &Sandbox, refresh_token: &str) -> Setup {
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
    let unwaiting = get(COURSE).header("prefer", "wait=0");
    let second = unwaiting.clone().header("gateway-account", "second");
    gateway.send(&unwaiting).await.is_zohos(200);
    gateway.send(&second).await.is_zohos(200);
    assert_eq!(gateway.send(&unwaiting).await.problem(429, "threshold-saturated")["account"], "main");
    assert_eq!(gateway.send(&second).await.problem(429, "threshold-saturated")["account"], "second");
    let [main, second] = &zoho.requests().await[..] else { panic!("two requests") };
    assert_ne!(main.header("authorization"), second.header("authorization"));
    assert_eq!(zoho.token_calls().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_account_does_not_affect_the_others() {
    let zoho = Sandbox::boundless();
    let gateway = with_second(&zoho, "1000.nobody.granted-this").start();
    let body =
        gateway.send(&get(COURSE).header("gateway-account", "second")).await.problem(503, "account-unauthorised");
    assert_eq!(body["account"], "second", "{body}");
    gateway.send(&get(COURSE)).await.is_zohos(200);
    let ready = gateway.admin("/readyz").await;
    let check = ready.json()["checks"]["account second"].to_string();
    assert!(ready.status == 200 && check.contains("invalid_code"), "{ready:?}");
}

/// Files may come to contain one login while the gateway runs. Swapped files do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_the_login_of_another_account_is_ignored() {
    let zoho = Sandbox::boundless();
    let setup = with_second(&zoho, "").without("accounts.second.refresh_token").without("accounts.main.refresh_token");
    let setup =
        setup.set("accounts.main.refresh_token.file", "./one").set("accounts.second.refresh_token.file", "./two");
    let (one, two) = ("1000.sandbox.login-one", "1000.sandbox.login-two");
    fs::write(setup.path("one"), one).expect("written");
    fs::write(setup.path("two"), two).expect("written");
    let gateway = setup.route(ROUTE, "throttle", "off").start();
    let second = get(COURSE).header("gateway-account", "second");
    gateway.send(&get(COURSE)).await.is_zohos(200);
    gateway.send(&second).await.is_zohos(200);

    fs::write(gateway.setup().path("two"), one).expect("written");
    let warned = |line: &str| line.contains("a credential's file cannot be used").then(|| line.to_owned());
    let line = gateway.process().logged(warned);
    for part in ["\"account\":\"second\"", "accounts.main", "/two"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!line.contains("login-one") && !line.contains("login-two"), "{line}");
    assert_eq!(zoho.token_calls().await, 2, "no token was fetched with it");
    gateway.send(&second).await.is_zohos(200);

    fs::write(gateway.setup().path("one"), two).expect("written");
    until("both logins are used anew", async || zoho.token_calls().await == 4).await;
    gateway.send(&second).await.is_zohos(200);
    gateway.send(&get(COURSE)).await.is_zohos(200);
}
