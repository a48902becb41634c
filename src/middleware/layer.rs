//! The form of every layer: a struct with its dependencies, and one function that handles one request.
//!
//! tower needs a `Layer` and a `Service` for each; both are here, once. All services of the stack are always ready,
//! because each layer waits in its future. So a layer calls the service behind it without asking for readiness first. A
//! layer that must come back to that service later moves a clone into its future.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use tower::{Layer, Service};

use crate::{message::body::Body, problem::Refusal};

/// The future of every layer. A layer that adds nothing after the call returns the future of the service behind it.
pub type BoxFuture<T = Response<Body>, E = Refusal> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// What a layer does with a request, before and after it calls the service behind it (`S`).
pub trait Middleware<Request, S>: Send + Sync + 'static {
    /// The result of a successful request.
    type Response;
    /// The result of a failed request.
    type Error;

    /// Handles one request.
    fn handle(self: &Arc<Self>, request: Request, inner: &mut S) -> BoxFuture<Self::Response, Self::Error>;
}

/// The service behind a layer. It is always ready.
pub trait Inner<Request, T = Response<Body>>:
    Service<Request, Response = T, Error = Refusal, Future = BoxFuture<T>> + Clone + Send + 'static
{
}

impl<Request, T, S> Inner<Request, T> for S where
    S: Service<Request, Response = T, Error = Refusal, Future = BoxFuture<T>> + Clone + Send + 'static
{
}

/// Puts a [`Middleware`] in front of a service.
#[derive(Debug)]
#[must_use = "a layer does nothing until it is part of a stack"]
pub struct MiddlewareLayer<M>(Arc<M>);

/// A [`Middleware`] in front of a service.
#[derive(Debug)]
pub struct MiddlewareService<M, S> {
    middleware: Arc<M>,
    inner: S,
}

impl<M> MiddlewareLayer<M> {
    /// All services made by the layer share the middleware.
    pub fn new(middleware: M) -> Self {
        Self(Arc::new(middleware))
    }

    /// With a middleware that other stacks use too.
    pub fn shared(middleware: &Arc<M>) -> Self {
        Self(Arc::clone(middleware))
    }
}

impl<M, S> Layer<S> for MiddlewareLayer<M> {
    type Service = MiddlewareService<M, S>;

    fn layer(&self, inner: S) -> Self::Service {
        MiddlewareService { middleware: Arc::clone(&self.0), inner }
    }
}

impl<M, S: Clone> Clone for MiddlewareService<M, S> {
    fn clone(&self) -> Self {
        Self { middleware: Arc::clone(&self.middleware), inner: self.inner.clone() }
    }
}

impl<Request, M: Middleware<Request, S>, S> Service<Request> for MiddlewareService<M, S> {
    type Response = M::Response;
    type Error = M::Error;
    type Future = BoxFuture<M::Response, M::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.middleware.handle(request, &mut self.inner)
    }
}
