//! A connection to a server, directly or by a tunnel through a proxy (CONNECT, RFC 9110 section 9.3.6).
//!
//! The client uses the stream for TLS or plain HTTP as if it led to the server itself. hyper-util's `Tunnel` is not
//! used: it hides the status of the proxy's answer, accepts only 200 as success, and leads every http:// address
//! without a port to 443.

use std::{
    io,
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;
use http::{StatusCode, Uri, uri::Scheme};
use hyper::rt::{Read, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::{BoxError, Service};

use super::{Egress, Proxy, Tcp};

/// The longest head of a proxy's answer.
const LONGEST_HEAD: usize = 16 * 1024;

/// The most fields in such a head.
const MOST_FIELDS: usize = 100;

/// Connects by the rules of an [`Egress`].
#[derive(Debug, Clone)]
pub struct Connector {
    egress: Egress,
    tcp: Tcp,
    to_proxy: HttpsConnector<Tcp>,
}

/// The proxy made no tunnel, so nothing was sent to the server.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy} {error}")]
pub struct NoTunnel {
    proxy: String,
    #[source]
    error: TunnelError,
}

/// Why the proxy made no tunnel.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("could not be reached")]
    Unreached(#[source] BoxError),
    #[error("answered CONNECT with {0}{hint}", hint = hint(*.0, *.1))]
    Refused(StatusCode, bool),
    #[error("answered CONNECT with something other than HTTP")]
    NotHttp,
    #[error("answered CONNECT with a head that does not end")]
    TooLong,
    #[error("answered CONNECT with bytes after its head")]
    Early,
    #[error("closed the connection without an answer to CONNECT")]
    Closed,
    #[error("lost the connection during CONNECT")]
    Io(#[source] io::Error),
}

impl Connector {
    pub(super) fn new(egress: Egress, tcp: Tcp, to_proxy: HttpsConnector<Tcp>) -> Self {
        Self { egress, tcp, to_proxy }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.tcp.poll_ready(context))?;
        self.to_proxy.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Some(proxy) = self.egress.proxy_for(&uri).cloned() else {
            let connecting = self.tcp.call(uri);
            return Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) });
        };
        let connecting = self.to_proxy.call(proxy.uri().clone());
        Box::pin(async move {
            let tunnel = async {
                let stream = connecting.await.map_err(TunnelError::Unreached)?;
                tunnel(stream, &uri, &proxy).await
            };
            tunnel.await.map_err(|error| NoTunnel { proxy: proxy.to_string(), error }.into())
        })
    }
}

impl NoTunnel {
    /// The error type of RFC 9209 section 2.3; `None` where the type of the source says more.
    pub(super) fn kind(&self) -> Option<&'static str> {
        match &self.error {
            TunnelError::Unreached(_) => None,
            TunnelError::Refused(status, _) if status.is_server_error() => Some("destination_unavailable"),
            TunnelError::Refused(..) => Some("connection_refused"),
            TunnelError::NotHttp | TunnelError::TooLong | TunnelError::Early => Some("http_protocol_error"),
            TunnelError::Closed | TunnelError::Io(_) => Some("connection_terminated"),
        }
    }
}

/// What an operator can do about a status.
fn hint(status: StatusCode, has_credentials: bool) -> &'static str {
    match (status, has_credentials) {
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, false) => {
            ": it requires a user and a password (upstream.proxy_user, proxy_password)"
        }
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, true) => ": it rejects the user and the password",
        _ => "",
    }
}

/// Asks the proxy for a tunnel to that server.
async fn tunnel<S: Read + Write + Unpin>(stream: S, server: &Uri, proxy: &Proxy) -> Result<S, TunnelError> {
    let mut io = TokioIo::new(stream);
    io.write_all(&request(server, proxy)).await.map_err(TunnelError::Io)?;
    io.flush().await.map_err(TunnelError::Io)?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        if io.read_buf(&mut answer).await.map_err(TunnelError::Io)? == 0 {
            return Err(TunnelError::Closed);
        }
        while let Some((status, end)) = head(&answer)? {
            match status {
                // The final answer follows (RFC 9110 section 15.2).
                status if status.is_informational() => drop(answer.drain(..end)),
                // The server does not speak first, so these bytes do not come from it.
                status if status.is_success() && end < answer.len() => return Err(TunnelError::Early),
                status if status.is_success() => return Ok(io.into_inner()),
                status => return Err(TunnelError::Refused(status, proxy.has_credentials())),
            }
        }
        if answer.len() > LONGEST_HEAD {
            return Err(TunnelError::TooLong);
        }
    }
}

fn request(server: &Uri, proxy: &Proxy) -> Vec<u8> {
    let host = server.host().unwrap_or_default();
    let default = if server.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
    let port = server.port_u16().unwrap_or(default);
    let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(authorization) = proxy.authorization() {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(authorization.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The status of an answer and the end of its head, once the head is complete.
fn head(answer: &[u8]) -> Result<Option<(StatusCode, usize)>, TunnelError> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(answer) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(end)) => {
            let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(TunnelError::NotHttp)?;
            Ok(Some((status, end)))
        }
        Err(httparse::Error::TooManyHeaders) => Err(TunnelError::TooLong),
        Err(_) => Err(TunnelError::NotHttp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome of a tunnel when a proxy sends these pieces, and what the proxy was asked.
    async fn answered(pieces: &'static [&'static str], proxy: &str) -> (Result<(), TunnelError>, String) {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let proxying = tokio::spawn(async move {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                theirs.read_buf(&mut asked).await.unwrap();
            }
            for piece in pieces {
                theirs.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
            (theirs, String::from_utf8(asked).unwrap())
        });
        let server = "https://people.zoho.com".parse().unwrap();
        let proxy = Proxy::parse(proxy).unwrap();
        let outcome = tokio::join!(tunnel(TokioIo::new(ours), &server, &proxy), async {
            let (theirs, asked) = proxying.await.unwrap();
            drop(theirs);
            asked
        });
        (outcome.0.map(drop), outcome.1)
    }

    #[tokio::test]
    async fn any_2xx_makes_a_tunnel() {
        for pieces in [
            &["HTTP/1.1 200 Connection established\r\n\r\n"][..],
            &["HTTP/1.0 200 OK\r\nProxy-agent: Squid\r\n\r\n"],
            &["HT", "TP/1.1 2", "00\r\nA: b", "\r\n", "\r", "\n"],
            &["HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"],
            &["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
        ] {
            let (outcome, asked) = answered(pieces, "http://proxy").await;
            assert!(outcome.is_ok(), "{pieces:?}: {outcome:?}");
            assert_eq!(asked, "CONNECT people.zoho.com:443 HTTP/1.1\r\nHost: people.zoho.com:443\r\n\r\n");
        }
    }

    #[tokio::test]
    async fn each_error_says_what_the_proxy_did() {
        for (pieces, proxy, words) in [
            (
                &["HTTP/1.1 407 Authentication Required\r\n\r\n"][..],
                "http://proxy",
                "it requires a user and a password",
            ),
            (&["HTTP/1.1 407 Authentication Required\r\n\r\n"], "http://u:p@proxy", "it rejects the user"),
            (&["HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno\r\n"], "http://proxy", "403 Forbidden"),
            (&["HTTP/1.1 502 Bad Gateway\r\n\r\n<html>"], "http://proxy", "502 Bad Gateway"),
            (&["HTTP/1.1 302 Found\r\nLocation: http://login\r\n\r\n"], "http://proxy", "302 Found"),
            (&["<html>log in</html>\r\n\r\n"], "http://proxy", "something other than HTTP"),
            (&["SSH-2.0-OpenSSH\r\n"], "http://proxy", "something other than HTTP"),
            (&["HTTP/1.1 200 OK\r\n\r\nhello"], "http://proxy", "bytes after its head"),
            (&["HTTP/1.1 20"], "http://proxy", "closed the connection"),
            (&[], "http://proxy", "closed the connection"),
        ] {
            let (outcome, _) = answered(pieces, proxy).await;
            let fault = outcome.unwrap_err().to_string();
            assert!(fault.contains(words), "{pieces:?}: {fault}");
        }
    }

    #[tokio::test]
    async fn an_endless_head_is_not_read_for_ever() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let endless = tokio::spawn(async move {
            let start = theirs.write_all(b"HTTP/1.1 200 OK\r\nA: ").await;
            while start.is_ok() && theirs.write_all(&[b'x'; 512]).await.is_ok() {}
        });
        let (server, proxy) = ("http://a".parse().unwrap(), Proxy::parse("http://proxy").unwrap());
        assert!(matches!(tunnel(TokioIo::new(ours), &server, &proxy).await.err(), Some(TunnelError::TooLong)));
        endless.await.unwrap();
    }

    #[test]
    fn connect_has_the_servers_port_and_the_proxys_password() {
        let asked = |server: &str, proxy| {
            String::from_utf8(request(&server.parse().unwrap(), &Proxy::parse(proxy).unwrap())).unwrap()
        };
        assert!(asked("http://a/b", "http://proxy").starts_with("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"));
        assert!(asked("https://[2001:db8::1]", "http://proxy").starts_with("CONNECT [2001:db8::1]:443 "));
        assert!(
            asked("https://a:8443", "http://user:pass@proxy").contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n")
        );
    }
}
