//! The scope room: a call that the account's login was not granted would be refused by Zoho after it cost a slot.
//!
//! What was granted is known once a token was fetched; until then the sign room looks, when the call has its token.
//! Where Zoho does not say, and where a page names no scope, the call goes on.

use std::{
    collections::HashMap,
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use tower::{Layer, Service};

use super::Source;
use crate::{
    call::Call,
    message::{body::Body, boxed::BoxFuture},
    problem::Refusal,
    zoho::account::AccountName,
};

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct ScopeLayer(Option<Arc<HashMap<AccountName, Arc<Source>>>>);

/// The room.
#[derive(Debug, Clone)]
pub struct CheckScope<S> {
    sources: Option<Arc<HashMap<AccountName, Arc<Source>>>>,
    inner: S,
}

impl ScopeLayer {
    /// Asks these sources what was granted; without them the room lets everything pass.
    #[must_use]
    pub fn new(sources: Option<Arc<HashMap<AccountName, Arc<Source>>>>) -> Self {
        Self(sources)
    }
}

impl<S> Layer<S> for ScopeLayer {
    type Service = CheckScope<S>;

    fn layer(&self, inner: S) -> CheckScope<S> {
        CheckScope { sources: self.0.clone(), inner }
    }
}

impl<S> Service<Call> for CheckScope<S>
where
    S: Service<Call, Response = Response<Body>, Error = Refusal, Future = BoxFuture<Response<Body>, Refusal>>,
{
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = BoxFuture<Response<Body>, Refusal>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let context = &call.context;
        if let Some(source) = self.sources.as_ref().and_then(|sources| sources.get(&context.account.name))
            && let Err(cause) = source.authorises(&context.route)
        {
            source.lacks_scope(&context.route.id, &cause);
            return Box::pin(ready(Err(Refusal::from(cause).of(context))));
        }
        self.inner.call(call)
    }
}
