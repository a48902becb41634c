//! Rejects a call whose scope the account's login lacks: Zoho would reject it too, after it used a slot.
//!
//! The granted scopes are known after the first token; until then `service.rs` checks, when the call has its token. A call
//! passes if Zoho does not name the granted scopes, or if the route's documentation names no scope.

use std::{collections::HashMap, future::ready, sync::Arc};

use http::Response;

use super::Source;
use crate::{
    call::Call,
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    problem::Refusal,
    zoho::account::AccountName,
};

/// Compares a call's scopes with the granted scopes.
#[derive(Debug)]
pub struct CheckScope {
    sources: Option<Arc<HashMap<AccountName, Arc<Source>>>>,
}

impl CheckScope {
    /// Compares with what these sources were granted; without sources every call passes.
    pub fn layer(sources: Option<Arc<HashMap<AccountName, Arc<Source>>>>) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { sources })
    }
}

impl<S: Inner<Call>> Middleware<Call, S> for CheckScope {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, call: Call, inner: &mut S) -> BoxFuture {
        let context = &call.context;
        if let Some(source) = self.sources.as_ref().and_then(|sources| sources.get(&context.account.name))
            && let Err(cause) = source.authorises(&context.route)
        {
            source.lacks_scope(&context.route.id, &cause);
            return Box::pin(ready(Err(Refusal::from(cause).of(context))));
        }
        inner.call(call)
    }
}
