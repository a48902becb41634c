//! The service of the present configuration, behind sockets that stay open.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use tokio::sync::watch;
use tower::Service;

use super::stack::Stack;
use crate::{call::Arrived, message::body::Body};

/// Passes each request to the service that was set last. Until the first one is set, requests wait.
#[derive(Debug, Clone)]
pub(super) struct Current(Arc<watch::Sender<Option<Stack>>>);

impl Current {
    /// Without a service.
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Passes all later requests to this service. Requests on their way stay with the former one.
    pub(super) fn set(&self, stack: Stack) {
        self.0.send_replace(Some(stack));
    }
}

impl Service<Arrived> for Current {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrived: Arrived) -> Self::Future {
        let present = self.0.borrow().clone();
        if let Some(mut stack) = present {
            return stack.call(arrived);
        }
        let mut set = self.0.subscribe();
        Box::pin(async move {
            let first = set.wait_for(Option::is_some).await.ok().and_then(|stack| stack.clone());
            match first {
                Some(mut stack) => stack.call(arrived).await,
                // It owns the sender itself, so there is always one.
                None => std::future::pending().await,
            }
        })
    }
}
