//! The admin listener: `/livez`, `/readyz`, `/metrics`, `/status`, `/jobs`. Never on the proxy's sockets.

mod accept;
mod jobs;
pub mod status;

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;
use tower::Service;

use crate::{
    call::Arrived,
    ledger::{Health, Limiters},
    message::body::Body,
    middleware::{
        browser_guard::{self, KnownHosts},
        caller::Issuers,
        jobs::Jobs,
        token::{Source, TokenHealth},
    },
    os::shutdown::Shutdown,
    problem::respond,
    telemetry::{self, Metrics},
    zoho::account::AccountName,
};

/// Answers operators and probes.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The metrics of all layers.
    pub metrics: Arc<Metrics>,
    /// The limiters, whose queues are shown.
    pub limiters: Arc<Limiters>,
    /// The token sources of the accounts.
    pub sources: Arc<HashMap<AccountName, Arc<Source>>>,
    /// The issuers of callers' tokens.
    pub issuers: Issuers,
    /// The jobs, if they have a store.
    pub jobs: Option<Arc<Jobs>>,
    /// Whether a write that cannot be recorded in the audit is not sent.
    pub audit_required: bool,
    /// The state of the shutdown.
    pub shutdown: Shutdown,
    /// The names that requests may use for the gateway.
    pub hosts: KnownHosts,
}

impl Admin {
    /// The answer to a request that gets no page.
    fn reject(&self, Arrived { request, peer, state }: &Arrived) -> Option<Response<Body>> {
        if let Some(fault) = state.fault() {
            let (status, detail) = respond::protocol(fault);
            return Some(text(status, &format!("{detail}\n")));
        }
        let foreign = !is_followed_link(request) && browser_guard::check_origin(request.headers()).is_err();
        if foreign || self.hosts.check_host(request, peer).is_err() {
            let words = "web pages of other origins and other names are not answered here\n";
            return Some(text(StatusCode::FORBIDDEN, words));
        }
        let (words, allow) = match jobs::of_path(request.uri().path()) {
            Some(_) if request.method() == Method::DELETE => return None,
            Some(_) => ("only GET, HEAD and DELETE are answered here\n", "GET, HEAD, DELETE"),
            None => ("only GET and HEAD are answered here\n", "GET, HEAD"),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, words);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            return Some(response);
        }
        None
    }

    async fn page(&self, request: &Parts) -> Response<Body> {
        let path = request.uri.path();
        match path {
            "/livez" => json_answer(StatusCode::OK, &json!({ "status": "live" })),
            "/readyz" => self.readiness(),
            "/metrics" => {
                let counts = self.jobs.as_ref().map(|jobs| jobs.counts()).unwrap_or_default();
                counts.into_iter().for_each(|(state, jobs)| self.metrics.jobs(state.as_str(), jobs));
                let openmetrics = accept::wants_openmetrics(&request.headers);
                let page = self.metrics.expose(self.limiters.waiting(), self.can_record(), openmetrics);
                answer(StatusCode::OK, page.content_type, page.text)
            }
            "/status" => json_answer(StatusCode::OK, &status::status(&self.limiters).await),
            "/jobs" => self.list_jobs(request).await,
            _ => match jobs::of_path(path) {
                Some(id) => self.job(id, &request.method).await,
                None => text(StatusCode::NOT_FOUND, "served here: /livez /readyz /metrics /status /jobs\n"),
            },
        }
    }

    /// Whether the ledger can record calls.
    fn can_record(&self) -> bool {
        !matches!(self.limiters.context().backend.health(), Health::Failing(_))
    }

    /// Ready means: accepts new work, can record calls, and Zoho accepts at least one account. A refused account next
    /// to a good one is shown, but the good one's callers are still served.
    fn readiness(&self) -> Response<Body> {
        let mut checks = BTreeMap::new();
        let draining = self.shutdown.is_draining();
        checks.insert("listener".to_owned(), if draining { "draining".to_owned() } else { "ok".to_owned() });
        checks.insert("state".to_owned(), status::state(&self.limiters.context().backend.health()));
        let mut served = false;
        for (name, source) in self.sources.iter() {
            let health = source.health();
            let words = match &health {
                TokenHealth::Good => "ok".to_owned(),
                TokenHealth::Degraded(words) | TokenHealth::Rejected(words) => words.clone(),
            };
            served |= !matches!(health, TokenHealth::Rejected(_));
            checks.insert(format!("account {name}"), words);
        }
        // Only shown: callers with keys are still served.
        checks.extend(self.issuers.health().map(|(name, words)| (format!("issuer {name}"), words)));
        let audit = telemetry::audit_failure();
        let audited = audit.is_none() || !self.audit_required;
        if let Some(failure) = audit {
            checks.insert("audit".to_owned(), format!("audit-unavailable: {failure}"));
        } else if self.audit_required {
            checks.insert("audit".to_owned(), "ok".to_owned());
        }
        // Only shown: calls that are no jobs are still served.
        if let Some(failure) = self.jobs.as_ref().and_then(|jobs| jobs.failure()) {
            checks.insert("jobs".to_owned(), format!("state-unavailable: {failure}"));
        }
        let ready = served && !draining && self.can_record() && audited;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let word = if ready { "ready" } else { "not ready" };
        json_answer(status, &json!({ "status": word, "checks": checks }))
    }
}

impl Service<Arrived> for Admin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrived: Arrived) -> Self::Future {
        let rejection = self.reject(&arrived);
        let (admin, (request, _)) = (self.clone(), arrived.request.into_parts());
        Box::pin(async move {
            Ok(match rejection {
                Some(rejection) => rejection,
                None => admin.page(&request).await,
            })
        })
    }
}

/// Whether a person follows a link, for example from a dashboard: the page with the link cannot read the answer.
fn is_followed_link(request: &Request<Incoming>) -> bool {
    let says = |name: &str, value: &str| request.headers().get(name).is_some_and(|found| found == value);
    says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document")
}

fn json_answer(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(body) {
        Ok(body) => answer(status, "application/json", format!("{body}\n")),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot write the page: {error}\n")),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", body.to_owned())
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A browser must not guess another type, since some pages repeat text of others.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
