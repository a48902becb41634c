//! One request's visit to the caller room.

use std::{
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use tower::{Layer, Service};

use super::Keys;
use crate::{
    body::Body,
    boxed::BoxFuture,
    call::Identified,
    ledger::Caller,
    refusal::{Cause, Refusal},
};

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct IdentifyLayer(Arc<Keys>);

/// The room.
#[derive(Debug, Clone)]
pub struct Identify<S> {
    keys: Arc<Keys>,
    inner: S,
}

impl IdentifyLayer {
    /// Lets in whoever shows one of `keys`; everybody if there are none.
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self(Arc::new(keys))
    }
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Identify<S> {
        Identify { keys: Arc::clone(&self.0), inner }
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
        match caller(&self.keys, request.headers()) {
            Some(caller) => self.inner.call(Identified { caller, request }),
            None => Box::pin(ready(Err(Cause::CallerUnauthenticated.into()))),
        }
    }
}

fn caller(keys: &Keys, headers: &HeaderMap) -> Option<Caller> {
    if keys.is_empty() {
        return Some(Caller::anonymous());
    }
    keys.caller(bearer(headers)?).cloned()
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
