//! Redirects of Zoho lead back through the gateway, in the form that the caller used.

use crate::support::{Call, Gateway, Reply, Upstream, curl, get};

/// A Zoho at one address that answers `from` with a redirect and everything else with 200.
async fn redirecting(status: u16, from: &'static str, location: impl Into<String>) -> Upstream {
    let location = location.into();
    Upstream::start(move |request| match request.line.split(' ').nth(1) == Some(from) {
        true => Reply::with(status, &format!("Location: {location}\r\n"), b""),
        false => Reply::json(200, r#"{"arrived":true}"#),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_follows_a_redirect_has_a_token_again() {
    for location in [
        "https://people.zoho.com/api/v1/there?a=%5B1%5D",
        "http://people.zoho.com/api/v1/there?a=%5B1%5D",
        "//people.zoho.com/api/v1/there?a=%5B1%5D",
        "/api/v1/there?a=%5B1%5D",
        "there?a=%5B1%5D",
        "../v1/there?a=%5B1%5D#part",
    ] {
        for status in [301, 302, 303, 307, 308] {
            let upstream = redirecting(status, "/api/v1/here", location).await;
            let gateway = Gateway::before_upstream(&upstream).start();
            let url = format!("{}/people/api/v1/here", gateway.url());
            assert_eq!(curl(&["--location", &url]), r#"{"arrived":true}"#, "{status} {location}");
            // A client that uses the gateway as a forward proxy.
            let proxied = curl(&["--location", "--proxy", &gateway.url(), "http://people.zoho.com/api/v1/here"]);
            assert_eq!(proxied, r#"{"arrived":true}"#, "{status} {location}");
            let received = upstream.received();
            assert_eq!(received.len(), 4, "{status} {location}");
            for followed in [&received[1], &received[3]] {
                assert_eq!(followed.line, "GET /api/v1/there?a=%5B1%5D HTTP/1.1");
                assert_eq!(followed.header("authorization"), ["Zoho-oauthtoken 1000.fake.token"]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_location_has_the_callers_own_form() {
    let calendar = Upstream::start(|_| Reply::json(200, "{}")).await;
    for (location, by_path, by_host) in [
        ("https://people.zoho.com/api/y", "/people/api/y", "/api/y"),
        ("/people/api/y", "/people/people/api/y", "/people/api/y"),
        ("https://calendar.zoho.com/y", "/calendar/y", "//calendar.zoho.com/y"),
        (&format!("{}/y", calendar.url()), "/calendar/y", "//calendar.zoho.com/y"),
        // Not the account's servers.
        ("https://accounts.zoho.com/signin", "https://accounts.zoho.com/signin", "https://accounts.zoho.com/signin"),
        ("https://example.com/people/api", "https://example.com/people/api", "https://example.com/people/api"),
        ("mailto:x@example.com", "mailto:x@example.com", "mailto:x@example.com"),
    ] {
        for status in [201, 202, 302] {
            let upstream = redirecting(status, "/api/x", location).await;
            let setup = Gateway::before_upstream(&upstream).set("accounts.main.endpoints.calendar", calendar.url());
            let gateway = setup.start();
            let answer = gateway.send(&Call::new("POST", "/people/api/x")).await;
            assert_eq!((answer.status, answer.header("location")), (status, Some(by_path)), "{location}");
            let answer = gateway.send(&get("/api/x").header("host", "people.zoho.com")).await;
            assert_eq!((answer.status, answer.header("location")), (status, Some(by_host)), "{location}");
        }
    }
}

/// The cache keeps Zoho's form; each caller gets its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_one_cached_answer_get_their_own_forms() {
    let route = "people.lms.get-shared-users";
    let fields = "Content-Type: application/json\r\nContent-Location: /api/v1/courses/1/users\r\n";
    let upstream = Upstream::start(|_| Reply::with(200, fields, br#"{"code":"200"}"#)).await;
    let gateway = Gateway::before_upstream(&upstream).route(route, "cache", "5m").start();
    for _ in 0..2 {
        let answer = gateway.send(&get("/people/api/v1/courses/1/share")).await;
        assert_eq!(answer.header("content-location"), Some("/people/api/v1/courses/1/users"));
        let answer = gateway.send(&get("/api/v1/courses/1/share").header("host", "people.zoho.com")).await;
        assert_eq!(answer.header("content-location"), Some("/api/v1/courses/1/users"));
    }
    upstream.only();
}
