//! Opens a stream to the server: TCP, TLS or Unix socket, then AUTH and SELECT.

use std::{
    io::{
        self,
        ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof},
    },
    sync::Arc,
    time::Duration,
};

use redis::Cmd;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{RunError, Server, Settings};
use crate::secret::credential::Credential;

/// How often TCP checks a silent connection: a server that vanished must not keep a subscription waiting.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How long the kernel waits for an acknowledgement before it closes the connection. A frozen process does not matter,
/// because its kernel acknowledges.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take. Less than the probe's timeout, which says nothing about TLS.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// The longest answer to AUTH and SELECT; those of Redis have less than 200 bytes.
const LONGEST_ANSWER: usize = 4096;

/// An open stream, whatever is below it.
pub(super) type Stream = Box<dyn Duplex>;

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Opens a stream to a server that has data, and prepares it for commands.
pub(super) async fn open(settings: &Settings, server: &Server) -> Result<Stream, RunError> {
    let mut stream = stream(settings, server).await.map_err(unreachable)?;
    authenticate(&mut stream, settings.user.as_deref(), settings.password.as_ref()).await?;
    if settings.database != 0 {
        prepare(&mut stream, redis::cmd("SELECT").arg(settings.database)).await?;
    }
    Ok(stream)
}

/// The same for a Sentinel.
pub(super) async fn open_sentinel(settings: &Settings, sentinel: &Server) -> Result<Stream, RunError> {
    let mut stream = stream(settings, sentinel).await.map_err(unreachable)?;
    authenticate(&mut stream, None, settings.sentinel_password.as_ref()).await?;
    Ok(stream)
}

async fn stream(settings: &Settings, server: &Server) -> io::Result<Stream> {
    match server {
        Server::Tcp { host, port } => Ok(Box::new(tcp(host, *port).await?)),
        Server::Tls { host, port } => {
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let tls = TlsConnector::from(Arc::clone(&settings.tls));
            // A server without TLS waits for more.
            match timeout(HANDSHAKE, tls.connect(name, tcp(host, *port).await?)).await {
                Ok(stream) => Ok(Box::new(stream?)),
                Err(_) => Err(io::Error::other("the TLS handshake takes too long; does the server speak TLS?")),
            }
        }
        Server::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

/// Signs in, unless there is neither a user nor a password.
async fn authenticate(stream: &mut Stream, user: Option<&str>, password: Option<&Credential>) -> Result<(), RunError> {
    if user.is_none() && password.is_none() {
        return Ok(());
    }
    let password = password.map(Credential::newest);
    let mut auth = redis::cmd("AUTH");
    auth.arg(user).arg(password.as_ref().map_or("", |password| password.expose()));
    prepare(stream, &auth).await
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(stream)
}

/// Sends a command that is answered by one line, and reads that line and nothing after it.
async fn prepare(stream: &mut Stream, command: &Cmd) -> Result<(), RunError> {
    stream.write_all(&command.get_packed_command()).await.map_err(unreachable)?;
    stream.flush().await.map_err(unreachable)?;
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_ANSWER {
            return Err(RunError::Unreachable("the answer to AUTH or SELECT is too long; is this Redis?".to_owned()));
        }
        line.push(stream.read_u8().await.map_err(unreachable)?);
    }
    let line = String::from_utf8_lossy(&line);
    match line.trim_end().split_at_checked(1) {
        Some(("+", _)) => Ok(()),
        Some(("-", error)) => Err(RunError::Refused(without_arguments(error).to_owned())),
        _ => Err(RunError::Unreachable("the answer to AUTH or SELECT is malformed; is this Redis?".to_owned())),
    }
}

/// A server's error without the arguments of a command that it does not know: they may be a password.
pub(super) fn without_arguments(error: &str) -> &str {
    error.split_once(", with args").map_or(error, |(error, _)| error)
}

fn unreachable(error: io::Error) -> RunError {
    let words = match error.kind() {
        UnexpectedEof | ConnectionReset | BrokenPipe => {
            "the server closed the connection; does it expect TLS?".to_owned()
        }
        _ => error.to_string(),
    };
    RunError::Unreachable(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_to_its_end_and_not_beyond() {
        for (answer, expected) in [
            ("+OK\r\n", Ok(())),
            ("-WRONGPASS no\r\n", Err(RunError::Refused("WRONGPASS no".to_owned()))),
            (
                "-ERR unknown command 'AUTH', with args beginning with: 'secret' \r\n",
                Err(RunError::Refused("ERR unknown command 'AUTH'".to_owned())),
            ),
        ] {
            let (near, mut far) = tokio::io::duplex(8192);
            far.write_all(format!("{answer}next").as_bytes()).await.unwrap();
            let mut stream: Stream = Box::new(near);
            assert_eq!(prepare(&mut stream, &redis::cmd("AUTH")).await, expected, "{answer}");
            let mut rest = [0; 4];
            stream.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"next");
        }
    }

    #[tokio::test]
    async fn a_server_of_another_kind_is_recognised() {
        for answer in ["HTTP/1.1 400 Bad Request\r\n".to_owned(), "\r\n".to_owned(), "x".repeat(5000), String::new()] {
            let (near, mut far) = tokio::io::duplex(8192);
            far.write_all(answer.as_bytes()).await.unwrap();
            drop(far);
            let outcome = prepare(&mut (Box::new(near) as Stream), &redis::cmd("AUTH")).await;
            assert!(matches!(outcome, Err(RunError::Unreachable(_))), "{answer:?}: {outcome:?}");
        }
    }
}
