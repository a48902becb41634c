//! TCP, with and without TLS, and unix sockets behind one face.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, UnixListener},
};
use tokio_rustls::server::TlsStream;

use super::{
    ListenAddress, SocketAccess, Tls,
    connection::{Socket, Watch},
    idle::IdleConnections,
    unix::{self, NoSocket, SocketFile},
};
use crate::call::peer::{Exposure, SubjectName};

/// How much of an answer may lie in the system unsent. Without it that grows to megabytes for a slow caller, and the socket
/// takes nothing more before a third of them is gone: nobody could tell a caller that is slow from one that is not there.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// A handshake takes two round trips; one that takes longer gives way to others.
const SLOW_HANDSHAKE: Duration = Duration::from_secs(1);

/// A bound socket. A unix socket's file is removed when it is dropped.
#[derive(Debug)]
pub enum Listener {
    /// TCP, in the clear or with TLS.
    Tcp(TcpListener, Option<Arc<Tls>>),
    /// A unix domain socket behind its file, which goes first: what a successor binds there is not this one's to remove.
    Unix(SocketFile, UnixListener),
}

/// Why the gateway cannot listen on an address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refuses the address.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Address {
        /// The configured address.
        address: ListenAddress,
        /// The system's error.
        source: io::Error,
    },
    /// The system refuses the mode or the owner of a Unix socket.
    #[error("cannot give {address} the mode and owner of proxy.unix: {source}{}", access_hint(source))]
    Access {
        /// The configured address.
        address: ListenAddress,
        /// The system's error.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process, or another address of this gateway, has it: end that process or choose another address"
        }
        io::ErrorKind::PermissionDenied => "; choose a port above 1023 or a folder this user may write to",
        io::ErrorKind::NotFound => "; the socket's folder has to exist",
        _ => "",
    }
}

fn access_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; only root may give a socket to another user, and others only to a group that they belong to: leave owner \
             out, or let the gateway's user join the group"
        }
        _ => "",
    }
}

impl Listener {
    /// Binds an address; a Unix socket gets `access`.
    ///
    /// # Errors
    /// [`BindError`], with what to do about it.
    pub async fn bind(address: &ListenAddress, access: &SocketAccess) -> Result<Self, BindError> {
        let failed = |source| BindError::Address { address: address.clone(), source };
        match address {
            ListenAddress::Tcp { host, port } => {
                let listener = TcpListener::bind((host.as_str(), *port)).await.map_err(failed)?;
                Ok(Self::Tcp(listener, None))
            }
            ListenAddress::Unix(path) => match unix::bind(path, access) {
                Ok((listener, file)) => Ok(Self::Unix(file, listener)),
                Err(NoSocket::Bind(source)) => Err(failed(source)),
                Err(NoSocket::Access(source)) => Err(BindError::Access { address: address.clone(), source }),
            },
        }
    }

    /// Takes connections over TLS from now on. A Unix socket stays as it is: its mode says who gets in.
    #[must_use]
    pub fn over_tls(self, tls: &Arc<Tls>) -> Self {
        match self {
            Self::Tcp(listener, _) => Self::Tcp(listener, Some(Arc::clone(tls))),
            unix @ Self::Unix(..) => unix,
        }
    }

    /// Which way it can be reached; by other machines when the system does not say.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        match self {
            Self::Unix(..) => Exposure::Unix,
            Self::Tcp(listener, _) => match listener.local_addr() {
                Ok(address) if address.ip().is_loopback() => Exposure::Loopback,
                _ => Exposure::Network,
            },
        }
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// Those of accept(2); most pass by themselves.
    pub async fn accept(&self) -> io::Result<Arrival> {
        match self {
            Self::Tcp(listener, tls) => {
                let (stream, _) = listener.accept().await?;
                // They fail only for a connection that is already gone, which its reader will notice.
                let _ = stream.set_nodelay(true);
                #[cfg(target_os = "linux")]
                let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
                Ok(match tls {
                    None => Arrival::Plain(stream.into()),
                    Some(tls) => Arrival::Tls(stream.into(), Arc::clone(tls)),
                })
            }
            Self::Unix(_, listener) => Ok(Arrival::Plain(listener.accept().await?.0.into())),
        }
    }
}

impl fmt::Display for Listener {
    /// The address as bound, with the port that the system chose.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener, _) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(error) => error.fmt(f),
            },
            Self::Unix(file, _) => write!(f, "unix:{}", file.path().display()),
        }
    }
}

/// A connection as it was accepted.
#[derive(Debug)]
pub enum Arrival {
    /// Nothing stands before HTTP.
    Plain(Socket),
    /// A TLS handshake does.
    Tls(Socket, Arc<Tls>),
}

impl Arrival {
    /// Makes the handshake, where there is one, and says by which names a certificate knows the other end.
    ///
    /// # Errors
    /// Those of the handshake, and of one that takes its time while others need the place.
    pub(super) async fn greet(self, idle: &IdleConnections) -> io::Result<(Stream, Arc<[SubjectName]>)> {
        match self {
            Self::Plain(socket) => Ok((Stream::Plain(socket), Arc::default())),
            Self::Tls(socket, tls) => {
                let handshake = async {
                    tokio::select! {
                        biased;
                        outcome = tls.handshake(socket) => outcome,
                        () = idle.slow(SLOW_HANDSHAKE) => Err(io::Error::other("gave way to others")),
                    }
                };
                // Boxed, or plain connections would have to make room for it.
                let (stream, names) = Box::pin(handshake).await?;
                Ok((Stream::Tls(stream), names))
            }
        }
    }
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(Socket),
    /// Over TLS; boxed, since it is many times larger.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    pub(super) fn watch(&self) -> Watch {
        match self {
            Self::Plain(socket) => socket.watch(),
            Self::Tls(stream) => stream.get_ref().0.watch(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
