//! The only place that opens a connection to Zoho: one pooled HTTP/1.1 client over TLS, for calls and tokens alike.
//!
//! hyper-util's pool re-sends a request by itself only when hyper hands it back unwritten, because the idle connection
//! it was queued on had already closed. Not a byte of it left, so the one slot charged for it still covers it.

mod connect;
mod failure;
mod roots;

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;

pub use connect::{ConnectTimeout, Elapsed};
pub use failure::Failure;
pub use roots::{ExtraRoots, ExtraRootsError, tls};

use crate::body::Body;

/// How long an idle connection is kept: below the keep-alive of common front ends, so that we close it first and seldom
/// write into a connection that Zoho is just closing.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// How often TCP asks whether the other side still lives.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// A pooled client; clones share the pool.
pub type Client = legacy::Client<ConnectTimeout<HttpsConnector<HttpConnector>>, Body>;

/// Builds the client. `connect_timeout` covers name resolution, TCP and TLS together.
#[must_use]
pub fn client(tls: ClientConfig, connect_timeout: Duration) -> Client {
    let mut tcp = HttpConnector::new();
    // The scheme is the endpoint's, which the configuration has checked.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(ConnectTimeout::new(https, connect_timeout))
}
