//! The only place that opens outgoing connections: one pooled HTTP/1.1 client over TLS for calls and tokens, and
//! clients of the same kind for the keys of token issuers and for traces. All of them use the same [`Egress`]: directly, or through a
//! proxy.
//!
//! hyper-util's pool sends a request again only when hyper returns it unwritten, because its idle connection had
//! already closed. No byte of the request has left, so the slot that it was charged still covers it. hyper may lose a
//! request whose connection ends at the same moment (hyperium/hyper#4122); like a server that does not answer, it ends
//! at `upstream.timeout`.

mod collector;
mod connect;
mod egress;
mod failure;
mod fetch;
mod no_proxy;
mod roots;
mod tunnel;

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::ClientConfig;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::TcpStream;
use tower::{ServiceExt, util::MapResponse};

pub use collector::Collector;
pub use connect::{ConnectTimeout, Elapsed};
pub use egress::{Egress, NoProxyUrl, Proxy};
pub use failure::Failure;
pub use fetch::Fetch;
pub use no_proxy::{NoProxy, NoRule, Rule};
pub use roots::{ExtraRoots, tls};
pub use tunnel::{Connector, NoTunnel};

use crate::{ledger::NO_ANSWER_GRACE, message::body::Body};

/// How long an idle connection is kept: less than the keep-alive of common front ends, so that the gateway closes it
/// first and seldom writes into a connection that Zoho is closing.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// How much of an answer hyper reads at a time, which also bounds a head; Zoho's heads take a few kilobytes. A server
/// that sends only 1xx answers keeps a worker busy for a hundred buffers.
const BUFFER: usize = 64 * 1024;

/// How often TCP checks whether the other side is alive.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// How long the kernel keeps sending what the other side does not acknowledge, even after the gateway gave up the
/// connection or the process has ended. Less than [`NO_ANSWER_GRACE`], which relies on nothing arriving later.
const UNACKNOWLEDGED: Duration = Duration::from_secs(4);
const _: () = assert!(UNACKNOWLEDGED.as_secs() < NO_ANSWER_GRACE.as_secs());

/// A pooled client; clones share the pool.
pub type Client = legacy::Client<ConnectTimeout<HttpsConnector<Connector>>, Body>;

/// TCP connections that give up unacknowledged data.
type Tcp = MapResponse<HttpConnector, fn(TokioIo<TcpStream>) -> TokioIo<TcpStream>>;

/// Builds the client. `connect_timeout` covers name resolution, TCP, a proxy's tunnel and TLS together.
#[must_use]
pub fn client(tls: ClientConfig, egress: &Egress, connect_timeout: Duration) -> Client {
    let mut tcp = HttpConnector::new();
    // The configuration has checked the scheme.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    let tcp = tcp.map_response(giving_up as fn(_) -> _);
    let to_proxy = over_tls(tls.clone(), tcp.clone());
    let https = over_tls(tls, Connector::new(egress.clone(), tcp, to_proxy));
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .http1_max_buf_size(BUFFER)
        .build(ConnectTimeout::new(https, egress.clone(), connect_timeout))
}

/// Adds TLS where the address says https.
fn over_tls<C>(tls: ClientConfig, connector: C) -> HttpsConnector<C> {
    HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector)
}

/// Sets TCP_USER_TIMEOUT on the connected stream. On the connector it would also bound connecting, before
/// `upstream.connect_timeout` does.
fn giving_up(stream: TokioIo<TcpStream>) -> TokioIo<TcpStream> {
    // Other systems do not have this option; the gateway runs only on Linux.
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream.inner()).set_tcp_user_timeout(Some(UNACKNOWLEDGED)) {
        tracing::warn!(%error, "cannot set TCP_USER_TIMEOUT; what a lost connection still sends may arrive late");
    }
    stream
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_kernel_gives_up_before_the_ledger_counts_on_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = giving_up(TokioIo::new(stream));
        assert_eq!(SockRef::from(stream.inner()).tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }
}
