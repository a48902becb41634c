//! The resources below `/gateway/jobs`: the jobs of a caller, each of them, and their answers.
//!
//! They exist on the gateway's own hosts only. A request that names a host of Zoho's passes on, whatever its path.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};

use super::{
    Jobs,
    id::JobId,
    job::{Job, Stage},
    respond::answered,
    view::{self, COLLECTION, JobFilter, JobView},
};
use crate::{
    call::{Identified, prefer},
    message::{body::Body, host, payload_error::Fault},
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    problem::{Cause, Refusal, ratelimit::whole_seconds},
    zoho::host::ZohoHost,
};

/// Answers requests for jobs.
#[derive(Debug)]
pub struct JobResources {
    jobs: Option<Arc<Jobs>>,
}

/// A resource.
enum Resource {
    Collection,
    Job(Arc<Job>),
    Answer(Arc<Job>),
}

impl<S: Inner<Identified>> Middleware<Identified, S> for JobResources {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, identified: Identified, inner: &mut S) -> BoxFuture {
        let path = identified.head.uri.path();
        let Some((jobs, rest)) = self.jobs.as_ref().zip(below_collection(path)) else { return inner.call(identified) };
        if !jobs.is_own_host(&identified.head) {
            return inner.call(identified);
        }
        let rest = rest.to_owned();
        let (jobs, head, caller) = (Arc::clone(jobs), identified.head, identified.caller);
        Box::pin(async move {
            match (&head.method, jobs.resource(&rest, caller.name()).await?) {
                (&(Method::GET | Method::HEAD), Resource::Collection) => jobs.list(caller.name(), &head).await,
                (&(Method::GET | Method::HEAD), Resource::Job(job)) => jobs.state_of(&job, &head).await,
                (&(Method::GET | Method::HEAD), Resource::Answer(job)) => jobs.answer_of(&job, &head).await,
                (&Method::DELETE, Resource::Job(job)) => jobs.delete(&job).await,
                (_, Resource::Job(_)) => Err(Cause::MethodNotAllowed { allowed: "GET, HEAD, DELETE" }),
                (_, Resource::Collection | Resource::Answer(_)) => {
                    Err(Cause::MethodNotAllowed { allowed: "GET, HEAD" })
                }
            }
            .map_err(Refusal::from)
        })
    }
}

impl JobResources {
    /// The layer for these jobs; without jobs it passes everything on.
    pub fn layer(jobs: Option<Arc<Jobs>>) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { jobs })
    }
}

/// The rest of a path below the collection, without the slash; `None` for every other path.
fn below_collection(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(COLLECTION)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

impl Jobs {
    /// Whether the request names the gateway itself, and none of the hosts that lead to Zoho.
    fn is_own_host(&self, head: &Parts) -> bool {
        // The gateway's own name in an absolute form was turned into origin form.
        let named = head.uri.authority().map(http::uri::Authority::as_str);
        let host = named.or_else(|| head.headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
        let leads_to_zoho = self.deps.known.read().accounts.values().any(|account| account.product_of(host).is_some());
        named.is_none() && !leads_to_zoho && ZohoHost::of(&host::name(host)).is_none()
    }

    /// A job of another caller does not exist.
    async fn resource(self: &Arc<Self>, rest: &str, caller: &str) -> Result<Resource, Cause> {
        match rest.split_once('/') {
            None if rest.is_empty() => Ok(Resource::Collection),
            None => Ok(Resource::Job(self.job_of(rest, caller).await?)),
            Some((id, "answer")) => Ok(Resource::Answer(self.job_of(id, caller).await?)),
            Some(_) => Err(Cause::UnknownJob),
        }
    }

    async fn job_of(self: &Arc<Self>, id: &str, caller: &str) -> Result<Arc<Job>, Cause> {
        let id = id.parse::<JobId>().map_err(|_| Cause::UnknownJob)?;
        Some(self.job(id).await?).filter(|job| job.caller.name() == caller).ok_or(Cause::UnknownJob)
    }

    /// A job of any caller and gateway.
    pub(super) async fn job(self: &Arc<Self>, id: JobId) -> Result<Arc<Job>, Cause> {
        let job = match self.here(id) {
            Some(job) => Some(job),
            None => self.elsewhere(id).await?,
        };
        job.filter(|job| job.state().is_some()).ok_or(Cause::UnknownJob)
    }

    async fn list(&self, caller: &str, head: &Parts) -> Result<Response<Body>, Cause> {
        let filter = JobFilter::parse(head.uri.query()).map_err(|(parameter, detail)| {
            Cause::InvalidPayload(vec![Fault { parameter, pointer: String::new(), detail }])
        })?;
        let mut page = self.page(Some(caller), &filter).await?;
        page.next = page.next.map(|query| format!("{COLLECTION}{query}"));
        Ok(view::json(StatusCode::OK, &page))
    }

    async fn state_of(&self, job: &Arc<Job>, head: &Parts) -> Result<Response<Body>, Cause> {
        self.wait(job, head).await;
        // It may have been removed meanwhile.
        job.state().ok_or(Cause::UnknownJob)?;
        let view = self.view_with_place(job);
        let mut response = view::json(StatusCode::OK, &view);
        if view.answer.is_none() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(expected(&view))));
        }
        Ok(response)
    }

    async fn answer_of(&self, job: &Arc<Job>, head: &Parts) -> Result<Response<Body>, Cause> {
        self.wait(job, head).await;
        match job.stage() {
            Stage::Ended(ending) => {
                let answer = self.kept_answer(job, &ending).await?;
                Ok(answer.response(head.method == Method::HEAD))
            }
            Stage::Removed(_) => Err(Cause::UnknownJob),
            _ => Err(Cause::JobNotEnded { retry_after: expected(&self.view_with_place(job)) }),
        }
    }

    async fn delete(self: &Arc<Self>, job: &Arc<Job>) -> Result<Response<Body>, Cause> {
        self.cancel(job).await?;
        let mut response = view::json(StatusCode::NO_CONTENT, &());
        *response.body_mut() = Body::default();
        response.headers_mut().remove(header::CONTENT_TYPE);
        Ok(response)
    }

    /// Waits for the end of a job as long as the request prefers; a request without a preference does not wait.
    async fn wait(&self, job: &Arc<Job>, head: &Parts) {
        let Some(span) = prefer::wait(&head.headers, self.deps.longest_wait) else { return };
        tokio::select! {
            _ = answered(job) => {}
            () = tokio::time::sleep(span) => {}
            () = self.deps.shutdown.draining() => {}
        }
    }
}

fn expected(view: &JobView) -> Duration {
    Duration::from_secs_f64(view.expected_wait_seconds.unwrap_or_default())
}

impl Jobs {
    /// Removes a job for an operator.
    ///
    /// # Errors
    /// There is no such job, it was sent already, or the store cannot be written.
    pub async fn cancel_by_id(self: &Arc<Self>, id: JobId) -> Result<(), Cause> {
        self.cancel(&self.job(id).await?).await
    }
}
