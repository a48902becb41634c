//! One type for TCP sockets, with and without TLS, and Unix sockets.

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, UnixListener, lookup_host};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::{
    ListenAddress, SocketAccess, Tls,
    connection::{Socket, Watch},
    idle::IdleConnections,
    inherited::OpenSocket,
    unix::{self, BACKLOG, SocketError, SocketFile},
};
use crate::call::peer::{ClientAddress, Exposure, SubjectName};

/// How many unsent bytes of an answer the system may hold. Without a limit they grow to megabytes for a slow caller,
/// and the socket takes nothing more until a third of them is sent: a slow caller would look like an absent one.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// A handshake takes two round trips. One that takes longer may be closed for another connection.
const SLOW_HANDSHAKE: Duration = Duration::from_secs(1);

/// A bound socket. The file of a Unix socket is removed when this is dropped.
#[derive(Debug)]
pub enum Listener {
    /// TCP, with TLS or without.
    Tcp(TcpListener, Option<Arc<Tls>>),
    /// A Unix socket. Its file is dropped first, so a file that a successor binds is never removed.
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
            "; another process or another address of this gateway uses it: end that process or choose another address"
        }
        io::ErrorKind::PermissionDenied => "; choose a port above 1023 or a folder this user may write to",
        io::ErrorKind::NotFound => "; the folder of the socket must exist",
        _ => "",
    }
}

fn access_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; only root may give a socket to another user, and other users only to one of their groups: leave owner out, \
             or add the gateway's user to the group"
        }
        _ => "",
    }
}

/// Listens on the first address of this name that the system allows.
async fn bind_tcp(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart does not wait for the old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
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
                let listener = bind_tcp(host, *port).await.map_err(failed)?;
                Ok(Self::Tcp(listener, None))
            }
            ListenAddress::Unix(path) => match unix::bind(path, access) {
                Ok((listener, file)) => Ok(Self::Unix(file, listener)),
                Err(SocketError::Bind(source)) => Err(failed(source)),
                Err(SocketError::Access(source)) => Err(BindError::Access { address: address.clone(), source }),
            },
        }
    }

    /// Uses a socket that another process has opened. `is_own`: that process has left it to this one.
    ///
    /// # Errors
    /// The system refuses to use it without waiting.
    pub fn adopt(socket: OpenSocket, is_own: bool) -> io::Result<Self> {
        match socket {
            OpenSocket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(socket)?, None))
            }
            OpenSocket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                let socket = UnixListener::from_std(socket)?;
                Ok(Self::Unix(SocketFile::of(&socket, is_own), socket))
            }
        }
    }

    /// The socket, for another process.
    ///
    /// # Errors
    /// The process has too many open files.
    pub fn share(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(socket, _) => socket.as_fd().try_clone_to_owned(),
            Self::Unix(_, socket) => socket.as_fd().try_clone_to_owned(),
        }
    }

    /// Stops to listen here; another process goes on with the same socket.
    pub(super) fn leave(self) {
        if let Self::Unix(mut file, _) = self {
            file.leave();
        }
    }

    /// Accepts connections over TLS. A Unix socket stays unchanged: its mode controls access.
    #[must_use]
    pub fn over_tls(self, tls: &Arc<Tls>) -> Self {
        match self {
            Self::Tcp(listener, _) => Self::Tcp(listener, Some(Arc::clone(tls))),
            unix @ Self::Unix(..) => unix,
        }
    }

    /// From where the socket can be reached; from other machines if the system does not say.
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
    /// Those of accept(2); most are temporary.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, tls) => {
                let (stream, address) = listener.accept().await?;
                // These fail only for a closed connection, which its reader notices.
                let _ = stream.set_nodelay(true);
                #[cfg(target_os = "linux")]
                let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
                Ok(Accepted { socket: stream.into(), address: ClientAddress::Tcp(address), tls: tls.clone() })
            }
            Self::Unix(_, listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { socket: stream.into(), address: ClientAddress::Unix, tls: None })
            }
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

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    socket: Socket,
    /// The other end.
    pub(super) address: ClientAddress,
    /// With TLS, a handshake comes before HTTP.
    tls: Option<Arc<Tls>>,
}

/// The bytes of HTTP. The TLS stream is boxed because it is many times larger than the socket.
pub(super) type Stream = Either<Socket, Box<TlsStream<Socket>>>;

impl Accepted {
    /// Tells when the caller hangs up.
    pub(super) fn watch(&self) -> Watch {
        self.socket.watch()
    }

    /// Makes the TLS handshake, where there is one. Gives the names in the caller's certificate.
    ///
    /// # Errors
    /// Those of the handshake, also when it is slow and others need the connection.
    pub(super) async fn handshake(self, idle: &IdleConnections) -> io::Result<(Stream, Arc<[SubjectName]>)> {
        let Some(tls) = self.tls else { return Ok((Either::Left(self.socket), Arc::default())) };
        let handshake = async {
            tokio::select! {
                biased;
                outcome = tls.handshake(self.socket) => outcome,
                () = idle.evicted_after(SLOW_HANDSHAKE) => Err(io::Error::other("closed for another connection")),
            }
        };
        // Boxed, so that plain connections need no memory for it.
        let (stream, names) = Box::pin(handshake).await?;
        Ok((Either::Right(stream), names))
    }
}
