//! Identifies the caller of each request, and waits for an issuer's keys where necessary.

use std::{future::ready, sync::Arc};

use http::Response;

use super::{
    CallerLimiters, Callers, Issuers,
    authenticator::{Authentication, Authenticator, has_zoho_token},
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
        match self.authenticate(&accepted) {
            Ok(Authentication::Caller(caller, permissions)) => inner.call(accepted.identified(caller, permissions)),
            Ok(Authentication::Pending(fetch)) => {
                Box::pin(Arc::clone(self).handle_after(fetch, accepted, inner.clone()))
            }
            Err(cause) => Box::pin(ready(Err(cause.into()))),
        }
    }
}

impl Authenticator {
    /// Accepts `callers`, or every request if there are none.
    pub fn layer(callers: Callers, issuers: Issuers, limiters: &CallerLimiters) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self::new(callers, issuers, limiters))
    }

    /// Handles a request after the fetch of its issuer's keys has ended.
    async fn handle_after(
        self: Arc<Self>,
        mut fetch: Fetch,
        accepted: Accepted,
        mut inner: impl Inner<Identified>,
    ) -> Result<Response<Body>, Refusal> {
        loop {
            fetch.ended().await;
            match self.authenticate(&accepted)? {
                Authentication::Caller(caller, permissions) => {
                    return inner.call(accepted.identified(caller, permissions)).await;
                }
                // The request arrived during an earlier fetch; now the keys are fetched again for its token.
                Authentication::Pending(next) => fetch = next,
            }
        }
    }

    fn authenticate(&self, accepted: &Accepted) -> Result<Authentication, Cause> {
        let Accepted { request, peer, .. } = accepted;
        let outcome = self.identify(request.headers(), peer);
        if let Err(Cause::CallerLimit { caller, .. }) = &outcome {
            accepted.comes_from(caller);
        }
        outcome.map_err(|cause| match cause {
            Cause::CallerUnauthenticated(Unauthenticated::NothingShown)
                if request.uri().query().is_some_and(has_zoho_token) =>
            {
                Unauthenticated::ZohoToken.into()
            }
            other => other,
        })
    }
}
