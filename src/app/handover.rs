//! Restart without an outage: the next process takes over the sockets of this one, which then drains.
//!
//! The socket `state.dir/handover.sock` is the meeting point. The next process connects and receives the listening sockets
//! themselves (SCM_RIGHTS), so connections that wait to be accepted are not lost, as they are when a process with
//! SO_REUSEPORT closes its socket. When the next process has checked everything else, it says so. This process then accepts
//! nothing more and finishes what it has. The next one accepts at once, and its requests wait until this process has ended
//! and the state is free: windows, queues and tokens are in one process at a time.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::listener::{Inherited, SocketLabel};

/// The name of the meeting point in `state.dir`.
const NAME: &str = "handover.sock";

/// More sockets than any gateway has.
const MOST: usize = 64;

/// The longest list of labels.
const LONGEST: usize = 16 * 1024;

/// How long either process may take for a step.
const STEP: Duration = Duration::from_secs(10);

/// The next process is ready to accept.
const READY: u8 = b'1';

/// The end of this process that gives its sockets away.
#[derive(Debug)]
pub(super) struct HandOver {
    listener: UnixListener,
    path: PathBuf,
    sockets: Vec<(SocketLabel, OwnedFd)>,
}

/// The process before this one.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl HandOver {
    /// Waits at the meeting point of this folder, which belongs to this process.
    pub(super) fn prepare(dir: &Path, sockets: Vec<(SocketLabel, OwnedFd)>) -> io::Result<Self> {
        let path = dir.join(NAME);
        // One process at a time has the folder, so this is the file of one that has ended.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(Self { listener, path, sockets })
    }

    /// Resolves when the next process has the sockets and is ready. It sees the end of this one by the end of the stream.
    pub(super) async fn taken_over(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => match timeout(STEP, self.give(stream)).await {
                    Ok(Ok(stream)) => return stream,
                    Ok(Err(error)) => tracing::warn!(%error, "another process could not take over"),
                    Err(_) => tracing::warn!("another process took the sockets and was not ready in time"),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a process that takes over");
                    tokio::time::sleep(STEP).await;
                }
            }
        }
    }

    async fn give(&self, mut stream: UnixStream) -> io::Result<UnixStream> {
        let labels: Vec<_> = self.sockets.iter().map(|(label, _)| label.to_line()).collect();
        let labels = labels.join("\n");
        let sockets: Vec<_> = self.sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
        stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
                    return Err(io::Error::other("there are too many sockets"));
                }
                Ok(sendmsg(&stream, &[IoSlice::new(labels.as_bytes())], &mut control, SendFlags::NOSIGNAL)?)
            })
            .await?;
        let ready = stream.read_u8().await?;
        if ready == READY { Ok(stream) } else { Err(io::Error::other("it speaks another protocol")) }
    }
}

impl Drop for HandOver {
    fn drop(&mut self) {
        // The next process has made its own file by then, or makes one later.
        let _ = fs::remove_file(&self.path);
    }
}

impl Predecessor {
    /// The process that runs with this folder, and its sockets. `None` if there is none.
    ///
    /// # Errors
    /// It does not give its sockets.
    pub async fn find(dir: &Path) -> io::Result<Option<(Self, Inherited)>> {
        let stream = match UnixStream::connect(dir.join(NAME)).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let received =
            timeout(STEP, stream.async_io(Interest::READABLE, || receive(&stream))).await.map_err(late)??;
        let mut inherited = Inherited::default();
        let (labels, sockets) = received;
        let labels = labels.lines().map(SocketLabel::from_line);
        for (label, socket) in labels.zip(sockets) {
            inherited.add(label.ok_or_else(|| io::Error::other("it speaks another protocol"))?, socket)?;
        }
        Ok(Some((Self(stream), inherited)))
    }

    /// Tells it to drain, and resolves when it has ended.
    pub(super) async fn ended(mut self) -> io::Result<()> {
        self.0.write_u8(READY).await?;
        // It writes nothing.
        self.0.read_to_end(&mut Vec::new()).await.map(drop)
    }
}

fn receive(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let (mut control, mut labels) = (RecvAncillaryBuffer::new(&mut space), vec![0; LONGEST]);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut labels)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    labels.truncate(received.bytes);
    let sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let sockets = sockets.flatten().collect();
    let labels = String::from_utf8(labels).map_err(|_| io::Error::other("it speaks another protocol"))?;
    Ok((labels, sockets))
}
