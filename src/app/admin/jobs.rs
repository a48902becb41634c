//! `/jobs`: the jobs of all callers, and each of them. Never what they ask or got.

use http::{Method, Response, StatusCode, request::Parts};

use super::{Admin, json_answer, text};
use crate::{
    message::body::Body,
    middleware::jobs::{JobFilter, JobId},
    problem::{Cause, respond},
};

/// The id in the path of a job.
pub(super) fn of_path(path: &str) -> Option<&str> {
    path.strip_prefix("/jobs/").filter(|id| !id.is_empty())
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
            Err(cause) => refused(&cause),
        }
    }

    /// Shows a job, or removes it before it is sent.
    pub(super) async fn job(&self, id: &str, method: &Method) -> Response<Body> {
        let Some(jobs) = &self.jobs else { return no_jobs() };
        let Ok(id) = id.parse::<JobId>() else { return refused(&Cause::UnknownJob) };
        if *method != Method::DELETE {
            let shown = jobs.show(id).await;
            return shown.map_or_else(|cause| refused(&cause), |job| json_answer(StatusCode::OK, &job));
        }
        match jobs.cancel_by_id(id).await {
            Ok(()) => text(StatusCode::OK, "removed\n"),
            Err(cause) => refused(&cause),
        }
    }
}

fn no_jobs() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "this gateway keeps no jobs\n")
}

fn refused(cause: &Cause) -> Response<Body> {
    let detail = respond::for_operators(cause);
    text(cause.problem_type().status, &format!("{}: {detail}\n", respond::name(cause)))
}
