//! `pause`, `resume`, `unlock`, `cancel` and `drain`: what an operator does to a running gateway.

use std::{fmt::Display, time::Duration};

use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Calls, Failure, RunningGateway, admin::AdminListener, print};
use crate::app::admin::{Done, status::page::StatusPage};

/// How often `drain --wait` looks.
const LOOK: Duration = Duration::from_millis(200);

/// An action with its parameters.
struct Request {
    method: Method,
    path: &'static str,
    query: String,
}

impl Request {
    fn post(path: &'static str) -> Self {
        Self { method: Method::POST, path, query: String::new() }
    }

    fn with(mut self, name: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            let separator = if self.query.is_empty() { '?' } else { '&' };
            let value = value.to_string();
            self.query += &format!("{separator}{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
        }
        self
    }

    fn with_calls(self, Calls { caller, account, route }: Calls) -> Self {
        self.with("caller", caller).with("account", account).with("route", route)
    }

    /// Asks for the action and prints what became of it.
    async fn send(self, gateway: &RunningGateway) -> Result<(), Failure> {
        let Self { method, path, query } = self;
        let body = answered(AdminListener::find(gateway)?.ask(method, &format!("{path}{query}")).await)?;
        let done: Done = serde_json::from_str(&body).map_err(|error| unexpected(&error))?;
        Ok(print(&format!("{}\n", done.outcome))?)
    }
}

pub(super) async fn pause(gateway: &RunningGateway, calls: Calls, span: Option<Duration>) -> Result<(), Failure> {
    let span = span.map(|span| format!("{}ms", span.as_millis()));
    Request::post("/pause").with_calls(calls).with("for", span).send(gateway).await
}

pub(super) async fn resume(gateway: &RunningGateway, calls: Calls, all: bool) -> Result<(), Failure> {
    Request::post("/resume").with_calls(calls).with("all", all.then_some(true)).send(gateway).await
}

pub(super) async fn unlock(
    gateway: &RunningGateway,
    account: String,
    route: String,
    confirmed: bool,
) -> Result<(), Failure> {
    let request = Request::post("/unlock").with("account", Some(account)).with("route", Some(route));
    request.with("confirm", confirmed.then_some(true)).send(gateway).await.map_err(|failure| match failure {
        Failure::Run(words) if !confirmed => Failure::Run(format!("{words} (--yes)")),
        other => other,
    })
}

pub(super) async fn cancel(
    gateway: &RunningGateway,
    calls: Calls,
    request_id: Option<String>,
    job: Option<String>,
) -> Result<(), Failure> {
    Request::post("/cancel").with_calls(calls).with("request_id", request_id).with("job", job).send(gateway).await
}

pub(super) async fn end_drain(gateway: &RunningGateway) -> Result<(), Failure> {
    Request { method: Method::DELETE, ..Request::post("/drain") }.send(gateway).await
}

pub(super) async fn drain(gateway: &RunningGateway, wait: bool) -> Result<(), Failure> {
    Request::post("/drain").send(gateway).await?;
    if !wait {
        return Ok(());
    }
    let listener = AdminListener::find(gateway)?;
    loop {
        let body = answered(listener.page("/status").await)?;
        let page: StatusPage = serde_json::from_str(&body).map_err(|error| unexpected(&error))?;
        if page.gateway.in_flight == 0 {
            return Ok(print("drained\n")?);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn answered(answer: Result<(StatusCode, String), Failure>) -> Result<String, Failure> {
    let unreachable = "no gateway answers; --config or --admin names the admin listener of another one";
    match answer.map_err(|failure| Failure::Run(format!("{failure}: {unreachable}")))? {
        (status, body) if status.is_success() => Ok(body),
        (_, body) => Err(Failure::Run(body)),
    }
}

fn unexpected(error: &serde_json::Error) -> Failure {
    Failure::Run(format!("the admin listener answers something else; is it a gateway of this version? {error}"))
}
