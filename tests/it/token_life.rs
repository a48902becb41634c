//! An account's token over time: across processes, changed credentials, rejections, and many accounts at once.

use std::{fs, os::unix::fs::symlink, sync::Arc};

use crate::support::{
    CLIENT_SECRET, COURSE, Call, Gateway, REFRESH_TOKEN, Reply, SHARE, Sandbox, Upstream, all, get, ms, put, until,
};

const ROUTE: &str = "people.lms.get-shared-users";
const GRANT: &str = r#"{"access_token":"1000.fake.token","token_type":"Bearer","expires_in":3600}"#;

/// Zoho answers ten token requests in ten minutes; a gateway in a crash loop needs one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_costs_one_token_call() {
    let zoho = Sandbox::boundless();
    let mut setup = Gateway::before(&zoho).route(ROUTE, "requests", 100_000);
    for _ in 0..20 {
        let gateway = setup.start();
        gateway.send(&get(COURSE)).await.is_zohos(200);
        setup = gateway.kill();
    }
    assert_eq!(zoho.token_calls().await, 1);
}

/// A thousand callers, a token that expires every two seconds, and a ledger of ten requests in five seconds. A call
/// with a dead token has to be sent again while the next token is valid, so the machine may be slow, but not that slow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_notices_that_tokens_expire() {
    let zoho =
        Sandbox::start(&["--requests", "100000", "--window", "1s", "--token-life", "2s", "--token-requests", "1000"]);
    let setup = Gateway::before(&zoho).route(ROUTE, "throttle", "off").set("token.window", "5s");
    let gateway = Arc::new(setup.start());
    let caller = |number: u64| {
        let gateway = Arc::clone(&gateway);
        async move {
            let mut connection = gateway.connect().await;
            tokio::time::sleep(ms(number * 4)).await;
            for _ in 0..8 {
                connection.send(&get(COURSE)).await.is_zohos(200);
                tokio::time::sleep(ms(4000)).await;
            }
        }
    };
    all((0..1000).map(caller)).await;
    let calls = zoho.token_calls().await;
    // Thirty seconds, and half as many tokens; the ledger's threshold allows four times as many.
    assert!((10..=70).contains(&calls), "{calls}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_login_costs_one_token_call_and_then_none() {
    let zoho = Sandbox::boundless();
    zoho.pull("revoke-refresh-tokens").await;
    let gateway = Gateway::before(&zoho).start();
    for _ in 0..5 {
        let body = gateway.send(&get(COURSE)).await.problem_of(503, "account-unauthorised", ROUTE);
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("invalid_code")), "{body}");
    }
    assert_eq!((zoho.token_calls().await, zoho.requests().await.len()), (1, 0));
    // A restart does not ask again, and does not forget what is wrong.
    let mut setup = gateway.kill();
    for _ in 0..3 {
        let gateway = setup.start();
        assert_eq!(gateway.admin("/readyz").await.status, 503);
        gateway.send(&get(COURSE)).await.problem_of(503, "account-unauthorised", ROUTE);
        setup = gateway.kill();
    }
    assert_eq!(zoho.token_calls().await, 1);
    // Other credentials are tried.
    let gateway = setup.set("accounts.main.refresh_token", "1000.sandbox.new-login").start();
    gateway.send(&get(COURSE)).await.is_zohos(200);
}

/// As Kubernetes does it: the file is a link through a link to a folder, and that link is replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_refresh_token_takes_effect_without_a_failed_call() {
    let zoho = Sandbox::boundless();
    let rotated = "1000.sandbox.rotated-login";
    let setup = Gateway::before(&zoho).without("accounts.main.refresh_token");
    let setup = setup.set("accounts.main.refresh_token.file", "token").route(ROUTE, "throttle", "off");
    for (folder, token) in [("one", REFRESH_TOKEN), ("two", rotated)] {
        fs::create_dir(setup.path(folder)).expect("a folder");
        fs::write(setup.path(folder).join("token"), format!("{token}\n")).expect("a file");
    }
    symlink("one", setup.path("data")).expect("a link");
    symlink("data/token", setup.path("token")).expect("a link");
    let mut gateway = setup.start();
    gateway.must_not_print(REFRESH_TOKEN);
    gateway.must_not_print(rotated);
    gateway.send(&get(COURSE)).await.is_zohos(200);

    symlink("two", setup.path("data.new")).expect("a link");
    fs::rename(setup.path("data.new"), setup.path("data")).expect("the links are swapped");
    until("the new login is used", async || {
        gateway.send(&get(COURSE)).await.is_zohos(200);
        zoho.token_calls().await >= 2
    })
    .await;
    // The old login is invalid now, and no caller notices.
    let revoke = Call::new("POST", &format!("/oauth/v2/token/revoke?token={REFRESH_TOKEN}"));
    assert_eq!(revoke.send(zoho.address()).await.status, 200);
    for _ in 0..20 {
        gateway.send(&get(COURSE)).await.is_zohos(200);
    }
    assert_eq!(zoho.token_calls().await, 2);
    // A missing file is reported to the operator only.
    fs::remove_file(setup.path("token")).expect("it was there");
    let warned = |line: &str| line.contains("a credential's file cannot be used").then(|| line.to_owned());
    let line = gateway.process().logged(warned);
    assert!(line.contains("WARN") && line.contains("/token") && line.contains("No such file"), "{line}");
    gateway.send(&get(COURSE)).await.is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_scope_is_named() {
    let scope = r#"{"response":{"errors":{"code":7218,"message":"Invalid OAuth Scope"},"status":1}}"#;
    let upstream = Upstream::start(move |_| Reply::json(403, scope)).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let body = gateway.send(&get(COURSE)).await.problem_of(403, "scope-missing", ROUTE);
    let detail = body["detail"].as_str().expect("a detail");
    assert!(detail.contains("7218") && detail.contains("ZOHOPEOPLE.training.READ"), "{detail}");
    let ready = gateway.admin("/readyz").await;
    let check = ready.json()["checks"]["account main"].to_string();
    assert!(ready.status == 200 && check.contains("scope-missing") && check.contains(ROUTE), "{ready:?}");
    let line = gateway.process().logged(|line| line.contains("the login lacks a scope").then(|| line.to_owned()));
    assert!(line.contains(ROUTE), "{line}");
}

/// Two hundred logins, one of them invalid and one whose accounts server never answers: the others do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_accounts_do_not_affect_each_other() {
    let silent = Upstream::bare(|_| Reply::Never).await;
    let refusing = Upstream::bare(|_| Reply::json(200, r#"{"error":"invalid_code"}"#)).await;
    let zoho = Upstream::start(|_| Reply::json(200, "{}")).await;
    let mut setup = Gateway::before_upstream(&zoho);
    for number in 0..200 {
        let accounts = match number {
            0 => silent.url(),
            1 => refusing.url(),
            _ => zoho.url(),
        };
        let key = |key: &str| format!("accounts.a{number}.{key}");
        setup = setup
            .set(&key("client_id"), "1000.SANDBOX")
            .set(&key("client_secret"), CLIENT_SECRET)
            .set(&key("refresh_token"), format!("1000.refresh.{number}"))
            .set(&key("endpoints.accounts"), accounts)
            .set(&key("endpoints.people"), zoho.url());
    }
    let gateway = setup.start();
    let call = |number: usize| put(COURSE).form(SHARE).header("gateway-account", &format!("a{number}"));
    let stuck = tokio::spawn(call(0).sending(gateway.address()));
    gateway.send(&call(1)).await.problem(503, "account-unauthorised");
    for answer in all((2..200).map(|number| call(number).sending(gateway.address()))).await {
        answer.is_zohos(200);
    }
    assert!(!stuck.is_finished(), "and that one still waits");
    stuck.abort();
    let ready = gateway.admin("/readyz").await;
    assert_eq!(ready.status, 200, "one living account is enough");
    assert!(ready.json()["checks"]["account a1"].to_string().contains("account-unauthorised"), "{ready:?}");
}

/// The output at the lowest log level, in a run with rejections, dead tokens, locks and a restart. The end of the
/// gateway searches it for secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_written_at_any_level() {
    let zoho = Sandbox::boundless();
    let key = "a-callers-own-key-8c1f";
    let hash = "96f29a7416abe529048af21ff4834cdbc4b327f28af970aac8f2bb421875815e";
    let setup = Gateway::before(&zoho).env("RUST_LOG", "trace").set("callers.payroll.key_sha256", hash);
    let setup = setup.set("callers.payroll.accounts", "main").set("callers.payroll.allow", "*");
    let setup = setup.route("people.lms.share-course", "lock", "1s");
    let of_payroll = |call: Call| call.header("authorization", &format!("Bearer {key}"));
    let mut pages = String::new();
    let mut gateway = setup.start();
    for start in 0..2 {
        gateway.must_not_print(key);
        gateway.must_not_print(hash);
        gateway.send(&of_payroll(get(COURSE))).await.is_zohos(200);
        gateway
            .send(&get(COURSE).header("authorization", "Bearer somebody-elses-key-77ab"))
            .await
            .problem(401, "caller-unauthenticated");
        gateway.must_not_print("somebody-elses-key-77ab");
        pages += &gateway.send(&of_payroll(put(COURSE).form("erecnosList=[]"))).await.text();
        zoho.pull("revoke-access-tokens").await;
        gateway.send(&of_payroll(get(COURSE))).await.is_zohos(200);
        zoho.lock("PUT /api/v1/courses/{id}/share", 0.5).await;
        gateway.send(&of_payroll(put(COURSE).form(SHARE))).await.is_zohos(200);
        for page in ["/status", "/metrics", "/readyz"] {
            pages += &gateway.admin(page).await.text();
        }
        if start == 0 {
            gateway = gateway.kill().start();
        }
    }
    for file in ["ledger.redb", "locks.json", "holder", "newest"] {
        pages += &String::from_utf8_lossy(&fs::read(setup.state(file)).expect("a file"));
    }
    let used: Vec<_> = zoho
        .requests()
        .await
        .iter()
        .flat_map(|seen| seen.header("authorization").into_iter().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let tokens = used.iter().filter_map(|value| value.strip_prefix("Zoho-oauthtoken "));
    for secret in tokens.chain([key, hash, CLIENT_SECRET, REFRESH_TOKEN]) {
        assert!(!pages.contains(secret), "{secret} is in a file or a page");
    }
    assert!(used.len() >= 6, "{used:?}");
}

/// Each answer of the accounts server, and the problem that the caller gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reason_for_a_missing_token_has_its_own_problem() {
    for (status, answer, expected, problem) in [
        (200, r#"{"error":"invalid_client_secret"}"#, 503, "account-unauthorised"),
        (200, r#"{"error":"invalid_code"}"#, 503, "account-unauthorised"),
        (400, r#"{"error_description":"x","error":"Access Denied","status":"failure"}"#, 503, "token-throttled"),
        (200, r#"{"error_description":"x","error":"拒绝访问","status":"failure"}"#, 503, "token-throttled"),
        (200, "<html>", 502, "upstream-invalid-response"),
        (200, GRANT, 200, ""),
    ] {
        let accounts = Upstream::bare(move |request| match request.line.starts_with("POST /oauth/v2/token ") {
            true => Reply::json(status, answer),
            false => Reply::json(200, "{}"),
        })
        .await;
        let gateway = Gateway::before_upstream(&accounts).start();
        let reply = gateway.send(&get(COURSE)).await;
        if problem.is_empty() {
            reply.is_zohos(200);
            continue;
        }
        reply.problem(expected, problem);
        let check = gateway.admin("/readyz").await.json()["checks"]["account main"].to_string();
        assert!(check.contains(problem), "{answer}: {check}");
        let metrics = gateway.admin("/metrics").await.text();
        assert!(metrics.contains("zoho_gateway_token_requests_total{account=\"main\",outcome="), "{metrics}");
    }
}
