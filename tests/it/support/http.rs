//! A small HTTP/1.1 client that sends only what the test sets.

use std::{convert::Infallible, future::Future, io, pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::timeout,
};

use super::PATIENCE;

/// How long to read after the end of a connection: all bytes have arrived by then.
const LAST_READ: Duration = Duration::from_secs(1);

/// A call that can be sent any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    /// Whether the body is sent in chunks, without a length.
    chunked: bool,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A kept-alive connection.
pub(crate) struct Connection {
    sender: SendRequest<BoxBody<Bytes, Infallible>>,
    /// Ends with the connection.
    task: JoinHandle<()>,
    host: String,
}

pub(crate) fn call(method: &str, target: &str) -> Call {
    let method = method.parse().expect("a method");
    Call { method, target: target.to_owned(), headers: HeaderMap::new(), body: Bytes::new(), chunked: false }
}

pub(crate) fn get(target: &str) -> Call {
    call("GET", target)
}

pub(crate) fn put(target: &str) -> Call {
    call("PUT", target)
}

pub(crate) fn delete(target: &str) -> Call {
    call("DELETE", target)
}

/// Runs all of them at the same time, and waits for them.
pub(crate) async fn all<T: Send + 'static>(
    futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no call panics"));
    }
    results
}

impl Call {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        call(method, target)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.append(name, HeaderValue::from_str(value).expect("a header's value"));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a form as the body.
    pub(crate) fn form(self, form: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/x-www-form-urlencoded").body(form)
    }

    /// Sends the body in chunks.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Sends it on its own connection.
    pub(crate) async fn send(&self, address: &str) -> Answer {
        Connection::open(address).await.send(self).await
    }

    /// The same; `None` if no server listens, or it ends before the answer.
    pub(crate) async fn attempt(&self, address: &str) -> Option<Answer> {
        Connection::try_open(address).await.ok()?.try_send(self).await.ok()
    }

    /// The same as [`send`](Self::send), as a future for a task.
    pub(crate) fn sending(&self, address: &str) -> impl Future<Output = Answer> + Send + use<> {
        let (call, address) = (self.clone(), address.to_owned());
        async move { call.send(&address).await }
    }

    fn request(&self, host: &str) -> Request<BoxBody<Bytes, Infallible>> {
        let body = if self.chunked {
            let pieces: Vec<_> =
                self.body.chunks(10_000).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
            BodyExt::boxed(StreamBody::new(stream::iter(pieces)))
        } else {
            Full::new(self.body.clone()).boxed()
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.parse().unwrap_or_else(|error| panic!("{}: {error}", self.target));
        *request.headers_mut() = self.headers.clone();
        if !self.headers.contains_key("host") {
            request.headers_mut().insert("host", HeaderValue::from_str(host).expect("an address"));
        }
        request
    }
}

impl Connection {
    pub(crate) async fn open(address: &str) -> Self {
        Self::try_open(address).await.unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    async fn try_open(address: &str) -> io::Result<Self> {
        match address.strip_prefix("unix:") {
            Some(path) => Self::over(UnixStream::connect(path).await?, "gateway").await,
            None => Self::over(TcpStream::connect(address).await?, address).await,
        }
    }

    /// Uses a stream that is connected already.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        host: &str,
    ) -> io::Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // The calls show how it ends.
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, task, host: host.to_owned() })
    }

    pub(crate) async fn send(&mut self, call: &Call) -> Answer {
        self.try_send(call).await.unwrap_or_else(|error| panic!("{call:?}: {error}"))
    }

    /// The same as [`send`](Self::send), where an answer may be missing.
    pub(crate) async fn try_send(&mut self, call: &Call) -> io::Result<Answer> {
        let request = call.request(&self.host);
        let (sender, task) = (&mut self.sender, &mut self.task);
        let exchange = async move {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        let mut exchange = pin!(exchange);
        // A request that meets the end of its connection may be lost in hyper without an error (hyperium/hyper#4122),
        // so this also waits for the end.
        let outcome: Result<hyper::Result<Answer>, _> = tokio::select! {
            biased;
            outcome = timeout(PATIENCE, &mut exchange) => Ok(outcome.unwrap_or_else(|_| panic!("no answer: {call:?}"))),
            _ = task, if !task.is_finished() => timeout(LAST_READ, exchange).await,
        };
        outcome.map_err(|_| io::ErrorKind::ConnectionAborted)?.map_err(io::Error::other)
    }
}

impl Answer {
    /// The only value of a header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().expect("visible ASCII");
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        Some(value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
