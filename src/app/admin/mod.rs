//! The admin listener: probes, metrics, and what operators see and do. Never on the proxy's sockets.

mod accept;
mod access;
mod actions;
mod jobs;
mod live_state;
mod log_level;
mod outcome;
pub mod page;
mod parameters;
pub mod reload;
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
use tokio::time::Instant;
use tower::{Service, service_fn, util::BoxCloneSyncService};

pub use self::outcome::Done;
use self::{access::Access, actions::Action, page::Streams, reload::Reloads};
use crate::{
    call::Arrived,
    ledger::{Health, Limiters},
    message::body::Body,
    middleware::{
        browser_guard::{self, KnownHosts},
        caller::{Callers, Issuers},
        jobs::Jobs,
        token::{Source, TokenHealth},
    },
    os::shutdown::Shutdown,
    problem::respond,
    telemetry::{self, Metrics, Observations, RecentRefusals},
    zoho::{account::AccountName, catalogue::RouteId},
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
    /// The configured callers.
    pub callers: Callers,
    /// The ids of all routes.
    pub routes: Arc<[RouteId]>,
    /// The operators' keys; empty: nobody needs one.
    pub keys: Callers,
    /// Whether a request may end the gateway.
    pub quitquitquit: bool,
    /// The jobs, if they have a store.
    pub jobs: Option<Arc<Jobs>>,
    /// The last refusals.
    pub refusals: Arc<RecentRefusals>,
    /// What Zoho's answers say about the catalogue.
    pub observations: Arc<Observations>,
    /// When the gateway started.
    pub started: Instant,
    /// The browsers that watch the live page.
    pub streams: Arc<Streams>,
    /// Whether a write that cannot be recorded in the audit is not sent.
    pub audit_required: bool,
    /// The state of the shutdown.
    pub shutdown: Shutdown,
    /// The names that requests may use for the gateway.
    pub hosts: KnownHosts,
    /// Reloads of the configuration.
    pub reloads: Reloads,
}

/// A page or an action of the listener.
struct Endpoint {
    /// If it ends in a slash, apart from the root, a name follows.
    path: &'static str,
    methods: &'static str,
    access: Access,
    handler: Handler,
}

#[derive(Debug, Clone, Copy)]
enum Handler {
    Live,
    Ready,
    Metrics,
    Page,
    Events,
    Status,
    Report,
    Jobs,
    Job,
    LogLevel,
    SetLogLevel,
    Reload,
    Act(Action),
}

const READ: &str = "GET, HEAD";

/// Everything that is served. A path may have several rows, with different methods.
const ENDPOINTS: &[Endpoint] = &[
    endpoint("/livez", READ, Access::Everybody, Handler::Live),
    endpoint("/readyz", READ, Access::Everybody, Handler::Ready),
    endpoint("/metrics", READ, Access::Everybody, Handler::Metrics),
    endpoint("/", READ, Access::Reader, Handler::Page),
    endpoint("/page.css", READ, Access::Reader, Handler::Page),
    endpoint("/page.js", READ, Access::Reader, Handler::Page),
    endpoint("/parts.js", READ, Access::Reader, Handler::Page),
    endpoint("/words.js", READ, Access::Reader, Handler::Page),
    endpoint("/icon.svg", READ, Access::Reader, Handler::Page),
    endpoint("/events", READ, Access::Reader, Handler::Events),
    endpoint("/status", READ, Access::Reader, Handler::Status),
    endpoint("/report", READ, Access::Reader, Handler::Report),
    endpoint("/jobs", READ, Access::Reader, Handler::Jobs),
    endpoint("/jobs/", READ, Access::Reader, Handler::Job),
    endpoint("/jobs/", "DELETE", Access::Operator, Handler::Act(Action::CancelJob)),
    endpoint("/log-level", READ, Access::Reader, Handler::LogLevel),
    endpoint("/log-level", "PUT", Access::Operator, Handler::SetLogLevel),
    endpoint("/reload", "POST", Access::Operator, Handler::Reload),
    endpoint("/pause", "POST", Access::Operator, Handler::Act(Action::Pause)),
    endpoint("/resume", "POST", Access::Operator, Handler::Act(Action::Resume)),
    endpoint("/unlock", "POST", Access::Operator, Handler::Act(Action::Unlock)),
    endpoint("/cancel", "POST", Access::Operator, Handler::Act(Action::Cancel)),
    endpoint("/drain", "POST", Access::Operator, Handler::Act(Action::Drain)),
    endpoint("/drain", "DELETE", Access::Operator, Handler::Act(Action::EndDrain)),
    endpoint("/quitquitquit", "POST", Access::Operator, Handler::Act(Action::Quit)),
];

const fn endpoint(path: &'static str, methods: &'static str, access: Access, handler: Handler) -> Endpoint {
    Endpoint { path, methods, access, handler }
}

impl Endpoint {
    fn is_at(&self, path: &str) -> bool {
        match self.path.len() > 1 && self.path.ends_with('/') {
            true => path.strip_prefix(self.path).is_some_and(|name| !name.is_empty()),
            false => path == self.path,
        }
    }

    fn takes(&self, method: &Method) -> bool {
        self.methods.split(", ").any(|taken| taken == method.as_str())
    }
}

impl Admin {
    /// What serves the request, and who asks; or the answer to a request that is not served.
    fn admit(&self, arrived: &Arrived) -> Result<(Handler, String), Box<Response<Body>>> {
        let Arrived { request, peer, state } = arrived;
        if let Some(fault) = state.fault() {
            let (status, detail) = respond::protocol(fault);
            return Err(text(status, &format!("{detail}\n")).into());
        }
        let foreign = !is_followed_link(request) && browser_guard::check_origin(request.headers()).is_err();
        if foreign || self.hosts.check_host(request, peer).is_err() {
            let words = "web pages of other origins and other names are not answered here\n";
            return Err(text(StatusCode::FORBIDDEN, words).into());
        }
        let there: Vec<_> = ENDPOINTS.iter().filter(|endpoint| endpoint.is_at(request.uri().path())).collect();
        if there.is_empty() {
            return Err(not_found().into());
        }
        let Some(endpoint) = there.iter().find(|endpoint| endpoint.takes(request.method())) else {
            let methods: Vec<_> = there.iter().map(|endpoint| endpoint.methods).collect();
            return Err(method_not_allowed(&methods.join(", ")).into());
        };
        let who = self.who(endpoint.access, request.headers(), peer)?;
        Ok((endpoint.handler, who))
    }

    async fn serve(&self, handler: Handler, who: &str, request: &Parts, body: Incoming) -> Response<Body> {
        match handler {
            Handler::Live => json_answer(StatusCode::OK, &json!({ "status": "live" })),
            Handler::Ready => self.readiness(),
            Handler::Metrics => {
                let page = self.metrics.expose(&self.live_state(), accept::wants_openmetrics(&request.headers));
                answer(StatusCode::OK, page.content_type, page.text)
            }
            Handler::Page => page::file(request.uri.path()).unwrap_or_else(not_found),
            Handler::Events => self.events(request),
            Handler::Status => self.status_answer().await,
            Handler::Report => json_answer(StatusCode::OK, &self.observations.report()),
            Handler::Jobs => self.list_jobs(request).await,
            Handler::Job => self.show_job(jobs::id_in(request.uri.path())).await,
            Handler::LogLevel => log_level::show(),
            Handler::SetLogLevel => log_level::set(body, who).await,
            Handler::Reload => self.reload(who, &request.uri).await,
            Handler::Act(action) => self.act(action, who, &request.uri).await,
        }
    }

    async fn status_answer(&self) -> Response<Body> {
        let mut page = serde_json::to_value(self.status().await).unwrap_or_default();
        status::moments::add(&mut page);
        json_answer(StatusCode::OK, &page)
    }

    /// Whether the ledger can record calls.
    fn can_record(&self) -> bool {
        !matches!(self.limiters.context().backend.health(), Health::Failing(_))
    }

    /// Ready means: accepts new work, can record calls, and Zoho accepts at least one account. A refused account next
    /// to a good one is shown, but the good one's callers are still served.
    fn readiness(&self) -> Response<Body> {
        let (ready, checks) = self.checks();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let word = if ready { "ready" } else { "not ready" };
        json_answer(status, &json!({ "status": word, "checks": checks }))
    }

    fn checks(&self) -> (bool, BTreeMap<String, String>) {
        let mut checks = BTreeMap::new();
        let draining = self.shutdown.is_out_of_service();
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
        (served && !draining && self.can_record() && audited, checks)
    }
}

/// Answers while the state still belongs to the gateway before this one: it lives, and is not ready.
#[must_use]
pub fn while_waiting() -> BoxCloneSyncService<Arrived, Response<Body>, Infallible> {
    BoxCloneSyncService::new(service_fn(|arrived: Arrived| async move {
        Ok::<_, Infallible>(if arrived.request.uri().path() == "/livez" {
            json_answer(StatusCode::OK, &json!({ "status": "live" }))
        } else {
            let checks = json!({ "state": "the gateway before this one has not ended" });
            json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready", "checks": checks }))
        })
    }))
}

impl Service<Arrived> for Admin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrived: Arrived) -> Self::Future {
        let admitted = self.admit(&arrived);
        let (admin, (request, body)) = (self.clone(), arrived.request.into_parts());
        Box::pin(async move {
            Ok(match admitted {
                Ok((handler, who)) => admin.serve(handler, &who, &request, body).await,
                Err(rejection) => *rejection,
            })
        })
    }
}

/// Whether a person follows a link, for example from a dashboard: the page with the link cannot read the answer. A form
/// of another page navigates too, but it sends a POST.
fn is_followed_link(request: &Request<Incoming>) -> bool {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return false;
    }
    let says = |name: &str, value: &str| request.headers().get(name).is_some_and(|found| found == value);
    says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document")
}

fn not_found() -> Response<Body> {
    let mut paths: Vec<_> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
    paths.dedup();
    text(StatusCode::NOT_FOUND, &format!("served here: {}\n", paths.join(" ")))
}

fn method_not_allowed(methods: &str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("only {methods} are answered here\n"));
    if let Ok(allow) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
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
