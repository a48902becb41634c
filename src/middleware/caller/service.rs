//! Finds out who calls, and waits for an issuer's keys where it must.

use std::{future::ready, sync::Arc};

use http::Response;

use super::{
    Callers, Issuers,
    authenticator::{Authenticator, Found, has_zoho_token},
    fetch::Fetch,
};
use crate::{
    call::{Accepted, Identified},
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    problem::{Cause, Refusal, Unauthenticated},
};

impl<S: Inner<Identified>> Middleware<Accepted, S> for Authenticator {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, accepted: Accepted, inner: &mut S) -> BoxFuture {
        match self.look(&accepted) {
            Ok(Found::Caller(caller, permissions)) => inner.call(accepted.identified(caller, permissions)),
            Ok(Found::Later(fetch)) => Box::pin(Arc::clone(self).handle_later(fetch, accepted, inner.clone())),
            Err(cause) => Box::pin(ready(Err(cause.into()))),
        }
    }
}

impl Authenticator {
    /// Accepts `callers`; everybody if there are none.
    pub fn layer(callers: Callers, issuers: Issuers) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self::new(callers, issuers))
    }

    /// Handles a request that waits until an issuer's keys have been fetched.
    async fn handle_later(
        self: Arc<Self>,
        mut fetch: Fetch,
        accepted: Accepted,
        mut inner: impl Inner<Identified>,
    ) -> Result<Response<Body>, Refusal> {
        loop {
            fetch.ended().await;
            match self.look(&accepted)? {
                Found::Caller(caller, permissions) => {
                    return inner.call(accepted.identified(caller, permissions)).await;
                }
                // The request arrived during another fetch, and now has one for its own sake.
                Found::Later(next) => fetch = next,
            }
        }
    }

    fn look(&self, Accepted { request, peer, .. }: &Accepted) -> Result<Found, Cause> {
        let found = self.identify(request.headers(), peer);
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
