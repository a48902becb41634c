//! The cost of many idle and slow connections for a caller: `cargo bench --bench edge`.
//!
//! The gateway is a separate process in front of the simulated Zoho in this one. One well-behaved caller sends its
//! calls one after the other. In every second round there are 5,000 idle connections and 500 slow ones with a byte a
//! second: a third send heads, a third send bodies, and a third read their answers. The bench prints both 99th
//! percentiles of each pair of rounds and the median of their ratios. Results of a run are in `docs/benchmarks.md`.

#![expect(clippy::print_stdout, reason = "its table is its result")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use zoho_gateway::{
    os::clock,
    sandbox::{self, Settings},
};

const IDLE: usize = 5000;
const SLOW: usize = 500;
const CALLS: usize = 3000;
const ROUNDS: usize = 7;
const PATH: &str = "/people/api/v1/courses/588882000000289003/share";

#[tokio::main]
async fn main() {
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files })
        .expect("the limit of open files can be raised");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let zoho = listener.local_addr().expect("it is bound").to_string();
    let settings = Settings { requests: Some(u32::MAX), ..Settings::default() };
    tokio::spawn(sandbox::serve(listener, settings, std::future::pending()));
    let folder = tempfile::tempdir().expect("a folder");
    let (mut process, gateway) = gateway(&zoho, folder.path());

    p99(&gateway).await;
    let mut ratios = Vec::new();
    println!("undisturbed p99   with {IDLE} idle and {SLOW} slow connections   ratio");
    for _ in 0..ROUNDS {
        let alone = p99(&gateway).await;
        let load = load(&gateway).await;
        let loaded = p99(&gateway).await;
        drop(load);
        let ratio = loaded.as_secs_f64() / alone.as_secs_f64();
        println!("{alone:>15.0?}   {loaded:>46.0?}   {ratio:>5.2}");
        ratios.push(ratio);
        // The gateway closes the connections of the load before the next round.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[ROUNDS / 2]);
    process.kill().expect("it runs");
    process.wait().expect("it ended");
}

/// Starts the gateway, without a threshold for the measured call.
fn gateway(zoho: &str, folder: &std::path::Path) -> (Child, String) {
    let text = format!(
        r#"
        proxy.listen = "127.0.0.1:0"
        admin.listen = "127.0.0.1:0"
        routes."people.lms.get-shared-users".throttle = "off"
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
    let config = folder.join("gateway.toml");
    fs::write(&config, text).expect("the folder can be written to");
    let mut process = Command::new(env!("CARGO_BIN_EXE_zoho-gateway"))
        .args(["run".as_ref(), "--config".as_ref(), config.as_os_str()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was built");
    let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("the proxy listens")).expect("it listens");
    // Without a reader the gateway would drop its log.
    std::thread::spawn(move || lines.for_each(drop));
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    (process, line["address"].as_str().expect("an address").to_owned())
}

/// The 99th percentile of one caller's calls.
async fn p99(gateway: &str) -> Duration {
    let mut connection = connect(gateway).await;
    let mut spans = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = clock::now();
        let request = Request::get(PATH).header("host", "benchmark").body(Empty::new()).expect("a request");
        connection.ready().await.expect("an open connection");
        let (head, body) = connection.send_request(request).await.expect("an answer").into_parts();
        body.collect().await.expect("a whole answer");
        assert_eq!(head.status, StatusCode::OK);
        spans.push(clock::now() - began);
    }
    spans.sort();
    spans[CALLS * 99 / 100]
}

async fn connect(address: &str) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    sender
}

/// Opens the idle and the slow connections; `Drop` closes them.
async fn load(gateway: &str) -> JoinSet<()> {
    let mut load = JoinSet::new();
    for _ in 0..IDLE {
        let stream = TcpStream::connect(gateway).await.expect("it listens");
        load.spawn(async move {
            std::future::pending::<()>().await;
            drop(stream);
        });
    }
    for index in 0..SLOW {
        load.spawn(slowly(gateway.to_owned(), index));
    }
    // By then all of them are connected and sending.
    tokio::time::sleep(Duration::from_secs(2)).await;
    load
}

/// Sends or reads a byte a second, and starts again when the gateway closes the connection.
async fn slowly(gateway: String, index: usize) {
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: benchmark\r\nContent-Length: 1000\r\n");
    loop {
        // Not all at the same moment.
        tokio::time::sleep(Duration::from_millis(index as u64 * 2)).await;
        let Ok(mut stream) = TcpStream::connect(&gateway).await else { continue };
        let begin = match index % 3 {
            0 => head[..20].to_owned(),
            1 => format!("{head}\r\n"),
            _ => format!("GET {PATH} HTTP/1.1\r\nHost: benchmark\r\n\r\n").repeat(20),
        };
        let mut going = stream.write_all(begin.as_bytes()).await.is_ok();
        while going {
            tokio::time::sleep(Duration::from_secs(1)).await;
            going = match index % 3 {
                2 => matches!(stream.read(&mut [0]).await, Ok(1..)),
                _ => stream.write_all(b"x").await.is_ok(),
            };
        }
    }
}
