//! The addresses of servers, and how several of them belong together.

use std::{fmt, path::PathBuf};

use crate::message::host;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// TCP, in the clear.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// TLS; the certificate has to be for this host.
    Tls {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// How the master of a key is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// It is this server.
    Single(Server),
    /// Sentinels know its address, which changes with a failover.
    Sentinel {
        /// Some of them, or all.
        sentinels: Vec<Server>,
        /// The name of the master among those that they watch.
        master: String,
    },
    /// The nodes of a cluster know which of them it is. These are some of them, or all.
    Cluster(Vec<Server>),
}

impl Server {
    /// A server that is reached over the network.
    #[must_use]
    pub fn network(host: String, port: u16, tls: bool) -> Self {
        if tls { Self::Tls { host, port } } else { Self::Tcp { host, port } }
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }

    /// Whether no other machine can read what is sent to it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => host::is_loopback(host),
            Self::Tls { .. } | Self::Unix(_) => true,
        }
    }

    /// Its host and port, or its path.
    fn address(&self) -> String {
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } | Self::Tls { host, port } => format!("{host}:{port}"),
            Self::Unix(path) => path.display().to_string(),
        }
    }
}

impl Topology {
    /// The servers that it names.
    fn servers(&self) -> &[Server] {
        match self {
            Self::Single(server) => std::slice::from_ref(server),
            Self::Sentinel { sentinels: servers, .. } | Self::Cluster(servers) => servers,
        }
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.servers().iter().all(Server::is_tls)
    }

    /// Whether no other machine can read what is sent to it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.servers().iter().all(Server::is_private)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self {
            Self::Tcp { .. } => "redis://",
            Self::Tls { .. } => "rediss://",
            Self::Unix(_) => "unix:",
        };
        write!(f, "{scheme}{}", self.address())
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls() { "rediss" } else { "redis" };
        let addresses = self.servers().iter().map(Server::address).collect::<Vec<_>>().join(",");
        match self {
            Self::Single(server) => server.fmt(f),
            Self::Sentinel { master, .. } => write!(f, "{scheme}-sentinel://{addresses}/{master}"),
            Self::Cluster(_) => write!(f, "{scheme}-cluster://{addresses}"),
        }
    }
}
