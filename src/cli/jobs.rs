//! `jobs`: lists, shows and removes the jobs of a running gateway.

use std::fmt::Write;

use clap::Subcommand;
use http::{Method, StatusCode};

use super::{Failure, RunningGateway, admin::AdminListener, print};
use crate::middleware::jobs::{JobPage, JobState, JobView};

/// What to do with jobs.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Action {
    /// List the jobs of all callers, oldest first. This is the default.
    List {
        /// Only those in this state: queued, sending, done, failed or unknown.
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<&'static str>,
    },
    /// Show one job, without what it asks and got.
    Show {
        /// Its id.
        id: String,
    },
    /// Remove a job that was not sent yet.
    Cancel {
        /// Its id.
        id: String,
    },
}

pub(super) async fn jobs(gateway: RunningGateway, action: Option<Action>, json: bool) -> Result<(), Failure> {
    let listener = AdminListener::find(&gateway)?;
    let text = match action.unwrap_or(Action::List { state: None }) {
        Action::List { state } => list(&listener, state, json).await?,
        Action::Show { id } => {
            let body = asked(&listener, Method::GET, &format!("/jobs/{}", path_segment(&id)?)).await?;
            if json { body } else { parsed::<JobView>(&body).map(|job| in_words(&job))? }
        }
        Action::Cancel { id } => {
            asked(&listener, Method::DELETE, &format!("/jobs/{}", path_segment(&id)?)).await?;
            format!("removed {id}\n")
        }
    };
    Ok(print(&text)?)
}

/// All pages, as one.
async fn list(listener: &AdminListener, state: Option<&str>, json: bool) -> Result<String, Failure> {
    let state = state.map(|state| format!("&state={state}")).unwrap_or_default();
    let mut whole: Option<JobPage> = None;
    let mut next = Some(format!("/jobs?limit=1000{state}"));
    while let Some(path) = next {
        let mut page: JobPage = parsed(&asked(listener, Method::GET, &path).await?)?;
        next = page.next.take();
        match &mut whole {
            Some(whole) => whole.jobs.append(&mut page.jobs),
            None => whole = Some(page),
        }
    }
    let whole = whole.ok_or_else(|| Failure::Run("the admin listener has no list of jobs".to_owned()))?;
    if json {
        return Ok(format!("{}\n", serde_json::to_string(&whole).unwrap_or_default()));
    }
    let counts = JobState::ALL.into_iter().map(|state| (state, whole.counts.get(&state).copied().unwrap_or_default()));
    let counts: Vec<_> = counts.map(|(state, count)| format!("{count} {}", state.as_str())).collect();
    let lines = whole.jobs.iter().fold(String::new(), |text, job| text + &line(job));
    Ok(format!("{lines}{}\n", counts.join(", ")))
}

async fn asked(listener: &AdminListener, method: Method, path: &str) -> Result<String, Failure> {
    let unreachable = "no gateway answers; --config or --admin names the admin listener of another one";
    let answer = listener.ask(method, path).await;
    let (status, body) = answer.map_err(|failure| Failure::Run(format!("{failure}: {unreachable}")))?;
    match status {
        StatusCode::OK => Ok(format!("{body}\n")),
        _ => Err(Failure::Run(body)),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|error| {
        Failure::Run(format!("the admin listener answers something else; is it a gateway of this version? {error}"))
    })
}

fn line(job: &JobView) -> String {
    let JobView { id, state, caller, account, route, method, .. } = job;
    format!("{id}  {:<8} {caller}  {account}  {method} {route}{}\n", state.as_str(), more(job))
}

/// What is special about its state.
fn more(job: &JobView) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match (job.place, job.expected_wait_seconds, job.status) {
        (Some(place), Some(wait), _) => write!(text, "  place {place}, about {wait:.0} s"),
        (None, Some(wait), _) => write!(text, "  about {wait:.0} s"),
        (_, _, Some(status)) => write!(text, "  {status}"),
        _ => Ok(()),
    };
    text
}

fn in_words(job: &JobView) -> String {
    let mut text = line(job);
    let moments = [
        ("accepted", Some(&job.created_at)),
        ("ended", job.ended_at.as_ref()),
        ("kept until", job.kept_until.as_ref()),
    ];
    let facts = [("request id", Some(&job.request_id)), ("idempotency key", job.idempotency_key.as_ref())];
    for (name, value) in moments.into_iter().chain(facts) {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name}: {value}");
        }
    }
    text
}

/// Ids have no characters with a meaning in a path.
fn path_segment(id: &str) -> Result<&str, Failure> {
    let fits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fits { Ok(id) } else { Err(Failure::Usage(format!("{id:?} is not the id of a job"))) }
}

fn state(text: &str) -> Result<&'static str, String> {
    let found = JobState::ALL.map(JobState::as_str).into_iter().find(|name| *name == text);
    found.ok_or_else(|| format!("expected one of {}", JobState::ALL.map(JobState::as_str).join(", ")))
}
