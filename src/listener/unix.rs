//! A Unix socket, its file, and who may connect to it.
//!
//! Connecting needs write permission on the file. So that no stranger has it for a moment, mode and owner are set
//! between bind(2), which makes the file, and listen(2), before which nobody can connect.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, lchown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// How many connections may wait to be accepted, as tokio has it for its own.
const BACKLOG: i32 = 1024;

/// Who may connect to a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketAccess {
    /// The permission bits of the socket's file.
    pub mode: u32,
    /// The number of the user whose it is; unless set, the one that the gateway runs as.
    pub owner: Option<u32>,
    /// The number of its group; unless set, that of the gateway or of the socket's folder, as the system has it.
    pub group: Option<u32>,
}

/// The file of a Unix socket, which is removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

/// What could not be done for a socket to be there.
#[derive(Debug)]
pub(super) enum NoSocket {
    /// It could not be made.
    Bind(io::Error),
    /// It could not be given its mode and owner.
    Access(io::Error),
}

/// Listens on `path`. Takes over the file that a killed process left behind, but never the socket of a living one.
pub(super) fn bind(path: &Path, access: &SocketAccess) -> Result<(UnixListener, SocketFile), NoSocket> {
    match fresh(path, access) {
        Err(NoSocket::Bind(error)) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path) {
            // A file that is no socket refuses connections as well.
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
                fs::remove_file(path).map_err(NoSocket::Bind)?;
                fresh(path, access)
            }
            _ if !is_socket(path) => Err(NoSocket::Bind(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket lies there; move it away or choose another path",
            ))),
            _ => Err(NoSocket::Bind(error)),
        },
        outcome => outcome,
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn fresh(path: &Path, access: &SocketAccess) -> Result<(UnixListener, SocketFile), NoSocket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(NoSocket::Bind)?;
    socket.bind(&SockAddr::unix(path).map_err(NoSocket::Bind)?).map_err(NoSocket::Bind)?;
    // From here on, whatever fails takes the file with it.
    let file = SocketFile(path.to_owned());
    access.give(path).map_err(NoSocket::Access)?;
    let listening = || {
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        UnixListener::from_std(socket.into())
    };
    Ok((listening().map_err(NoSocket::Bind)?, file))
}

impl SocketAccess {
    /// The mode first: whoever gave a file away may have no say in it any more.
    fn give(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, Permissions::from_mode(self.mode))?;
        if self.owner.is_some() || self.group.is_some() {
            lchown(path, self.owner, self.group)?;
        }
        Ok(())
    }
}

impl SocketFile {
    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(&self.0);
    }
}
