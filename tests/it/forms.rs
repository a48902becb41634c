//! Bodies that a server may read as a form, by their `Content-Type` and charset.

use serde_json::{Value, json};

use crate::support::{COURSE, Call, Gateway, HASH_OF_ONE, Reply, SHARE, Setup, Upstream, put};

/// A call that is not in the catalogue, so it has no rules.
const UNKNOWN: &str = "/people/api/x";
const FORM: &str = "application/x-www-form-urlencoded";

fn before(upstream: &Upstream) -> Setup {
    Gateway::before_upstream(upstream)
        .route("people.other.any-call", "throttle", "off")
        .route("people.lms.share-course", "throttle", "off")
        .route("people.lms.get-shared-users", "throttle", "off")
}

async fn zoho() -> Upstream {
    Upstream::start(|_| Reply::json(200, "{}")).await
}

fn details(problem: &Value) -> String {
    problem["errors"].as_array().expect("errors").iter().map(Value::to_string).collect()
}

/// Apache HttpClient names this charset for its forms by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_the_same_in_utf_8_is_forwarded_unchanged() {
    let upstream = zoho().await;
    let gateway = before(&upstream).start();
    let mut sent = 0;
    for charset in [
        "ISO-8859-1",
        "windows-1252",
        "iso-8859-15",
        "us-ascii",
        "latin1",
        "Cp1252",
        "\"iso-8859-1\"",
        "'latin-1'",
        "utf-8",
        "KOI8-R",
        "Shift_JIS",
        "iso-8859-1; charset=utf-8",
    ] {
        for (target, body) in [(COURSE, SHARE), (UNKNOWN, "a=%5B1%5D&b=c+d")] {
            let kind = format!("{FORM}; charset={charset}");
            gateway.send(&put(target).header("content-type", &kind).body(body)).await.is_zohos(200);
            let received = upstream.received();
            sent += 1;
            assert_eq!(received.len(), sent);
            let last = received.last().expect("one more");
            assert_eq!((last.header("content-type"), last.body.as_slice()), (vec![kind.as_str()], body.as_bytes()));
        }
    }
    // On a route with rules, the same holds for JSON and text.
    for kind in ["application/json; charset=ISO-8859-1", "text/plain; charset=us-ascii"] {
        let call = put(&format!("{COURSE}?{SHARE}")).header("content-type", kind).body(r#"{"a":"\u00e9"}"#);
        gateway.send(&call).await.is_zohos(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_differs_in_its_charset_is_rejected() {
    let upstream = zoho().await;
    let gateway = before(&upstream).start();
    for (charset, body) in [
        ("ISO-8859-1", "erecnosList=[1]&a=%E9"),
        ("windows-1252", "erecnosList=[1]&a=%C3%A9"),
        ("latin1", "erecnosList=[1]&a=\u{e9}"),
        ("us-ascii", "erecnosList=[1]&a=%80"),
        ("utf-8; charset=iso-8859-1", "erecnosList=[1]&a=%E9"),
        ("Shift_JIS", "erecnosList=[1]&a=%5C"),
        // Even ASCII bytes are other characters here.
        ("utf-16", SHARE),
        ("UTF-16LE", SHARE),
        ("utf-7", SHARE),
        ("utf-32", SHARE),
        ("IBM037", SHARE),
        ("cp1047", SHARE),
        ("ISO-2022-JP", SHARE),
        ("hz-gb-2312", SHARE),
        ("nobody-knows-it", SHARE),
    ] {
        for (target, why) in [(COURSE, "checks the parameters of this call"), (UNKNOWN, "checks forms for parameters")]
        {
            let call = put(target).header("content-type", &format!("{FORM}; charset={charset}")).body(body);
            let problem = gateway.send(&call).await.problem(415, "unsupported-encoding");
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(detail.contains(why) && detail.ends_with("send it in UTF-8"), "{charset} {target}: {detail}");
            assert!(!detail.contains("Content-Encoding"), "{detail}");
        }
    }
    let packed = put(UNKNOWN).header("content-encoding", "gzip").form(SHARE);
    let answer = gateway.send(&packed).await;
    let detail = answer.problem(415, "unsupported-encoding")["detail"].to_string();
    assert!(detail.contains("send it without Content-Encoding") && !detail.contains("charset"), "{detail}");
    assert_eq!(answer.header("accept-encoding"), Some("identity"));
    assert_eq!(upstream.received().len(), 0);
}

/// Types that some servers read as a form, and some do not.
const ODD_TYPES: [Option<&str>; 12] = [
    None,
    Some(""),
    Some("application/x-www-form-urlencoded foo"),
    Some("application/x-www-form-urlencoded\tfoo"),
    Some("text/plain, application/x-www-form-urlencoded"),
    Some("application/x-www-form-urlencoded, text/plain"),
    Some("APPLICATION/X-WWW-FORM-URLENCODED ;x=y"),
    Some("\"application/x-www-form-urlencoded\""),
    Some("x-www-form-urlencoded"),
    Some("multipart/form-data; boundary=x, application/x-www-form-urlencoded"),
    Some("; charset=utf-8"),
    Some("*/*"),
];

fn typed(call: Call, kind: Option<&str>) -> Call {
    kind.map_or(call.clone(), |kind| call.header("content-type", kind))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odd_type_does_not_bypass_the_checks() {
    let upstream = zoho().await;
    let gateway = before(&upstream).start();
    let padding = format!("a={}&", "x".repeat(100 * 1024));
    for kind in ODD_TYPES {
        for padding in ["", &padding] {
            let override_ = typed(put(UNKNOWN).body(format!("{padding}_method=DELETE")), kind);
            let problem = gateway.send(&override_).await.problem(400, "invalid-payload");
            assert!(details(&problem).contains("could turn the call into another one"), "{kind:?}: {problem}");
            let twice = typed(put(COURSE).body(format!("{padding}{SHARE}&{SHARE}")), kind);
            let problem = gateway.send(&twice).await.problem(400, "invalid-payload");
            assert!(details(&problem).contains("given twice in the form body"), "{kind:?}: {problem}");
            let broken = typed(put(COURSE).body(format!("{padding}erecnosList=[true]")), kind).chunked();
            gateway.send(&broken).await.problem(400, "invalid-payload");
        }
    }
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn valid_bodies_of_any_type_are_forwarded_unchanged() {
    let upstream = zoho().await;
    let gateway = before(&upstream).start();
    let mut expected = Vec::new();
    for kind in ODD_TYPES {
        gateway.send(&typed(put(COURSE).body(SHARE), kind)).await.is_zohos(200);
        expected.push(SHARE.as_bytes().to_vec());
    }
    // What clients send without a type: a buffer, a file, JSON.
    let bytes: Vec<u8> = (0..300 * 1024_u32).map(|index| (index * 7 % 251) as u8).collect();
    for body in [bytes, br#"{"method":"cash","a":["x&y=1"]}"#.to_vec(), b"\0\0\0".to_vec()] {
        gateway.send(&put(UNKNOWN).body(body.clone())).await.is_zohos(200);
        gateway.send(&put(UNKNOWN).body(body.clone()).chunked()).await.is_zohos(200);
        expected.extend([body.clone(), body]);
    }
    // No server reads other types as a form.
    for kind in ["application/json", "multipart/form-data; boundary=x", "application/octet-stream", "text/plain"] {
        let body = format!("_method=DELETE&{}", "x".repeat(100 * 1024));
        gateway.send(&put(UNKNOWN).header("content-type", kind).body(body.clone())).await.is_zohos(200);
        expected.push(body.into_bytes());
    }
    let received: Vec<_> = upstream.received().into_iter().map(|received| received.body).collect();
    assert!(received == expected, "{} of {}", received.len(), expected.len());
}

/// A body parameter could turn a read into a write; so the gateway reads it on an unvalidated route too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_caller_cannot_override_the_method() {
    let upstream = zoho().await;
    let gateway = before(&upstream)
        .route("people.lms.get-shared-users", "validate", "off")
        .set("callers.one.key_sha256", HASH_OF_ONE)
        .set("callers.one.accounts", json!(["main"]))
        .set("callers.one.allow", json!(["*"]))
        .set("callers.one.read_only", true)
        .start();
    let read = |query: &str| {
        let separator = if query.is_empty() { "" } else { "?" };
        Call::new("GET", &format!("{COURSE}{separator}{query}")).header("authorization", "Bearer one")
    };
    for name in [
        "_method",
        "_METHOD",
        "_method.",
        "_.method",
        ".method",
        "_method%5B%5D",
        "request%5B_method%5D",
        "data%5B_method%5D",
        "+_method",
        "%5Fmethod",
        "%255Fmethod",
        "_met%E2%80%8Bhod",
        "%EF%BB%BF_method",
        "_method%C2%AD",
        "_me%01thod",
        "_method%00",
        "%EF%BC%BF%EF%BD%8D%EF%BD%85%EF%BD%94%EF%BD%88%EF%BD%8F%EF%BD%84",
        "X-HTTP-Method-Override",
        "x_http_method_override",
        "X.HTTP.Method",
    ] {
        let pair = format!("{name}=DELETE");
        for call in [read(&pair), read("").body(pair.clone()), read("").form(format!("a=1&{pair}"))] {
            gateway.send(&call).await.problem(400, "invalid-payload");
        }
    }
    let large = read("").form(format!("a={}&_method=DELETE", "x".repeat(100 * 1024)));
    gateway.send(&large).await.problem(400, "invalid-payload");
    for name in ["\"_method\"", "\"request[_method]\"", "_method"] {
        let part = format!("--x\r\nContent-Disposition: form-data; name={name}\r\n\r\nDELETE\r\n--x--\r\n");
        let parts = read("").header("content-type", "multipart/form-data; boundary=x").body(part);
        gateway.send(&parts).await.problem(400, "invalid-payload");
    }
    let packed = read("").header("content-encoding", "gzip").form("not looked at");
    gateway.send(&packed).await.problem(415, "unsupported-encoding");
    assert_eq!(upstream.received().len(), 0);
    for query in ["", "startIndex=1", "method=x", "sort%5Bmethod%5D=x", "payment_method=x", "_methods=x"] {
        gateway.send(&read(query)).await.is_zohos(200);
    }
    gateway.send(&read("").form("payment_method=x&method=y")).await.is_zohos(200);
}

/// curl -T, and fetch with a buffer, send a file without a type.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_a_type_beyond_the_form_limit_is_a_file() {
    let upstream = zoho().await;
    let gateway = before(&upstream).set("proxy.max_form", "128KiB").start();
    let file = format!("PNG{}&method=DELETE;a==_method=1", "\0".repeat(8 << 20));
    let form = format!("{}&_method=DELETE", "x".repeat(100_000));
    for (call, what) in [(put(UNKNOWN), "with a length"), (put(UNKNOWN).chunked(), "in chunks")] {
        gateway.send(&call.clone().body(form.clone())).await.problem(400, "invalid-payload");
        let answer = gateway.send(&call.clone().body(file.clone())).await;
        assert_eq!(answer.status, 200, "{what}");
        assert!(upstream.received().last().expect("it was sent").body == file.as_bytes(), "{what}");
        for odd in ["", "garbage"] {
            assert_eq!(gateway.send(&call.clone().header("content-type", odd).body(file.clone())).await.status, 200);
        }
        // In the part that is read before the call gets a slot, and far behind it.
        let sent = upstream.received().len();
        let near = format!("{}&_method=DELETE&a=1", "x".repeat(200_000));
        gateway.send(&call.clone().body(near)).await.problem(400, "invalid-payload");
        assert_eq!(upstream.received().len(), sent, "{what}");
        let far = format!("{}&_method=DELETE&{}", "x".repeat(8 << 20), "y".repeat(100_000));
        gateway.send(&call.clone().body(far)).await.problem(400, "invalid-payload");
        assert!(upstream.received().iter().all(|seen| !seen.body.ends_with(b"y")), "{what}");
        let marked = call.header("content-type", "application/x-www-form-urlencoded foo").body(file.clone());
        gateway.send(&marked).await.problem(413, "body-too-large");
    }
    gateway.send(&put(COURSE).body(file.clone())).await.problem(413, "body-too-large");

    let readers = before(&upstream)
        .set("proxy.max_form", "128KiB")
        .set("callers.one.key_sha256", HASH_OF_ONE)
        .set("callers.one.accounts", json!(["main"]))
        .set("callers.one.allow", json!(["*"]))
        .set("callers.one.read_only", true)
        .start();
    let read = Call::new("GET", COURSE).header("authorization", "Bearer one").body(file.clone());
    readers.send(&read).await.problem(413, "body-too-large");
}
