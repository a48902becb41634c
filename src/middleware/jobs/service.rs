//! The layer that makes jobs of calls.

use std::sync::Arc;

use http::Response;
use tower::{Layer, util::BoxCloneSyncService};

use super::{Jobs, elsewhere, run::run_all, wish::Wish};
use crate::{
    call::Call,
    message::body::Body,
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer, MiddlewareService},
    problem::{Cause, Refusal},
};

/// Makes the layer. The jobs run through the service behind the layer that was made last, in the runtime in which the first
/// one is made.
#[derive(Debug)]
pub struct JobsLayer(pub Option<Arc<Jobs>>);

/// Makes jobs of the calls that want to be some.
#[derive(Debug)]
pub struct JobsMiddleware(Option<Arc<Jobs>>);

impl<S: Inner<Call> + Sync> Layer<S> for JobsLayer {
    type Service = MiddlewareService<JobsMiddleware, S>;

    fn layer(&self, inner: S) -> Self::Service {
        let jobs = self.0.as_ref();
        if let Some(jobs) = jobs {
            *jobs.inner.write() = Some(BoxCloneSyncService::new(inner.clone()));
        }
        if let Some(jobs) = jobs
            && let Some(started) = jobs.started.lock().take()
        {
            if let Some(lost) = jobs.lost.lock().take() {
                tokio::spawn(elsewhere::follow(Arc::clone(jobs), lost));
            }
            // It ends with the shutdown.
            tokio::spawn(run_all(Arc::clone(jobs), started));
        }
        MiddlewareLayer::new(JobsMiddleware(self.0.clone())).layer(inner)
    }
}

impl<S: Inner<Call>> Middleware<Call, S> for JobsMiddleware {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, call: Call, inner: &mut S) -> BoxFuture {
        // Without a store nothing could be promised, and a preference may be ignored (RFC 7240 section 2).
        let Some(jobs) = self.0.clone() else { return inner.call(call) };
        match Wish::of(&call.headers, call.preferred_wait) {
            Err(fault) => {
                let refusal = Refusal::from(Cause::InvalidPayload(vec![fault])).of(&call.context);
                Box::pin(std::future::ready(Err(refusal)))
            }
            // A read may be repeated anyway.
            Ok(wish) if !wish.asynchronous && (wish.key.is_none() || call.changes_nothing()) => inner.call(call),
            Ok(wish) => Box::pin(async move {
                let context = call.context.clone();
                let submitted = jobs.submit(call, &wish).await.map_err(|cause| Refusal::from(cause).of(&context))?;
                jobs.respond(submitted, &wish).await
            }),
        }
    }
}
