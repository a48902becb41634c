//! Calls to Zoho, its accounts server and issuers through an HTTP proxy.

use std::path::Path;

use serde_json::json;

use crate::support::{COURSE, Process, Proxy, Reply, SHARE, Setup, Terminator, Tunnels, Upstream, get, put, until};

const ROUTE: &str = "people.lms.get-shared-users";

/// A Zoho with names that only the proxy can resolve.
fn nowhere(scheme: &str) -> Setup {
    let server = |name: &str| format!("{scheme}://{name}.nowhere.invalid");
    Setup::before_all(&server("accounts"), &server("people"), &server("calendar"))
}

async fn zoho() -> Upstream {
    Upstream::start(|_| Reply::json(200, "{}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_token_requests_go_through_the_proxy() {
    let upstream = zoho().await;
    let proxy = Proxy::start(Tunnels::To(upstream.address().to_owned())).await;
    for (setup, source) in [
        (nowhere("http").set("upstream.proxy", proxy.url()), "upstream.proxy"),
        (nowhere("http").env("HTTPS_PROXY", &proxy.url()), "HTTPS_PROXY"),
        (nowhere("http").env("https_proxy", proxy.address()), "https_proxy"),
        (nowhere("http").env("HTTPS_PROXY", "").env("https_proxy", &proxy.url()), "https_proxy"),
        (nowhere("http").env("HTTPS_PROXY", "http://127.0.0.1:1").set("upstream.proxy", proxy.url()), "upstream.proxy"),
        (nowhere("http").env("ZOHO_GATEWAY__UPSTREAM__PROXY", &proxy.url()), "upstream.proxy"),
    ] {
        let before = (upstream.received().len(), upstream.token_calls());
        let gateway = setup.start();
        gateway.send(&get(COURSE)).await.is_zohos(200);
        assert_eq!((upstream.received().len(), upstream.token_calls()), (before.0 + 1, before.1 + 1), "{source}");
        gateway.process().logs(&format!("through the proxy {} ({source})", proxy.url()));
        let check = checked(&setup);
        assert!(check.contains(&format!("upstream through the proxy {} ({source})", proxy.url())), "{check}");
    }
    assert_eq!(proxy.servers(), ["accounts.nowhere.invalid:80", "people.nowhere.invalid:80"]);
    let received = &upstream.received()[0];
    assert_eq!(received.header("host"), ["people.nowhere.invalid"]);
    assert!(received.line.starts_with("GET /api/"), "{received:?}");
}

#[track_caller]
fn checked(setup: &Setup) -> String {
    let env: Vec<_> = setup.environment().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let ended = Process::run(&[Path::new("check"), Path::new("--config"), &setup.write()], &env);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

/// TLS to Zoho within the tunnel, and within TLS to the proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_goes_through_a_tunnel_and_through_a_tunnel_over_tls() {
    let upstream = zoho().await;
    // By this name, which the rules do not take for this machine.
    let front =
        Terminator::before_as(upstream.address(), &["people.nowhere.invalid", "accounts.nowhere.invalid"]).await;
    let proxy = Proxy::start(Tunnels::To(front.address())).await;
    let setup = nowhere("https").set("upstream.ca_file", "ca.pem").set("upstream.proxy", proxy.url());
    front.write_authority(&setup.path("ca.pem"));
    setup.start().send(&get(COURSE)).await.is_zohos(200);
    assert_eq!(proxy.servers(), ["accounts.nowhere.invalid:443", "people.nowhere.invalid:443"]);

    let over_tls = Terminator::before(proxy.address()).await;
    let setup = nowhere("https").set("upstream.ca_file", "ca.pem").set("upstream.proxy", over_tls.url());
    front.write_authorities(&[&over_tls], &setup.path("ca.pem"));
    setup.start().send(&get(COURSE)).await.is_zohos(200);

    // The proxy's authority is not trusted.
    let setup = nowhere("https").set("upstream.proxy", over_tls.url()).set("queue.max_wait", "1s");
    let answer = setup.start().send(&get(COURSE)).await;
    let body = answer.problem(502, "upstream-unreachable");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(&over_tls.url())), "{body}");
    assert!(answer.header("proxy-status").is_some_and(|status| status.contains("tls_certificate_error")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_reaches_only_the_proxy() {
    const PASSWORD: &str = "p@ss:w0rd";
    // "someone:p@ss:w0rd".
    const BASIC: &str = "Proxy-Authorization: Basic c29tZW9uZTpwQHNzOncwcmQ=\r\n";
    let upstream = zoho().await;
    let proxy = Proxy::start(Tunnels::To(upstream.address().to_owned())).await;
    let with_user = || nowhere("http").set("upstream.proxy", proxy.url()).set("upstream.proxy_user", "someone");
    let in_url = format!("http://someone:p%40ss%3Aw0rd@{}", proxy.address());
    let in_file = with_user().set("upstream.proxy_password", json!({"file": "password"}).to_string());
    std::fs::write(in_file.path("password"), format!("{PASSWORD}\n")).expect("written");
    for setup in [
        with_user().set("upstream.proxy_password", PASSWORD),
        with_user().set("upstream.proxy_password.env", "PROXY_PASSWORD").env("PROXY_PASSWORD", PASSWORD),
        in_file.without("upstream.proxy_password").set("upstream.proxy_password.file", "password"),
        nowhere("http").set("upstream.proxy", in_url.as_str()),
        nowhere("http").env("HTTPS_PROXY", &in_url),
    ] {
        let asked = proxy.asked().len();
        let setup = setup.env("RUST_LOG", "trace,zoho_gateway::app=info");
        let mut gateway = setup.start();
        for secret in [PASSWORD, "p%40ss", "c29tZW9uZTpwQHNzOncwcmQ"] {
            gateway.must_not_print(secret);
        }
        gateway.send(&get(COURSE)).await.is_zohos(200);
        let heads = proxy.asked();
        assert!(heads.len() > asked && heads[asked..].iter().all(|head| head.contains(BASIC)), "{heads:?}");
        let status = [gateway.admin("/status").await.text(), gateway.admin("/metrics").await.text(), checked(&setup)];
        assert!(!status.concat().contains("p@ss"), "{status:?}");
    }
    assert!(upstream.received().iter().all(|request| request.header("proxy-authorization").is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_and_no_proxy_are_reached_directly() {
    let upstream = zoho().await;
    let proxy = Proxy::start(Tunnels::Answer(b"HTTP/1.1 403 Forbidden\r\n\r\n")).await;
    let port = upstream.address().rsplit(':').next().expect("a port").to_owned();
    let by_name = format!("http://localhost:{port}");
    for url in [upstream.url(), by_name] {
        let setup = Setup::before_all(&url, &url, &url).set("upstream.proxy", proxy.url());
        setup.start().send(&get(COURSE)).await.is_zohos(200);
    }
    assert_eq!(proxy.asked(), Vec::<String>::new());
    // This address leads to the upstream too, and the rules do not take it for this machine.
    let url = format!("http://0.0.0.0:{port}");
    let beyond = || Setup::before_all(&url, &url, &url).set("upstream.proxy", proxy.url()).set("queue.max_wait", "1s");
    for setup in [
        beyond().set("upstream.no_proxy", json!([".other", "0.0.0.0"])),
        beyond().set("upstream.no_proxy", format!("0.0.0.0:{port}")),
        beyond().env("NO_PROXY", "10.0.0.0/8, 0.0.0.0/24"),
        beyond().env("no_proxy", "*"),
        beyond().set("upstream.proxy", "none").env("HTTPS_PROXY", &proxy.url()),
    ] {
        setup.start().send(&get(COURSE)).await.is_zohos(200);
    }
    assert_eq!(proxy.asked(), Vec::<String>::new());
    // A list in the configuration overrides the variable.
    for setup in [
        beyond(),
        beyond().env("NO_PROXY", "*").set("upstream.no_proxy", json!([])),
        beyond().env("NO_PROXY", "*").set("upstream.no_proxy", json!([".other", "0.0.0.0:1"])),
    ] {
        let body = setup.start().send(&get(COURSE)).await.problem(502, "upstream-unreachable");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("403 Forbidden")), "{body}");
    }
}

/// A proxy for the accounts server alone would suffice; here both are behind it, and the token was fetched before it
/// failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_tunnel_costs_no_slot_and_is_reported() {
    let upstream = zoho().await;
    for (tunnels, status, problem, words) in [
        (
            Tunnels::Answer(b"HTTP/1.1 407 Nope\r\n\r\n"),
            502,
            "upstream-unreachable",
            "407 Proxy Authentication Required",
        ),
        (Tunnels::Answer(b"HTTP/1.1 403 Forbidden\r\n\r\n<html>"), 502, "upstream-unreachable", "403 Forbidden"),
        (Tunnels::Answer(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), 502, "upstream-unreachable", "502 Bad Gateway"),
        (Tunnels::Answer(b"<html>log in</html>\r\n\r\n"), 502, "upstream-unreachable", "something other than HTTP"),
        (Tunnels::Answer(b""), 502, "upstream-unreachable", "closed the connection"),
        (Tunnels::Never, 504, "upstream-timeout", "in time"),
    ] {
        let proxy = Proxy::start(tunnels).await;
        let people = "http://people.nowhere.invalid";
        let setup = Setup::before_all(&upstream.url(), people, people).set("upstream.connect_timeout", "300ms");
        let gateway = setup.set("upstream.proxy", format!("http://someone:secret@{}", proxy.address())).start();
        for call in [get(COURSE), put(COURSE).form(SHARE)] {
            let body = gateway.send(&call).await.problem(status, problem);
            let detail = body["detail"].as_str().unwrap_or_default();
            for words in [words, &proxy.url(), "the call was not sent"] {
                assert!(detail.contains(words), "{words}: {detail}");
            }
            assert!(!detail.contains("secret"), "{detail}");
        }
        gateway.until_free(ROUTE, 30).await;
    }
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_proxy_is_named() {
    let gateway = nowhere("http").set("upstream.proxy", "http://127.0.0.1:1").set("queue.max_wait", "1s").start();
    let answer = gateway.send(&get(COURSE)).await;
    let body = answer.problem(502, "upstream-unreachable");
    assert!(
        body["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("the proxy http://127.0.0.1:1 could not be reached")),
        "{body}"
    );
    assert!(answer.header("proxy-status").is_some_and(|status| status.contains("connection_refused")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuers_are_reached_through_the_proxy() {
    let keys = Upstream::bare(|_| Reply::json(200, r#"{"keys":[]}"#)).await;
    let front = Terminator::before_as(keys.address(), &["issuer.nowhere.invalid"]).await;
    let proxy = Proxy::start(Tunnels::To(front.address())).await;
    let setup = nowhere("http")
        .set("upstream.proxy", proxy.url())
        .set("issuers.one.issuer", "https://issuer.nowhere.invalid")
        .set("issuers.one.audience", "here")
        .set("issuers.one.jwks_url", "https://issuer.nowhere.invalid/keys")
        .set("issuers.one.ca_file", "ca.pem");
    front.write_authority(&setup.path("ca.pem"));
    let _gateway = setup.start();
    keys.until_received(1).await;
    assert_eq!(proxy.servers(), ["issuer.nowhere.invalid:443"]);
}

#[test]
fn an_invalid_proxy_is_reported_by_key_without_its_value() {
    let setup = nowhere("https");
    for (setup, key, words) in [
        (setup.clone().env("HTTPS_PROXY", "socks5://u:hidden@p:1"), "environment HTTPS_PROXY", "SOCKS"),
        (setup.clone().env("https_proxy", "http://u:hid#den@p:1"), "environment https_proxy", "percent-encoded"),
        (setup.clone().env("HTTPS_PROXY", "http://u:hid/den@p:1"), "environment HTTPS_PROXY", "percent-encoded"),
        (setup.clone().set("upstream.proxy", "http://u:hidden@"), "upstream.proxy", "expected a URL"),
        (setup.clone().set("upstream.proxy", 3128), "upstream.proxy", "expected a URL"),
        (setup.clone().set("upstream.no_proxy", json!(["10.0.0.0/33"])), "upstream.no_proxy", "expected a host"),
        (setup.clone().set("upstream.proxy_user", "u"), "upstream.proxy_user", "names one"),
        (
            setup.clone().set("upstream.proxy", "http://u:hidden@p:1").set("upstream.proxy_user", "u"),
            "upstream.proxy_user",
            "already has a user",
        ),
        (
            setup.clone().set("upstream.proxy", "http://p:1").set("upstream.proxy_password", "hidden"),
            "upstream.proxy_password",
            "set proxy_user too",
        ),
    ] {
        let env: Vec<_> = setup.environment().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let ended = Process::run(&[Path::new("check"), Path::new("--config"), &setup.write()], &env);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(key) && ended.stderr.contains(words), "{ended:?}");
        assert!(!ended.stderr.contains("hid"), "{ended:?}");
    }
}

/// The built-in sandbox needs no network, whatever the environment contains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_uses_no_proxy() {
    let env = [
        ("ZOHO_GATEWAY__PROXY__LISTEN", "127.0.0.1:0"),
        ("ZOHO_GATEWAY__ADMIN__LISTEN", "127.0.0.1:0"),
        ("HTTPS_PROXY", "socks5://proxy:1"),
    ];
    let process = Process::start(&["run", "--sandbox"], &env);
    let proxy = process.said(|line| Some(line.split("The gateway listens on ").nth(1)?.split(',').next()?.to_owned()));
    until("it answers", async || get(COURSE).attempt(&proxy).await.is_some_and(|answer| answer.status == 200)).await;
}
