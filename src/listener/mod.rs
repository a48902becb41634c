//! Accepts connections and hands HTTP/1.1 requests to the first layer.
//!
//! [`Listener::bind`] opens a socket, with TLS if it is configured, and [`serve`] accepts connections until the drain.
//! During a drain it still accepts connections, so that late callers get "shutting down" instead of nothing; the layers
//! reject them. `wire` checks each request before hyper parses it.

mod address;
mod connection;
mod connection_limit;
mod failures;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod idle;
mod inherited;
mod serve;
mod socket;
mod tls;
mod unix;
mod wire;

pub use address::{ListenAddress, ListenAddressError};
pub use connection::Socket;
pub use connection_limit::ConnectionLimit;
pub use inherited::{Inherited, OpenSocket, SocketLabel, SocketRole};
pub use serve::serve;
use socket::Stream;
pub use socket::{Accepted, BindError, Listener};
pub use tls::{ClientAuth, ClientCertificates, Tls, TlsFault, TlsFile, TlsFileError, TlsFiles, follow_tls};
pub use unix::{SocketAccess, SocketFile};
pub use wire::{HeadLimits, Timeouts};
