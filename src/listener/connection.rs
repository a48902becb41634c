//! One connection's socket. hyper reads and writes it; beside that, a waiting call can watch for its end.
//!
//! Reading alone does not tell of a hang-up: nobody reads a second request before the first is answered, nor a large body
//! before its call has a slot, and the peer's FIN stands behind those bytes. The kernel reports both a FIN and a RST
//! beside them (EPOLLRDHUP, EPOLLHUP), and the sockets are registered for that already.

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

/// Shared with those who watch, so it is used by reference.
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
        // macOS and others have no such event; there hyper notices what a read shows.
        #[cfg(target_os = "linux")]
        {
            let outcome = match &*self.0 {
                // PRIORITY for want of an interest in the end alone. The sockets are not registered for urgent data.
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
            // The peer was faster.
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

    /// Nothing is kept back here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.writer.shutdown())
    }
}
