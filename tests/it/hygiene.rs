//! Which headers the gateway forwards and which it removes, as seen by a server that records every byte.

use flate2::{Compression, write::GzEncoder};
use std::io::Write;

use crate::support::{COURSE, Gateway, REFRESH_TOKEN, Reply, SHARE, Sandbox, Upstream, exchange, get, put};

const CROSSES: [(&str, &str); 9] = [
    ("accept", "application/json"),
    ("accept-encoding", "gzip"),
    ("accept-language", "de, en;q=0.5"),
    ("content-language", "en"),
    ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
    ("if-none-match", "\"abc\""),
    ("range", "bytes=0-10"),
    ("user-agent", "somebody/1.0 (with a comment)"),
    ("x-anything-else", "a value;  with  spaces"),
];

const ENDS_HERE: [(&str, &str); 22] = [
    ("authorization", "Bearer the-callers-own-key"),
    ("connection", "keep-alive, x-of-this-connection"),
    ("cookie", "CSRF_TOKEN=secret"),
    ("forwarded", "for=10.0.0.1"),
    ("gateway-account", "main"),
    ("gateway-anything", "x"),
    ("keep-alive", "timeout=5"),
    ("prefer", "wait=3"),
    ("priority", "u=1"),
    ("proxy-authorization", "Basic c2VjcmV0"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("tracestate", "x=y"),
    ("baggage", "x=y"),
    ("upgrade", "websocket"),
    ("x-b3-traceid", "1"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("x-of-this-connection", "x"),
    ("x-request-id", "an-id-of-the-caller"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_to_end_headers_are_forwarded_and_others_removed() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let call = CROSSES.iter().chain(&ENDS_HERE).fold(put(COURSE), |call, (name, value)| call.header(name, value));
    gateway.send(&call.body(SHARE)).await.is_zohos(200);

    let received = upstream.only();
    for (name, value) in CROSSES {
        assert_eq!(received.header(name), [value], "{name}");
    }
    for (name, _) in ENDS_HERE.iter().filter(|(name, _)| *name != "authorization") {
        assert_eq!(received.header(name), Vec::<&str>::new(), "{name}");
    }
    assert_eq!(received.header("authorization"), ["Zoho-oauthtoken 1000.fake.token"]);
    assert_eq!(received.header("host"), [upstream.address()]);
    assert_eq!(received.header("content-length"), [SHARE.len().to_string()]);
    // The gateway adds only what HTTP needs.
    let expected = CROSSES.len() + ["authorization", "host", "content-length"].len();
    assert_eq!(received.headers.len(), expected, "{:#?}", received.headers);
}

/// Headers that the agents of monitoring vendors add, in their own spelling.
const TRACING: [&str; 34] = [
    "elastic-apm-traceparent",
    "newrelic",
    "X-NewRelic-ID",
    "X-NewRelic-Transaction",
    "x-dynatrace",
    "x-dtpc",
    "dtdTraceTagInfo",
    "X-INSTANA-T",
    "X-INSTANA-SYNTHETIC",
    "Request-Id",
    "Request-Context",
    "Correlation-Context",
    "x-ms-request-root-id",
    "x-ms-client-request-id",
    "sap-passport",
    "X-Correlation-ID",
    "b3",
    "X-B3-Sampled",
    "uber-trace-id",
    "uberctx-user",
    "jaeger-debug-id",
    "x-datadog-parent-id",
    "X-Amzn-Trace-Id",
    "X-Cloud-Trace-Context",
    "grpc-trace-bin",
    "sentry-trace",
    "ot-tracer-traceid",
    "x-ot-span-context",
    "sw8-correlation",
    "Pinpoint-pSpanID",
    "singularityheader",
    "X-Trace-Options",
    "X-Request-Start",
    "l5d-ctx-trace",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tracing_headers_are_removed() {
    let upstream = Upstream::start(|_| Reply::json(200, "{}")).await;
    let gateway = Gateway::before_upstream(&upstream).route("people.other.any-call", "throttle", "off").start();
    let underscored = TRACING.iter().map(|name| name.replace('-', "_"));
    let names: Vec<_> = TRACING.iter().map(|name| (*name).to_owned()).chain(underscored).collect();
    let fields: String = names.iter().map(|name| format!("{name}: 1\r\n")).collect();
    let request = format!(
        "POST /people/api/x HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nETag: \"1\"\r\nX-Trace-Of-Changes: 1\r\n\
         {fields}Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, {}\r\n\r\n2\r\nab\r\n0\r\n\
         {fields}X-Sum: 1\r\n\r\n",
        names.join(", ")
    );
    let answer = exchange(gateway.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // The headers and, after the body, the trailers.
    let received = upstream.only();
    let crossed: Vec<_> = names.iter().filter(|name| !received.header(name).is_empty()).collect();
    assert!(crossed.is_empty(), "{crossed:?}");
    assert_eq!((received.header("etag"), received.header("x-trace-of-changes")), (vec!["\"1\""], vec!["1"]));
    assert_eq!(received.trailers.iter().map(|line| line.to_lowercase()).collect::<Vec<_>>(), ["x-sum: 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_answers_are_forwarded_or_removed() {
    let headers = "Content-Type: text/plain; charset=x\r\nX-Anything: a  b\r\nETag: \"7\"\r\nCache-Control: private\r\n\
                   Set-Cookie: zalb=1; Path=/\r\nSet-Cookie: CSRF_TOKEN=2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
                   Keep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nProxy-Status: zoho; error=x\r\n\
                   RateLimit: \"zoho\";r=1\r\nVary: Accept\r\nVary: Origin\r\nServer: ZGS\r\n";
    let upstream = Upstream::start(move |_| Reply::with(203, headers, b"text")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let answer = gateway.send(&get(COURSE)).await;
    answer.is_zohos(203);
    let crosses = [
        ("content-type", "text/plain; charset=x"),
        ("x-anything", "a  b"),
        ("etag", "\"7\""),
        ("cache-control", "private"),
        ("server", "ZGS"),
    ];
    for (name, value) in crosses {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(answer.headers.get_all("vary").iter().collect::<Vec<_>>(), ["Accept", "Origin"]);
    for name in ["set-cookie", "connection", "x-hop", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert!(answer.header("ratelimit").is_some_and(|value| value.contains("people.lms")), "{answer:?}");
    assert_eq!(answer.text(), "text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_passed_on_and_not_followed() {
    let upstream = Upstream::start(|_| Reply::with(302, "Location: https://people.zoho.com/elsewhere\r\n", b"")).await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let answer = gateway.send(&get(COURSE)).await;
    assert_eq!(answer.is_zohos(302).header("location"), Some("/people/elsewhere"));
    upstream.only();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_seen_inside_a_compressed_answer() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(br#"{"response":{"errors":{"code":7209,"message":"blocked"},"status":1}}"#).expect("memory");
    let locked = gzip.finish().expect("memory");
    let upstream = Upstream::start(move |_| {
        Reply::with(200, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", &locked)
    })
    .await;
    let gateway = Gateway::before_upstream(&upstream).start();
    let answer = gateway.send(&get(COURSE).header("accept-encoding", "gzip").header("prefer", "wait=0")).await;
    answer.problem(429, "threshold-locked");
    upstream.only();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_answer_of_zoho_is_forwarded_unchanged() {
    for status in [400, 401, 403, 404, 422, 500, 502, 503] {
        let body = r#"{"response":{"message":"Error occurred","errors":{"code":7048,"message":"no"},"status":1}}"#;
        let upstream = Upstream::start(move |_| Reply::json(status, body)).await;
        let gateway = Gateway::before_upstream(&upstream).start();
        let answer = gateway.send(&get(COURSE)).await;
        answer.is_zohos(status);
        assert_eq!((answer.text().as_str(), answer.header("retry-after")), (body, None));
        upstream.only();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_log_holds_no_secret() {
    let zoho = Sandbox::boundless();
    let mut gateway = Gateway::before(&zoho).env("RUST_LOG", "trace").start();
    for secret in ["the-callers-own-key", "CSRF_TOKEN=", REFRESH_TOKEN, "erecnosList"] {
        gateway.must_not_print(secret);
    }
    let call = put(COURSE).header("authorization", "Bearer the-callers-own-key").header("cookie", "CSRF_TOKEN=1");
    gateway.send(&call.clone().form(SHARE)).await.is_zohos(200);
    gateway.send(&call.form("erecnosList=[true]")).await.problem(400, "invalid-payload");
    zoho.pull("revoke-access-tokens").await;
    gateway.send(&put(COURSE).form(SHARE)).await.is_zohos(200);
    // Drop looks for these, the account's own secrets, and the access tokens.
}
