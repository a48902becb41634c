//! One deadline for a whole connection: name resolution, TCP, tunnel and TLS.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use tower::{BoxError, Service};

use super::Egress;

/// A connector that gives up after a while.
#[derive(Debug, Clone)]
pub struct ConnectTimeout<C> {
    inner: C,
    egress: Egress,
    timeout: Duration,
}

/// The connection was not established in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {timeout:?}")]
pub struct Elapsed {
    timeout: Duration,
    /// The proxy of the connection.
    pub(super) proxy: Option<String>,
}

impl<C> ConnectTimeout<C> {
    /// Gives `inner` at most `timeout`.
    pub(super) fn new(inner: C, egress: Egress, timeout: Duration) -> Self {
        Self { inner, egress, timeout }
    }
}

impl<C> Service<Uri> for ConnectTimeout<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let timeout = self.timeout;
        let proxy = self.egress.proxy_for(&uri).map(ToString::to_string);
        let connecting = self.inner.call(uri);
        Box::pin(async move {
            tokio::time::timeout(timeout, connecting).await.map_err(|_| Elapsed { timeout, proxy })?.map_err(Into::into)
        })
    }
}
