//! One request's visit to the caller room.

use std::{
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::body::Incoming;
use tower::{Layer, Service, ServiceExt};

use super::{
    Callers, Issuers,
    authenticator::{Authenticator, Found, has_zoho_token},
    fetch::Flight,
};
use crate::{
    call::Identified,
    message::{body::Body, boxed::BoxFuture},
    problem::{Cause, Refusal, Unauthenticated},
};

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct IdentifyLayer(Arc<Authenticator>);

/// The room.
#[derive(Debug, Clone)]
pub struct Identify<S> {
    authenticator: Arc<Authenticator>,
    inner: S,
}

impl IdentifyLayer {
    /// Lets in whoever is one of `callers`; everybody if there are none.
    #[must_use]
    pub fn new(callers: Callers, issuers: Issuers) -> Self {
        Self(Arc::new(Authenticator::new(callers, issuers)))
    }
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Identify<S> {
        Identify { authenticator: Arc::clone(&self.0), inner }
    }
}

impl<S> Service<Request<Incoming>> for Identify<S>
where
    S: Service<Identified, Response = Response<Body>, Error = Refusal, Future = BoxFuture<Response<Body>, Refusal>>
        + Clone
        + Send
        + 'static,
{
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = BoxFuture<Response<Body>, Refusal>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        match self.authenticator.look(&request) {
            Ok(Found::Caller(caller, permissions)) => self.inner.call(Identified { caller, permissions, request }),
            Ok(Found::Later(flight)) => self.call_later(flight, request),
            Err(cause) => Box::pin(ready(Err(cause.into()))),
        }
    }
}

impl<S> Identify<S>
where
    S: Service<Identified, Response = Response<Body>, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send,
{
    /// The same for a request that waits until an issuer's keys have been fetched.
    fn call_later(&mut self, mut flight: Flight, request: Request<Incoming>) -> BoxFuture<Response<Body>, Refusal> {
        let authenticator = Arc::clone(&self.authenticator);
        let inner = self.inner.clone();
        Box::pin(async move {
            loop {
                flight.landed().await;
                match authenticator.look(&request)? {
                    Found::Caller(caller, permissions) => {
                        return inner.oneshot(Identified { caller, permissions, request }).await;
                    }
                    // It came while another fetch was under way, and has one for its own sake now.
                    Found::Later(next) => flight = next,
                }
            }
        })
    }
}

impl Authenticator {
    fn look(&self, request: &Request<Incoming>) -> Result<Found, Cause> {
        let found = self.identify(request.headers(), request.extensions().get());
        found.map_err(|cause| match cause {
            Cause::CallerUnauthenticated(Unauthenticated::NothingShown)
                if request.uri().query().is_some_and(has_zoho_token) =>
            {
                Unauthenticated::ZohoToken.into()
            }
            other => other,
        })
    }
}
