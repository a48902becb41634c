//! One call's visit to the audit room.

use std::task::{Context, Poll};

use http::Response;
use tower::{Layer, Service};

use super::entry::Entry;
use crate::{
    call::Call,
    message::{body::Body, boxed::BoxFuture},
    problem::Refusal,
};

/// Hangs the room.
#[derive(Debug, Clone, Copy)]
pub struct AuditLayer {
    required: bool,
}

/// The room.
#[derive(Debug, Clone)]
pub struct Audit<S> {
    room: AuditLayer,
    inner: S,
}

impl AuditLayer {
    /// `required`: a write that cannot be recorded is not sent.
    #[must_use]
    pub fn new(required: bool) -> Self {
        Self { required }
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Audit<S> {
        Audit { room: *self, inner }
    }
}

impl<S> Service<Call> for Audit<S>
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
        if call.changes_nothing() {
            return self.inner.call(call);
        }
        let (entry, call) = Entry::begin(call, self.room.required);
        let visit = self.inner.call(call);
        Box::pin(async move {
            // When the caller has gone, this is dropped here, and with it the line is written all the same.
            let outcome = visit.await;
            entry.finish().await;
            outcome
        })
    }
}
