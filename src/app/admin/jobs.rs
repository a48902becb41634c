//! `/jobs`: the jobs of all callers, and each of them. Never what they ask or got.

use http::{Response, StatusCode, request::Parts};

use super::{
    Admin, json_answer,
    outcome::{Done, NotDone, Outcome},
    text,
};
use crate::{
    message::body::Body,
    middleware::jobs::{JobFilter, JobId},
    problem::{Cause, respond},
};

/// The id in the path of a job.
pub(super) fn id_in(path: &str) -> &str {
    path.strip_prefix("/jobs/").unwrap_or_default()
}

impl Admin {
    pub(super) async fn list_jobs(&self, request: &Parts) -> Response<Body> {
        let Some(jobs) = &self.jobs else { return no_jobs() };
        let filter = match JobFilter::parse(request.uri.query()) {
            Ok(filter) => filter,
            Err((parameter, detail)) => return text(StatusCode::BAD_REQUEST, &format!("{parameter}: {detail}\n")),
        };
        match jobs.page(None, &filter).await {
            Ok(mut page) => {
                page.next = page.next.map(|query| format!("/jobs{query}"));
                json_answer(StatusCode::OK, &page)
            }
            Err(cause) => refused(&cause).into(),
        }
    }

    pub(super) async fn show_job(&self, id: &str) -> Response<Body> {
        let Some(jobs) = &self.jobs else { return no_jobs() };
        let shown = match id.parse::<JobId>() {
            Ok(id) => jobs.show(id).await,
            Err(_) => Err(Cause::UnknownJob),
        };
        match shown {
            Ok(job) => json_answer(StatusCode::OK, &job),
            Err(cause) => refused(&cause).into(),
        }
    }

    /// Removes a job before it is sent.
    pub(super) async fn cancel_job(&self, id: &str) -> Outcome {
        let Some(jobs) = &self.jobs else { return Err(NotDone(StatusCode::NOT_FOUND, NO_JOBS.to_owned())) };
        let job = id.parse::<JobId>().map_err(|_| refused(&Cause::UnknownJob))?;
        jobs.cancel_by_id(job).await.map_err(|cause| refused(&cause))?;
        Ok(Done { outcome: format!("removed the job {id}"), count: None })
    }
}

/// What a gateway without a store for jobs says.
const NO_JOBS: &str = "this gateway keeps no jobs";

fn no_jobs() -> Response<Body> {
    text(StatusCode::NOT_FOUND, &format!("{NO_JOBS}\n"))
}

fn refused(cause: &Cause) -> NotDone {
    let detail = respond::for_operators(cause);
    NotDone(cause.problem_type().status, format!("{}: {detail}", respond::name(cause)))
}
