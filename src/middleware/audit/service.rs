//! Records each write before it is sent, and its outcome.

use std::sync::Arc;

use http::Response;

use super::entry::Entry;
use crate::{
    call::Call,
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    problem::Refusal,
};

/// Writes the lines of the audit.
#[derive(Debug)]
pub struct Audit {
    required: bool,
}

impl Audit {
    /// `required`: a write that cannot be recorded is not sent.
    pub fn layer(required: bool) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { required })
    }
}

impl<S: Inner<Call>> Middleware<Call, S> for Audit {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, call: Call, inner: &mut S) -> BoxFuture {
        if call.changes_nothing() {
            return inner.call(call);
        }
        let (entry, call) = Entry::begin(call, self.required);
        let sent = inner.call(call);
        Box::pin(async move {
            // If the caller leaves, dropping `entry` writes its line.
            let outcome = sent.await;
            entry.finish().await;
            outcome
        })
    }
}
