//! Jobs in JSON, for their callers and for operators. Never what they ask or got.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{
    Jobs,
    id::JobId,
    job::{Job, Stage, State},
    store::Filter,
};
use crate::{
    message::body::Body,
    problem::{Cause, respond},
};

/// Where jobs are, on the gateway's own hosts. No product of Zoho's is called so.
pub(super) const COLLECTION: &str = "/gateway/jobs";

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: State,
    /// Its place among the calls that wait for the same route, the first being 1; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
    /// How long it is expected to wait; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_wait_seconds: Option<f64>,
    /// The status of Zoho's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where its answer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Who asked for it.
    pub caller: String,
    /// The account that it uses.
    pub account: String,
    /// The route.
    pub route: String,
    /// The method.
    pub method: String,
    /// The id of the request that made it, in logs and in the audit.
    pub request_id: String,
    /// The key that its caller gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// When it was accepted, as RFC 3339.
    pub created_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Until when it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<String>,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobPage {
    /// How many jobs there are in each state, on all pages together.
    pub counts: BTreeMap<State, usize>,
    /// The jobs, oldest first.
    pub jobs: Vec<JobView>,
    /// The next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which jobs a page has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those after this one.
    pub after: Option<JobId>,
    /// At most so many.
    pub limit: usize,
}

/// How many jobs a page has, unless the request says a number.
const USUAL_LIMIT: usize = 100;

/// Enough for a script, and a page of at most some hundred kilobytes.
const LARGEST_LIMIT: usize = 1000;

impl JobFilter {
    /// Reads a query such as `state=queued&limit=10`.
    ///
    /// # Errors
    /// The parameter that is wrong, and what was expected.
    pub fn parse(query: Option<&str>) -> Result<Self, (String, String)> {
        let mut filter = Self { limit: USUAL_LIMIT, ..Self::default() };
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let wrong = |detail: String| (name.to_owned(), detail);
            match name {
                "state" => {
                    let names = State::ALL.map(State::as_str).join(", ");
                    let state = State::ALL.into_iter().find(|state| state.as_str() == value);
                    filter.state = Some(state.ok_or_else(|| wrong(format!("expected one of {names}")))?);
                }
                "after" => {
                    filter.after = Some(value.parse().map_err(|_| wrong("expected the id of a job".to_owned()))?)
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LARGEST_LIMIT).contains(limit));
                    filter.limit =
                        limit.ok_or_else(|| wrong(format!("expected a number from 1 to {LARGEST_LIMIT}")))?;
                }
                _ => return Err(wrong("expected state, after or limit".to_owned())),
            }
        }
        Ok(filter)
    }

    fn next(&self, after: JobId) -> String {
        let state = self.state.map(|state| format!("&state={}", state.as_str())).unwrap_or_default();
        format!("?limit={}{state}&after={after}", self.limit)
    }
}

impl Jobs {
    /// A job with its place in the queue, which takes a walk along the queue.
    pub(super) fn view_with_place(&self, job: &Job) -> JobView {
        let view = self.view(job);
        if view.state != State::Queued {
            return view;
        }
        let (ahead, wait) = self.expected(job);
        let place = ahead.map(|ahead| ahead + 1);
        JobView { place, expected_wait_seconds: Some(wait.as_secs_f64()), ..view }
    }

    fn view(&self, job: &Job) -> JobView {
        let stage = job.stage();
        let ending = if let Stage::Ended(ending) = &stage { Some(ending) } else { None };
        let state = job.state().unwrap_or(State::Queued);
        let keep = u64::try_from(self.settings.keep.as_millis()).unwrap_or(u64::MAX);
        JobView {
            id: job.id.to_string(),
            state,
            place: None,
            expected_wait_seconds: None,
            status: ending.and_then(|ending| ending.status),
            answer: ending.map(|_| format!("{}/answer", location(job.id))),
            caller: job.caller.name().to_owned(),
            account: job.account.name.to_string(),
            route: job.facts.route.clone(),
            method: job.facts.method.clone(),
            request_id: job.facts.request_id.clone(),
            idempotency_key: job.facts.key.clone(),
            created_at: rfc3339(job.facts.created),
            ended_at: ending.map(|ending| rfc3339(ending.at)),
            kept_until: ending.map(|ending| rfc3339(ending.at.saturating_add(keep))),
        }
    }

    /// The jobs of a caller, or of all; with Redis, those of all gateways.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn page(&self, caller: Option<&str>, filter: &JobFilter) -> Result<JobPage, Cause> {
        let &JobFilter { state, after, limit } = filter;
        // One more shows whether there is a next page.
        let shared = self.list_shared(Filter { caller, state, after, limit: limit + 1 }).await;
        let (mut jobs, counts) = match shared {
            Some(listed) => listed?,
            None => {
                let mut jobs = self.index.lock().list(caller, None);
                let counts = counts(&jobs);
                jobs.retain(|job| job.state().is_some_and(|its| state.is_none_or(|state| its == state)));
                jobs.retain(|job| after.is_none_or(|after| job.id > after));
                (jobs, counts)
            }
        };
        let is_last = jobs.len() <= limit;
        jobs.truncate(limit);
        let next = jobs.last().filter(|_| !is_last).map(|last| filter.next(last.id));
        Ok(JobPage { counts, jobs: jobs.iter().map(|job| self.view(job)).collect(), next })
    }

    /// How many jobs this gateway has in each state.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<State, usize> {
        let jobs = self.index.lock().list(None, None);
        counts(&jobs)
    }

    /// One job of any caller.
    ///
    /// # Errors
    /// There is no such job, or Redis is away.
    pub async fn show(self: &Arc<Self>, id: JobId) -> Result<JobView, Cause> {
        Ok(self.view_with_place(&*self.job(id).await?))
    }
}

fn counts(jobs: &[Arc<Job>]) -> BTreeMap<State, usize> {
    let mut counts: BTreeMap<_, _> = State::ALL.into_iter().map(|state| (state, 0)).collect();
    for state in jobs.iter().filter_map(|job| job.state()) {
        *counts.entry(state).or_default() += 1;
    }
    counts
}

/// Where a job is.
pub(super) fn location(id: JobId) -> String {
    format!("{COLLECTION}/{id}")
}

/// An answer of the gateway itself.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    // Texts and numbers always have a JSON form. The newline is for people at a terminal.
    let mut response = Response::new(Body::full(serde_json::to_string(body).unwrap_or_default() + "\n"));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    respond::proxy_status(headers, "", "job");
    response
}

fn rfc3339(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}
