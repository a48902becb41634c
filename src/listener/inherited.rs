//! Sockets that another process has opened: systemd (socket activation), or the gateway before this one.

use std::{
    io,
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use listenfd::ListenFd;
use socket2::{Domain, Socket};

/// What a socket is for that the service manager has opened; it chose the address.
const ACTIVATED: &str = "activated";

/// Sockets that are listened on already.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Labelled>);

#[derive(Debug)]
struct Labelled {
    label: SocketLabel,
    socket: OpenSocket,
}

/// What a socket is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketLabel {
    role: SocketRole,
    /// The address in the configuration of the process that opened it, or [`ACTIVATED`].
    address: String,
}

/// Which listener a socket belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketRole {
    /// For callers.
    Proxy,
    /// For operators.
    Admin,
}

/// A socket that is listened on.
#[derive(Debug)]
pub enum OpenSocket {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

impl Inherited {
    /// The sockets that the service manager has opened (sd_listen_fds(3)). `names` is `LISTEN_FDNAMES`: each socket is
    /// named `proxy` or `admin`.
    ///
    /// # Errors
    /// A socket has another name or kind.
    pub fn activated(names: Option<&str>) -> io::Result<Self> {
        let mut given = ListenFd::from_env();
        let mut names = names.unwrap_or_default().split(':');
        let mut sockets = Vec::new();
        for index in 0..given.len() {
            let role = match names.next() {
                Some("proxy") => SocketRole::Proxy,
                Some("admin") => SocketRole::Admin,
                other => {
                    let other = other.unwrap_or_default();
                    let words = format!(
                        "a socket of the service manager is named {other:?}: expected FileDescriptorName=proxy or \
                         FileDescriptorName=admin in its unit"
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
                }
            };
            let tcp = given.take_tcp_listener(index).map(|found| found.map(OpenSocket::Tcp));
            let socket = tcp.or_else(|_| given.take_unix_listener(index).map(|found| found.map(OpenSocket::Unix)))?;
            let label = SocketLabel { role, address: ACTIVATED.to_owned() };
            sockets.extend(socket.map(|socket| Labelled { label, socket }));
        }
        Ok(Self(sockets))
    }

    /// Adds a socket that the gateway before this one has opened.
    ///
    /// # Errors
    /// It is no socket.
    pub fn add(&mut self, label: SocketLabel, socket: OwnedFd) -> io::Result<()> {
        let socket = Socket::from(socket);
        let socket = match socket.domain()? {
            Domain::UNIX => OpenSocket::Unix(socket.into()),
            _ => OpenSocket::Tcp(socket.into()),
        };
        self.0.push(Labelled { label, socket });
        Ok(())
    }

    /// All sockets that a service manager has opened for this.
    pub fn take_activated(&mut self, role: SocketRole) -> Vec<OpenSocket> {
        self.0.extract_if(.., |one| one.label == SocketLabel::activated(role)).map(|one| one.socket).collect()
    }

    /// The socket of this address in the configuration.
    pub fn take(&mut self, label: &SocketLabel) -> Option<OpenSocket> {
        let position = self.0.iter().position(|one| one.label == *label)?;
        Some(self.0.swap_remove(position).socket)
    }
}

impl SocketLabel {
    /// Of an address in the configuration.
    #[must_use]
    pub fn new(role: SocketRole, address: &str) -> Self {
        Self { role, address: address.to_owned() }
    }

    /// Of a socket that a service manager has opened.
    #[must_use]
    pub fn activated(role: SocketRole) -> Self {
        Self::new(role, ACTIVATED)
    }

    /// As it is written for the next process.
    #[must_use]
    pub fn to_line(&self) -> String {
        let role = if self.role == SocketRole::Proxy { "proxy" } else { "admin" };
        format!("{role} {}", self.address)
    }

    /// Reads what [`to_line`](Self::to_line) has written.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let (role, address) = line.split_once(' ')?;
        let role = match role {
            "proxy" => SocketRole::Proxy,
            "admin" => SocketRole::Admin,
            _ => return None,
        };
        Some(Self::new(role, address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_as_it_was_written() {
        for label in [
            SocketLabel::new(SocketRole::Proxy, "unix:/run/a b.sock"),
            SocketLabel::new(SocketRole::Admin, "[::1]:9090"),
            SocketLabel::activated(SocketRole::Proxy),
        ] {
            assert_eq!(SocketLabel::from_line(&label.to_line()), Some(label));
        }
        assert_eq!(SocketLabel::from_line("other 127.0.0.1:1"), None);
    }

    #[test]
    fn sockets_are_found_by_their_address() {
        let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let (one, other) = ("127.0.0.1:8080", "127.0.0.1:8081");
        let mut inherited = Inherited::default();
        inherited.add(SocketLabel::new(SocketRole::Proxy, one), listener()).unwrap();
        inherited.add(SocketLabel::activated(SocketRole::Proxy), listener()).unwrap();
        assert!(inherited.take(&SocketLabel::new(SocketRole::Proxy, other)).is_none());
        assert!(inherited.take(&SocketLabel::new(SocketRole::Admin, one)).is_none());
        assert!(inherited.take(&SocketLabel::new(SocketRole::Proxy, one)).is_some());
        assert_eq!(inherited.take_activated(SocketRole::Proxy).len(), 1);
        assert!(inherited.take_activated(SocketRole::Admin).is_empty());
    }
}
