//! The only place that opens a connection to Zoho: one pooled HTTP/1.1 client over TLS, for calls and tokens alike.
//! Issuers of callers' tokens are asked for their keys by clients of the same make. All of them go out by the same
//! [`Egress`]: directly, or through a proxy.
//!
//! hyper-util's pool re-sends a request by itself only when hyper hands it back unwritten, because the idle connection
//! it was queued on had already closed. Not a byte of it left, so the one slot charged for it still covers it. A request
//! that meets the very end of its connection may get lost in hyper and never be heard of again (hyperium/hyper#4122);
//! like a server that does not answer, it ends at `upstream.timeout`.

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

pub use connect::{ConnectTimeout, Elapsed};
pub use egress::{Egress, NoProxyUrl, Proxy};
pub use failure::Failure;
pub use fetch::Fetch;
pub use no_proxy::{NoProxy, NoRule, Rule};
pub use roots::{ExtraRoots, tls};
pub use tunnel::{Connector, NoTunnel};

use crate::{ledger::NO_ANSWER_GRACE, message::body::Body};

/// How long an idle connection is kept: below the keep-alive of common front ends, so that we close it first and seldom
/// write into a connection that Zoho is just closing.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// How much of an answer hyper reads at a time, and so how long a head may be; Zoho's take some kilobytes. A server that
/// sends nothing but 1xx answers keeps a worker busy with a hundred of these before anything else is looked at.
const BUFFER: usize = 64 * 1024;

/// How often TCP asks whether the other side still lives.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// How long the kernel goes on sending what the other side does not acknowledge, also after the connection was given up
/// and after the process has ended. Less than [`NO_ANSWER_GRACE`], which counts on nothing arriving later.
const UNACKNOWLEDGED: Duration = Duration::from_secs(4);
const _: () = assert!(UNACKNOWLEDGED.as_secs() < NO_ANSWER_GRACE.as_secs());

/// A pooled client; clones share the pool.
pub type Client = legacy::Client<ConnectTimeout<HttpsConnector<Connector>>, Body>;

/// TCP connections that give up what is not acknowledged.
type Tcp = MapResponse<HttpConnector, fn(TokioIo<TcpStream>) -> TokioIo<TcpStream>>;

/// Builds the client. `connect_timeout` covers name resolution, TCP, a proxy's tunnel and TLS together.
#[must_use]
pub fn client(tls: ClientConfig, egress: &Egress, connect_timeout: Duration) -> Client {
    let mut tcp = HttpConnector::new();
    // The scheme is the endpoint's, which the configuration has checked.
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

/// TLS where the address says https, on connections of any make.
fn over_tls<C>(tls: ClientConfig, connector: C) -> HttpsConnector<C> {
    HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector)
}

/// Not set on the connector, which would have the kernel give up connecting too, before `upstream.connect_timeout`.
fn giving_up(stream: TokioIo<TcpStream>) -> TokioIo<TcpStream> {
    // Other systems have no such option, and are not what a gateway is run on.
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
