//! The listener: sockets in, HTTP/1.1 requests to the first layer.
//!
//! [`Listener::bind`] opens a socket, over TLS if it is told so, and [`serve`] accepts until it is told to drain. During a
//! drain it goes on accepting, so that late callers hear "shutting down" instead of nothing; the layers refuse them. What
//! comes in passes a wire, which examines each request before hyper does.

mod address;
mod connection;
mod connection_limit;
mod failures;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod idle;
mod serve;
mod socket;
mod tls;
mod unix;
mod wire;

pub use address::{ListenAddress, ListenAddressError};
pub use connection::Socket;
pub use connection_limit::ConnectionLimit;
pub use serve::serve;
pub use socket::{Arrival, BindError, Listener, Stream};
pub use tls::{ClientAuth, ClientCertificates, Tls, TlsFault, TlsFile, TlsFiles, Unusable, follow_tls};
pub use unix::{SocketAccess, SocketFile};
pub use wire::{HeadLimits, Timeouts};
