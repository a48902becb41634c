//! Measures how much of a threshold is used: `cargo bench --bench allowance`.
//!
//! Runs the whole gateway in front of the simulated Zoho, both in this process: 30 calls in any second, a lock of 5 s
//! after one call too many, 0 to 20 ms of delay each way, 40 callers that send all the time, 60 windows. Prints the
//! share of 30 calls x 60 windows that Zoho accepted. Results of a run are in `docs/benchmarks.md`.

#![expect(clippy::print_stdout, reason = "its table is its result")]

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use zoho_gateway::{
    app::{App, Start},
    config,
    sandbox::{self, Settings},
};

const CALLERS: usize = 40;
const REQUESTS: u32 = 30;
const WINDOW: Duration = Duration::from_secs(1);
const WINDOWS: u32 = 60;
const PATH: &str = "/people/api/v1/courses/588882000000289003/share";

#[tokio::main]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let zoho = listener.local_addr().expect("it is bound").to_string();
    let settings = Settings {
        requests: Some(REQUESTS),
        window: Some(WINDOW),
        lock: Some(5 * WINDOW),
        delay: Duration::from_millis(20),
        ..Settings::default()
    };
    tokio::spawn(sandbox::serve(listener, settings, std::future::pending()));

    let state = tempfile::tempdir().expect("a folder");
    let gateway = gateway(&zoho, &state.path().display().to_string()).await;
    for _ in 0..CALLERS {
        tokio::spawn(call_for_ever(gateway.clone()));
    }
    tokio::time::sleep(WINDOW * WINDOWS).await;
    let stats: Value =
        serde_json::from_slice(&get(&mut connect(&zoho).await, "/__sandbox/stats").await.1).expect("JSON");
    let apis = stats["apis"].as_object().expect("one API");
    let tally = apis.values().next().expect("one API");
    let share = tally["accepted"].as_f64().unwrap_or_default() / f64::from(REQUESTS * WINDOWS) * 100.0;
    println!(
        "{share:.1} % of the allowance used; {} locks, at most {} arrivals in any window, tightest margin {} ms",
        tally["locks"], tally["most_in_any_window"], tally["tightest_margin_ms"]
    );
}

/// Starts a gateway with its state in `state`. Returns its address.
async fn gateway(zoho: &str, state: &str) -> String {
    let text = format!(
        r#"
        proxy.listen = "127.0.0.1:0"
        admin.listen = "127.0.0.1:0"
        state.dir = "{state}"
        routes."people.lms.get-shared-users" = {{ requests = {REQUESTS}, window = "1s", lock = "5s" }}
        [accounts.main]
        client_id = "{}"
        client_secret = "{}"
        refresh_token = "{}"
        endpoints = {{ accounts = "http://{zoho}", people = "http://{zoho}", calendar = "http://{zoho}" }}
        "#,
        sandbox::CLIENT_ID,
        sandbox::CLIENT_SECRET,
        sandbox::REFRESH_TOKEN
    );
    let config = config::parse("benchmark", &text, []).expect("a valid configuration");
    let app = App::bind(config, Start::default()).await.expect("free ports");
    let address = app.proxy_addresses().remove(0);
    tokio::spawn(app.run(std::future::pending, std::future::pending));
    address
}

async fn call_for_ever(gateway: String) -> Infallible {
    let mut connection = connect(&gateway).await;
    loop {
        let (status, body) = get(&mut connection, PATH).await;
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    }
}

async fn connect(address: &str) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    sender
}

async fn get(connection: &mut SendRequest<Empty<Bytes>>, path: &str) -> (StatusCode, Bytes) {
    let request = Request::get(path).header("host", "benchmark").body(Empty::new()).expect("a request");
    connection.ready().await.expect("an open connection");
    let (head, body) = connection.send_request(request).await.expect("an answer").into_parts();
    (head.status, body.collect().await.expect("a whole answer").to_bytes())
}
