//! A Unix socket, its file, and who may connect to it.
//!
//! Connecting needs write permission on the file. Mode and owner are set between bind(2), which creates the file, and
//! listen(2), which allows connections, so a user without permission can never connect.

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

/// How many connections may wait to be accepted, as far as the system allows it (`net.core.somaxconn`). With tokio's 128,
/// the system resets some of a crowd that comes in one moment.
pub(super) const BACKLOG: u32 = 4096;

/// Who may connect to a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketAccess {
    /// The permission bits of the file.
    pub mode: u32,
    /// The user ID of its owner; by default the user that runs the gateway.
    pub owner: Option<u32>,
    /// The group ID; by default the group of the gateway or of the folder, depending on the system.
    pub group: Option<u32>,
}

/// The file of a Unix socket; dropping this removes it, if it belongs to this process.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    is_own: bool,
}

/// Why there is no socket.
#[derive(Debug)]
pub(super) enum SocketError {
    /// The socket cannot be created.
    Bind(io::Error),
    /// The mode or owner of the file cannot be set.
    Access(io::Error),
}

/// Listens on `path`. Replaces the file that a killed process left behind, but never the socket of a running one.
pub(super) fn bind(path: &Path, access: &SocketAccess) -> Result<(UnixListener, SocketFile), SocketError> {
    match create(path, access) {
        Err(SocketError::Bind(error)) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path) {
            // A file that is not a socket also refuses connections.
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
                fs::remove_file(path).map_err(SocketError::Bind)?;
                create(path, access)
            }
            _ if !is_socket(path) => Err(SocketError::Bind(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the path has a file that is not a socket; move it away or choose another path",
            ))),
            _ => Err(SocketError::Bind(error)),
        },
        outcome => outcome,
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn create(path: &Path, access: &SocketAccess) -> Result<(UnixListener, SocketFile), SocketError> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(SocketError::Bind)?;
    socket.bind(&SockAddr::unix(path).map_err(SocketError::Bind)?).map_err(SocketError::Bind)?;
    // From here on, every failure removes the file.
    let file = SocketFile { path: path.to_owned(), is_own: true };
    access.apply(path).map_err(SocketError::Access)?;
    let listening = || {
        socket.listen(BACKLOG.cast_signed())?;
        socket.set_nonblocking(true)?;
        UnixListener::from_std(socket.into())
    };
    Ok((listening().map_err(SocketError::Bind)?, file))
}

impl SocketAccess {
    /// Sets the mode first, because the former owner of a file may no longer change it.
    fn apply(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, Permissions::from_mode(self.mode))?;
        if self.owner.is_some() || self.group.is_some() {
            lchown(path, self.owner, self.group)?;
        }
        Ok(())
    }
}

impl SocketFile {
    /// Of a socket that another process has opened; empty for an address without a path.
    pub(super) fn of(socket: &UnixListener, is_own: bool) -> Self {
        let address = socket.local_addr().ok();
        let path = address.and_then(|address| address.as_pathname().map(Path::to_owned)).unwrap_or_default();
        Self { path, is_own }
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another process has the socket.
    pub(super) fn leave(&mut self) {
        self.is_own = false;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_own {
            // The file may already be gone.
            let _ = fs::remove_file(&self.path);
        }
    }
}
