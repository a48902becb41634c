//! The live page in a browser, and the stream of events that it follows.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Browser, COURSE, Call, Gateway, HASH_OF_ONE, SHARE, Sandbox, all_that_comes, exchange, get, put, until,
};

const ROUTE: &str = "people.lms.share-course";
const API: &str = "PUT /api/v1/courses/{id}/share";

/// How many pages may be open.
const STREAMS: usize = 16;

fn share(wait: u32) -> Call {
    let call = put(COURSE).form(SHARE).header("authorization", "Bearer one");
    call.header("prefer", &format!("wait={wait}"))
}

/// An expression for the text of an element.
fn text(selector: &str) -> String {
    format!("(document.querySelector('{selector}')?.textContent ?? '')")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_fills_locks_and_recovers() {
    let zoho = Sandbox::start(&["--window", "3s"]);
    let setup = Gateway::before(&zoho)
        .set("callers.course-sync.key_sha256", HASH_OF_ONE)
        .set("callers.course-sync.accounts", json!(["main"]))
        .set("callers.course-sync.allow", json!(["*"]));
    let mut gateway = setup.route(ROUTE, "requests", 3).route(ROUTE, "window", "3s").route(ROUTE, "lock", "3s").start();
    let browser = Browser::open(&gateway.admin_url()).await;
    browser.until(&format!("{} === 'Live'", text("#connection"))).await;
    browser.until(&format!("{}.startsWith('No call was made yet')", text("#no-buckets"))).await;
    assert_eq!(browser.value(&text("#headline")).await, "Healthy: no call waits, no route is locked");

    for _ in 0..3 {
        gateway.send(&share(0)).await.is_zohos(200);
    }
    let waits = tokio::spawn(share(60).sending(gateway.address()));
    let card = "#buckets .card";
    browser.until(&format!("{} === '1 waiting'", text(".card .state"))).await;
    assert_eq!(browser.value(&text(&format!("{card} h3"))).await, ROUTE);
    let meter =
        browser.value("[...document.querySelectorAll('#buckets meter')].map((one) => [one.value, one.max])").await;
    assert_eq!(meter, json!([[3, 3]]));
    assert_eq!(browser.value(&text(&format!("{card} tbody th"))).await, "course-sync");
    let next = browser.value(&text(&format!("{card} .next"))).await.to_string();
    assert!(next.contains("next slot free at ") && next.contains("Z ("), "{next}");
    waits.await.expect("no panic").is_zohos(200);
    browser.until(&format!("{}.startsWith('Healthy')", text("#headline"))).await;

    zoho.lock(API, 3.0).await;
    gateway.send(&share(0)).await.problem(429, "threshold-locked");
    browser.until(&format!("{} === 'locked'", text(".card .state"))).await;
    let why = browser.value(&text(&format!("{card} .lock"))).await.to_string();
    assert!(why.contains("Locked until ") && why.contains("so another program uses this login"), "{why}");
    assert!(browser.value(&text("#headline")).await.to_string().contains("1 route locked"));
    // Both count down to the same moment, in milliseconds since 1970.
    let ends = "['#alerts [data-end]', '#buckets .card .lock'].map((one) => +document.querySelector(one).dataset.end)";
    let ends: Vec<f64> = serde_json::from_value(browser.value(ends).await).expect("two moments");
    assert!((ends[0] - ends[1]).abs() < 500.0, "{ends:?}");
    browser.until(&format!("{}.startsWith('Healthy')", text("#headline"))).await;
    assert_eq!(browser.value(&text("#last-lock h3")).await, ROUTE);
    let refused = browser.value(&text("#refusals li")).await.to_string();
    assert!(refused.contains("429 threshold-locked") && refused.contains("course-sync"), "{refused}");

    let search = "(document.getElementById('search').value = 'no such route', \
                  document.getElementById('search').dispatchEvent(new Event('input')))";
    browser.value(search).await;
    browser.until(&format!("{} === 'No window matches the search.'", text("#no-buckets"))).await;
    let errors = browser.errors().await;
    assert!(errors.is_empty(), "{errors:?}");
    gateway.kill_now();
    browser.until(&format!("{}.startsWith('Connection lost')", text("#connection"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_loads_nothing_from_elsewhere() {
    let zoho = Sandbox::boundless();
    let gateway = Gateway::before(&zoho).start();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/parts.js", "text/javascript; charset=utf-8"),
        ("/words.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let file = gateway.admin(path).await;
        assert_eq!((file.status, file.header("content-type")), (200, Some(kind)), "{path}");
        let policy = file.header("content-security-policy").expect("a policy").to_owned();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        let text = file.text().replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http://", "https://", "innerHTML", "insertAdjacentHTML", "eval("] {
            assert!(!text.contains(foreign), "{path}: {foreign}");
        }
        gateway.send(&get(path)).await.problem(404, "unknown-route");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_few_and_end_with_the_gateway() {
    let zoho = Sandbox::boundless();
    let mut gateway = Gateway::before(&zoho).start();
    let request = "GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = TcpStream::connect(gateway.admin_address()).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
        streams.push(stream);
    }
    let refused = exchange(gateway.admin_address(), request).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 5"), "{refused}");
    let last = streams.pop().expect("there are some");
    drop(last);
    until("a stream is free again", async || {
        let mut stream = TcpStream::connect(gateway.admin_address()).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.is_ok_and(|_| &first == b"HTTP/1.1 200")
    })
    .await;
    gateway.terminate();
    for stream in streams {
        let events = all_that_comes(stream).await;
        assert!(events.contains("data: {\"at\":\""), "{events}");
    }
    assert_eq!(gateway.wait(), Some(0));
}
