//! Finds out who calls, and waits for an issuer's keys where it must.

use std::{future::ready, sync::Arc};

use http::{Request, Response};
use hyper::body::Incoming;

use super::{
    Callers, Issuers,
    authenticator::{Authenticator, Found, has_zoho_token},
    fetch::Flight,
};
use crate::{
    call::Identified,
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    problem::{Cause, Refusal, Unauthenticated},
};

impl<S: Inner<Identified>> Middleware<Request<Incoming>, S> for Authenticator {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, request: Request<Incoming>, inner: &mut S) -> BoxFuture {
        match self.look(&request) {
            Ok(Found::Caller(caller, permissions)) => inner.call(Identified { caller, permissions, request }),
            Ok(Found::Later(flight)) => Box::pin(Arc::clone(self).handle_later(flight, request, inner.clone())),
            Err(cause) => Box::pin(ready(Err(cause.into()))),
        }
    }
}

impl Authenticator {
    /// Accepts `callers`; everybody if there are none.
    #[must_use]
    pub fn layer(callers: Callers, issuers: Issuers) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self::new(callers, issuers))
    }

    /// Handles a request that waits until an issuer's keys have been fetched.
    async fn handle_later(
        self: Arc<Self>,
        mut flight: Flight,
        request: Request<Incoming>,
        mut inner: impl Inner<Identified>,
    ) -> Result<Response<Body>, Refusal> {
        loop {
            flight.landed().await;
            match self.look(&request)? {
                Found::Caller(caller, permissions) => {
                    return inner.call(Identified { caller, permissions, request }).await;
                }
                // The request arrived during another fetch, and now has one for its own sake.
                Found::Later(next) => flight = next,
            }
        }
    }

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
