//! The layer below the throttle: it sends a call that has a slot, and others with it.

use std::{future::pending, sync::Arc};

use super::{
    groups::{Groups, Lead},
    merged,
};
use crate::{
    call::{Answer, Permitted},
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    problem::Refusal,
};

/// Composes merged calls.
#[derive(Debug)]
pub struct Compose {
    groups: Arc<Groups>,
}

impl Compose {
    /// `groups` is shared with [`Gather`](super::Gather).
    pub fn layer(groups: Arc<Groups>) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { groups })
    }
}

impl<S: Inner<Permitted, Answer>> Middleware<Permitted, S> for Compose {
    type Response = Answer;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, permitted: Permitted, inner: &mut S) -> BoxFuture<Answer> {
        match self.groups.lead(permitted.call()) {
            Lead::Alone => inner.call(permitted),
            Lead::Merged => {
                // Gives the slot back. `Gather` drops this future as soon as it has its part of the merged call.
                drop(permitted);
                Box::pin(pending())
            }
            Lead::Others(merged) => {
                let part = merged::send(Arc::clone(&self.groups), *merged, permitted, inner.clone());
                Box::pin(part.answer())
            }
        }
    }
}
