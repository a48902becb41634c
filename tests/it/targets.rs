//! How a request names its target: the gateway's paths, Zoho's hosts, and nothing else; and its id.

use crate::support::{CALENDAR, COURSE, Call, Gateway, Reply, Sandbox, Upstream, exchange, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_names_zohos_host_is_accepted() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let course = "/api/v1/courses/588882000000289003/share";
    let hosts =
        ["people.zoho.com", "PEOPLE.zoho.com", "people.zoho.com:443", "people.zoho.com:8080", "people.zoho.com."];
    for host in hosts {
        gateway.send(&get(course).header("host", host)).await.is_zohos(200);
    }
    let calendar = "/api/v1/calendars/1683be4ab6c74d2ab02e6440a0b34d4a/share";
    gateway.send(&get(calendar).header("host", "calendar.zoho.com")).await.is_zohos(200);
    for base in ["http://people.zoho.com", "https://people.zoho.com", "http://people.zoho.com.:8080"] {
        gateway.send(&get(&format!("{base}{course}"))).await.is_zohos(200);
    }
    let targets: Vec<_> = zoho.requests().await.into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, [course, course, course, course, course, calendar, course, course, course]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_address_in_absolute_form_is_accepted() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    gateway.send(&get(&format!("{}{COURSE}", gateway.url()))).await.is_zohos(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zohos_other_hosts_are_rejected_with_the_right_one() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    for (host, words) in [
        ("people.zoho.eu", "is in Zoho's data centre eu, and account main is in us; use people.zoho.com, or"),
        ("calendar.zoho.in:8080", "is in Zoho's data centre in, and account main is in us; use calendar.zoho.com, or"),
        ("PEOPLE.zohocloud.ca.", "people.zohocloud.ca is in Zoho's data centre ca"),
        ("accounts.zoho.com", "drop that request"),
        ("crm.zoho.com", "is a host of another Zoho product; the gateway serves Zoho People (people.zoho.com)"),
        ("www.zohoapis.com", "is a host of another Zoho product"),
    ] {
        // With a path of the gateway as well: the name says that another server is meant.
        for call in
            [get("/api/x").header("host", host), get(COURSE).header("host", host), get(&format!("http://{host}/api/x"))]
        {
            let body = gateway.send(&call).await.problem(404, "unknown-route");
            assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{host}: {body}");
        }
    }
    assert_eq!(zoho.requests().await, []);
}

/// Names for loopback, or reserved for private use, so that no web page can have such a name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_names_that_containers_use_for_their_host_are_accepted() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let page = "Mozilla/5.0 (X11; Linux x86_64)";
    for host in [
        "host.docker.internal",
        "host.containers.internal:8080",
        "host.lima.internal",
        "gateway.default.svc.cluster.local",
    ] {
        gateway.send(&get(COURSE).header("host", host)).await.is_zohos(200);
        let browsers = get(COURSE).header("host", host).header("user-agent", page);
        gateway.send(&browsers).await.problem(403, "foreign-origin");
    }
    for host in ["host.docker.internal.evil.example", "internal.example", "gateway.lan"] {
        gateway.send(&get(COURSE).header("host", host)).await.problem(403, "foreign-origin");
    }
    assert_eq!(zoho.requests().await.len(), 4);
}

/// A base URL that ends in a slash, and a path that begins with one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_extra_slash_after_the_prefix_is_dropped() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    for (prefix, path) in [
        ("/people/", "/api/v1/courses/588882000000289003/share"),
        ("/calendar/", "/api/v1/calendars/1683be4ab6c74d2ab02e6440a0b34d4a/share"),
        ("/people/", "/people/api/v1/courses/588882000000289003/share"),
    ] {
        gateway.send(&get(&format!("{prefix}{path}"))).await.is_zohos(200);
        assert_eq!(zoho.requests().await.last().map(|seen| seen.target.clone()).as_deref(), Some(path));
    }
    let sent = zoho.requests().await.len();
    for (path, words) in [
        ("/people/api/v1//courses/1/share", "(`/api/v1//courses/1/share`); write one"),
        ("/people///api/v1/courses/1/share", "(`///api/v1/courses/1/`); write one"),
        ("/calendar//api//v1/calendars", "(`/api//v1/calendars`); write one"),
    ] {
        let body = gateway.send(&get(path)).await.problem(400, "invalid-payload");
        let detail = body["errors"][0]["detail"].as_str().unwrap_or_default();
        assert!(
            detail.contains("two slashes in a row")
                && detail.contains("end a base URL without a slash")
                && detail.contains(words),
            "{path}: {body}"
        );
    }
    let body = gateway.send(&get("//people/api/v1/courses/1/share")).await.problem(404, "unknown-route");
    assert!(
        body["detail"].as_str().is_some_and(|detail| detail.contains("end the base URL without a slash")),
        "{body}"
    );
    assert_eq!(zoho.requests().await.len(), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_is_proxied() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    let targets = [
        "http://example.com/people/api/v1/courses/1/share",
        "http://people.zoho.com.evil.example/api/v1/courses/1/share",
        "http://accounts.zoho.com/oauth/v2/token",
        "/",
        "/oauth/v2/token",
        "/peoples/api",
        "/metrics",
        "/livez",
    ];
    for target in targets {
        gateway.send(&get(target)).await.problem(404, "unknown-route");
    }
    let connect = "CONNECT people.zoho.com:443 HTTP/1.1\r\nHost: people.zoho.com:443\r\nConnection: close\r\n\r\n";
    let answer = exchange(gateway.address(), connect).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("unknown-route"), "{answer}");
    assert_eq!(zoho.requests().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_is_kept_or_made_and_not_forwarded() {
    let upstream = Upstream::start(|_| Reply::with(200, "X-Request-Id: zohos-own\r\n", b"")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let given = gateway.send(&get(COURSE).header("x-request-id", "the-callers-id-17")).await;
    assert_eq!(given.header("x-request-id"), Some("the-callers-id-17"));
    let rejected = gateway.send(&get("/nowhere").header("x-request-id", "another-id")).await;
    assert_eq!(rejected.problem(404, "unknown-route")["instance"], "another-id");

    let made: Vec<_> = [gateway.send(&get(COURSE)).await, gateway.send(&get(CALENDAR)).await]
        .iter()
        .map(|answer| answer.header("x-request-id").expect("an id").to_owned())
        .collect();
    assert!(made[0] != made[1] && made.iter().all(|id| id.len() == 36), "{made:?}");
    assert!(upstream.received().iter().all(|received| received.header("x-request-id").is_empty()));
    gateway.process().logs("the-callers-id-17");
}

/// RFC 9112 section 3.2 requires 400 for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_one_host() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    for hosts in ["", "Host: people.zoho.com\r\nHost: calendar.zoho.com\r\n"] {
        let request = format!("GET {COURSE} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        let answer = exchange(gateway.address(), request).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("malformed-request"), "{answer}");
    }
    assert_eq!(zoho.requests().await, []);
}

/// The answer would be the request as Zoho received it, with the access token (RFC 9110 section 9.3.8).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_trace_is_forwarded() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    gateway.send(&Call::new("TRACE", COURSE)).await.problem(404, "unknown-route");
    assert_eq!(zoho.requests().await, []);
}

/// Whatever form the target has: a tunnel would count as one call and carry another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_tunnel_is_opened() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    for target in ["/people/api/x", "people.zoho.com:443", "http://people.zoho.com/api/x"] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: people.zoho.com\r\nConnection: close\r\n\r\n");
        let answer = exchange(gateway.address(), request).await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("unknown-route"), "{target}: {answer}");
    }
    assert_eq!(zoho.requests().await, []);
}
