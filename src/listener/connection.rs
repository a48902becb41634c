//! One connection's socket. hyper reads and writes it, and a waiting call watches it for the caller's hang-up.
//!
//! Reading does not show a hang-up in time: a second request is not read before the first is answered, a large body is
//! not read before its call has a slot, and the peer's FIN comes after those bytes. The kernel reports a FIN and a RST
//! independently of them (EPOLLRDHUP, EPOLLHUP), and the sockets are already registered for these events.

use std::{
    io,
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, tcp, unix},
};

/// A TCP or Unix socket.
#[derive(Debug)]
pub struct Socket {
    reader: Reader,
    writer: Arc<Writer>,
}

#[derive(Debug)]
enum Reader {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

/// The watchers share it, so it is used by reference.
#[derive(Debug)]
enum Writer {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

/// Tells when the peer of a connection hangs up.
#[derive(Debug, Clone)]
pub(super) struct Watch(Arc<Writer>);

impl Watch {
    /// Resolves when the peer has closed the connection or its sending half, or the connection broke.
    pub(super) async fn hung_up(self) {
        // macOS and other systems have no such event; there hyper sees the end only by reading.
        #[cfg(target_os = "linux")]
        {
            let outcome = match &*self.0 {
                // No interest names only the end. PRIORITY adds urgent data, for which the sockets are not registered.
                Writer::Tcp(half) => half.ready(Interest::PRIORITY).await,
                Writer::Unix(half) => half.ready(Interest::PRIORITY).await,
            };
            if outcome.is_ok_and(|ready| ready.is_read_closed()) {
                return;
            }
        }
        std::future::pending().await
    }
}

impl Socket {
    pub(super) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.writer))
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader: Reader::Tcp(reader), writer: Arc::new(Writer::Tcp(writer)) }
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader: Reader::Unix(reader), writer: Arc::new(Writer::Unix(writer)) }
    }
}

impl Writer {
    fn write(
        &self,
        context: &mut Context<'_>,
        attempt: impl Fn(&Self) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(match self {
                Self::Tcp(half) => half.as_ref().poll_write_ready(context),
                Self::Unix(half) => half.as_ref().poll_write_ready(context),
            })?;
            match attempt(self) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        match SockRef::from(self).shutdown(Shutdown::Write) {
            // The peer has already closed the connection.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            outcome => outcome,
        }
    }
}

impl AsFd for Writer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(half) => half.as_ref().as_fd(),
            Self::Unix(half) => half.as_ref().as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().reader {
            Reader::Tcp(half) => Pin::new(half).poll_read(context, buffer),
            Reader::Unix(half) => Pin::new(half).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer.write(context, |writer| match writer {
            Writer::Tcp(half) => half.try_write(bytes),
            Writer::Unix(half) => half.try_write(bytes),
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer.write(context, |writer| match writer {
            Writer::Tcp(half) => half.try_write_vectored(slices),
            Writer::Unix(half) => half.try_write_vectored(slices),
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The socket has no buffer.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.writer.shutdown())
    }
}
