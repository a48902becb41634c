//! One request's visit to the caller room.

use std::{
    collections::HashMap,
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use tower::{Layer, Service};

use super::{Keys, limit::Limiter};
use crate::{
    body::Body,
    boxed::BoxFuture,
    call::Identified,
    clock,
    ledger::Caller,
    permissions::Permissions,
    refusal::{Cause, Refusal},
};

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct IdentifyLayer(Arc<Desk>);

/// The room.
#[derive(Debug, Clone)]
pub struct Identify<S> {
    desk: Arc<Desk>,
    inner: S,
}

#[derive(Debug)]
struct Desk {
    keys: Keys,
    /// By caller, of those that have one.
    limiters: HashMap<Caller, Limiter>,
}

impl IdentifyLayer {
    /// Lets in whoever shows one of `keys`; everybody if there are none.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        let limited = keys.callers().filter_map(|caller| Some((caller.caller.clone(), caller.limit?)));
        let limiters = limited.map(|(caller, limit)| (caller, Limiter::new(limit, clock::now()))).collect();
        Self(Arc::new(Desk { keys, limiters }))
    }
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Identify<S> {
        Identify { desk: Arc::clone(&self.0), inner }
    }
}

impl<S> Service<Request<Incoming>> for Identify<S>
where
    S: Service<Identified, Response = Response<Body>, Error = Refusal, Future = BoxFuture<Response<Body>, Refusal>>,
{
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = BoxFuture<Response<Body>, Refusal>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        match self.desk.identify(request.headers()) {
            Ok((caller, permissions)) => self.inner.call(Identified { caller, permissions, request }),
            Err(cause) => Box::pin(ready(Err(cause.into()))),
        }
    }
}

impl Desk {
    /// The caller, and what it may do where that is restricted.
    fn identify(&self, headers: &HeaderMap) -> Result<(Caller, Option<Arc<Permissions>>), Cause> {
        if self.keys.is_empty() {
            return Ok((Caller::anonymous(), None));
        }
        let known = bearer(headers).and_then(|key| self.keys.caller(key)).ok_or(Cause::CallerUnauthenticated)?;
        if let Some(limiter) = self.limiters.get(&known.caller) {
            limiter.check(clock::now()).map_err(|retry_after| Cause::CallerLimit { retry_after })?;
        }
        Ok((known.caller.clone(), Some(Arc::clone(&known.permissions))))
    }
}

/// The key of `Authorization: Bearer KEY` (RFC 6750 section 2.1), given once; the scheme's case does not matter
/// (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, key) = field.as_bytes().split_first_chunk::<7>()?;
    let key = key.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_bearer_key() {
        for (values, expected) in [
            (&["Bearer abc"][..], Some("abc")),
            (&["bearer   abc"], Some("abc")),
            (&["Bearer"], None),
            (&["Bearer "], None),
            (&["Basic abc"], None),
            (&["Zoho-oauthtoken abc"], None),
            (&["Bearer abc", "Bearer abc"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(bearer(&headers), expected.map(str::as_bytes), "{values:?}");
        }
    }
}
