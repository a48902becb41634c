//! A server that records every received byte, and answers as the test says.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::until;

/// A running upstream.
pub(crate) struct Upstream {
    address: String,
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    received: Vec<Received>,
    /// The connections with at least one request.
    connections: usize,
}

/// A request as received, its body without chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// Method, target and version.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The lines after a body in chunks.
    pub(crate) trailers: Vec<String>,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Sends these bytes and keeps the connection.
    Bytes(Vec<u8>),
    /// Sends these bytes and closes.
    Last(Vec<u8>),
    /// Waits, then sends these bytes.
    Late(Duration, Vec<u8>),
    /// Waits until the gate opens, then sends these bytes. An opened gate lets one answer through.
    Gated(Arc<Notify>, Vec<u8>),
    /// The same, and closes.
    GatedLast(Arc<Notify>, Vec<u8>),
    /// Closes without an answer.
    Close,
    /// Sends nothing as long as the caller stays.
    Never,
}

type Script = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

const GRANT: &str = r#"{"access_token":"1000.fake.token","token_type":"Bearer","expires_in":3600}"#;

impl Upstream {
    /// Answers calls with `script` and grants every token, without recording it.
    pub(crate) async fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::bare(move |request| match request.is_token_call() {
            true => Reply::json(200, GRANT),
            false => script(request),
        })
        .await
    }

    /// Answers everything with `script`.
    pub(crate) async fn bare(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let record = Arc::default();
        tokio::spawn(accept(listener, Arc::new(script), Arc::clone(&record)));
        Self { address, record }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The calls so far, without token requests.
    pub(crate) fn received(&self) -> Vec<Received> {
        let record = self.record.lock().expect("no reader panics");
        record.received.iter().filter(|request| !request.is_token_call()).cloned().collect()
    }

    /// Resolves when this many calls have come.
    pub(crate) async fn until_received(&self, calls: usize) {
        until(format!("{calls} calls have come"), async || self.received().len() >= calls).await;
    }

    /// The only call so far.
    #[track_caller]
    pub(crate) fn only(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "{received:#?}");
        received.remove(0)
    }

    pub(crate) fn token_calls(&self) -> usize {
        let record = self.record.lock().expect("no reader panics");
        record.received.iter().filter(|request| request.is_token_call()).count()
    }

    /// How many connections the requests used.
    pub(crate) fn connections(&self) -> usize {
        self.record.lock().expect("no reader panics").connections
    }
}

impl Reply {
    /// A whole answer with a JSON body.
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::with(status, "Content-Type: application/json\r\n", body.as_bytes())
    }

    /// A whole answer; each header line ends in CRLF.
    pub(crate) fn with(status: u16, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        Self::Bytes([head.as_bytes(), body].concat())
    }

    /// The same answer, later.
    pub(crate) fn after(self, delay: Duration) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Late(delay, bytes),
            other => panic!("{other:?} cannot be delayed"),
        }
    }

    /// The same answer, once the gate opens.
    pub(crate) fn behind(self, gate: &Arc<Notify>) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Gated(Arc::clone(gate), bytes),
            other => panic!("{other:?} cannot wait for a gate"),
        }
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    fn is_token_call(&self) -> bool {
        self.line.starts_with("POST /oauth/v2/token")
    }
}

async fn accept(listener: TcpListener, script: Script, record: Arc<Mutex<Record>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, Arc::clone(&script), Arc::clone(&record)));
    }
}

/// One connection. Any error ends it: the gateway may close it at any time.
async fn converse(mut stream: TcpStream, script: Script, record: Arc<Mutex<Record>>) -> Option<()> {
    let mut buffer = Vec::new();
    for count in 0.. {
        let request = read(&mut stream, &mut buffer).await?;
        {
            let mut record = record.lock().expect("no reader panics");
            record.connections += usize::from(count == 0);
            record.received.push(request.clone());
        }
        match script(&request) {
            Reply::Bytes(bytes) => stream.write_all(&bytes).await.ok()?,
            Reply::Late(delay, bytes) => {
                tokio::time::sleep(delay).await;
                stream.write_all(&bytes).await.ok()?;
            }
            Reply::Gated(gate, bytes) => {
                gate.notified().await;
                stream.write_all(&bytes).await.ok()?;
            }
            Reply::Last(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                return stream.shutdown().await.ok();
            }
            Reply::GatedLast(gate, bytes) => {
                gate.notified().await;
                stream.write_all(&bytes).await.ok()?;
                return stream.shutdown().await.ok();
            }
            Reply::Close => return None,
            Reply::Never => while stream.read_u8().await.is_ok() {},
        }
    }
    None
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    let head = take_until(stream, buffer, b"\r\n\r\n").await?;
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into())).collect();
    let mut request = Received { line, headers, body: Vec::new(), trailers: Vec::new() };
    if request.header("transfer-encoding") == ["chunked"] {
        loop {
            let size = take_until(stream, buffer, b"\r\n").await?;
            let size = usize::from_str_radix(std::str::from_utf8(&size).ok()?.trim_end(), 16).ok()?;
            if size == 0 {
                loop {
                    match take_until(stream, buffer, b"\r\n").await? {
                        end if end == b"\r\n" => return Some(request),
                        line => request.trailers.push(String::from_utf8_lossy(&line).trim_end().to_owned()),
                    }
                }
            }
            request.body.extend(take(stream, buffer, size).await?);
            take(stream, buffer, 2).await?;
        }
    }
    let length = request.header("content-length").first().and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = take(stream, buffer, length).await?;
    Some(request)
}

async fn take_until(stream: &mut TcpStream, buffer: &mut Vec<u8>, end: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = buffer.windows(end.len()).position(|bytes| bytes == end) {
            return Some(buffer.drain(..at + end.len()).collect());
        }
        fill(stream, buffer).await?;
    }
}

async fn take(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        fill(stream, buffer).await?;
    }
    Some(buffer.drain(..length).collect())
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(buffer).await.ok()? > 0).then_some(())
}
