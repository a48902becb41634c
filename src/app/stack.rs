//! The path of a request through all layers, from the listener to Zoho, in order.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use http::{Response, header, header::Entry};
use tower::{ServiceBuilder, util::BoxCloneSyncService};

use crate::{
    call::{Arrived, prefer::WaitLimits},
    ledger::Limiters,
    message::body::Body,
    middleware::{
        audit::Audit,
        browser_guard::{BrowserGuard, KnownHosts},
        cache::Cache,
        caller::{Authenticator, CallerLimiters, Callers, Issuers},
        dry_run::DryRun,
        edge::Edge,
        forward::{Forward, hygiene},
        jobs::{JobResources, Jobs, JobsLayer},
        merge::{Compose, Gather, Groups},
        retry::Retry,
        route::Router,
        throttle::Throttle,
        token::{CheckScope, Sign, Source},
        validate::Validate,
    },
    os::shutdown::Shutdown,
    telemetry::{Metrics, RecentRefusals, Traces},
    upstream::Client,
    zoho::account::AccountName,
};

/// The whole stack as one service.
pub type Stack = BoxCloneSyncService<Arrived, Response<Body>, Infallible>;

/// The dependencies of the stack.
#[derive(Debug)]
pub struct StackDeps {
    /// The names that requests may use for the gateway.
    pub hosts: KnownHosts,
    /// The callers that may call.
    pub callers: Callers,
    /// The issuers of callers' tokens, shared with the admin listener.
    pub issuers: Issuers,
    /// Accounts and catalogue.
    pub router: Router,
    /// The limiters, shared with the admin listener.
    pub limiters: Arc<Limiters>,
    /// Whether calls that the account's scopes do not allow are rejected here.
    pub check_scopes: bool,
    /// The sources of access tokens, shared with the admin listener.
    pub sources: Arc<HashMap<AccountName, Arc<Source>>>,
    /// The HTTP client for Zoho.
    pub client: Client,
    /// How long calls wait for a slot.
    pub wait: WaitLimits,
    /// The longest wait for the head of an answer.
    pub timeout: Duration,
    /// The largest body, in bytes.
    pub max_body: u64,
    /// The largest form, in bytes; forms are read whole.
    pub max_form: u64,
    /// How many bytes all bodies that are being read may hold together.
    pub max_held: u64,
    /// The jobs, shared with the admin listener; `None` without a store for them.
    pub jobs: Option<Arc<Jobs>>,
    /// The cached answers.
    pub cache: Arc<Cache>,
    /// What callers have used of their own limits.
    pub caller_limiters: Arc<CallerLimiters>,
    /// Whether a write that cannot be recorded in the audit is not sent.
    pub audit_required: bool,
    /// The state of the shutdown.
    pub shutdown: Shutdown,
    /// The metrics of all layers.
    pub metrics: Arc<Metrics>,
    /// The last refusals, shared with the admin listener.
    pub refusals: Arc<RecentRefusals>,
    /// The traces of requests.
    pub traces: Traces,
}

/// The whole stack, the outermost layer first.
#[must_use]
pub fn stack(deps: StackDeps) -> Stack {
    let groups = Groups::new(hygiene::outbound, Arc::clone(&deps.metrics));
    let stack = ServiceBuilder::new()
        // Before anything can log a request: marks the sensitive fields.
        .map_request(with_sensitive_fields)
        // Infallible from here outward: rejections and panics become answers with the request's id.
        .layer(Edge::layer(deps.shutdown.clone(), Arc::clone(&deps.metrics), deps.refusals, deps.traces))
        // Before any credential is checked: web pages get no further.
        .layer(BrowserGuard::layer(deps.hosts))
        // Before anything is looked up: finds out who is calling.
        .layer(Authenticator::layer(deps.callers, deps.issuers, &deps.caller_limiters))
        // Jobs belong to their callers, and are no calls to Zoho.
        .layer(JobResources::layer(deps.jobs.clone()))
        // Finds account and route: everything below is decided per account and route.
        .layer(deps.router.layer())
        // Before all costly steps: a bad payload uses no slot, no token and no connection.
        .layer(Validate::layer(
            deps.max_body,
            deps.max_form,
            deps.max_held,
            deps.wait,
            deps.shutdown.clone(),
            Arc::clone(&deps.metrics),
        ))
        // Before a slot is used: rejects calls that Zoho would reject for a missing scope.
        .layer(CheckScope::layer(deps.check_scopes.then(|| Arc::clone(&deps.sources))))
        // A dry run ends here: it is never cached, queued or sent.
        .layer(DryRun::layer(Arc::clone(&deps.limiters)))
        // Only valid, permitted calls become jobs. Above the cache, which a job's write invalidates when it is executed.
        .layer(JobsLayer(deps.jobs))
        // Before the throttle: an answer from the cache uses no slot.
        .layer(deps.cache.layer())
        // Below the cache, since cached answers change nothing; above the retries: a call has one outcome.
        .layer(Audit::layer(deps.audit_required))
        // Above the throttle: a second attempt asks for a second slot.
        .layer(Retry::layer())
        // Above the throttle: notes which calls wait, and lets those leave the queue that are sent in the call of another.
        .layer(Gather::layer(Arc::clone(&groups), Arc::clone(&deps.limiters)))
        // Before the token: no token is fetched for a waiting call, and none expires in the queue.
        .layer(Throttle::layer(deps.limiters, deps.max_body, deps.metrics))
        // Below the throttle: a call with a slot takes the similar calls that still wait with it.
        .layer(Compose::layer(groups))
        // One token for all callers of an account.
        .layer(Sign::layer(deps.sources, deps.check_scopes, deps.shutdown))
        // Sends the call to Zoho.
        .service(Forward::service(deps.client, deps.timeout, deps.max_body));
    BoxCloneSyncService::new(stack)
}

/// Marks the fields whose values must not be logged.
fn with_sensitive_fields(mut arrived: Arrived) -> Arrived {
    for name in [header::AUTHORIZATION, header::COOKIE] {
        if let Entry::Occupied(mut field) = arrived.request.headers_mut().entry(name) {
            field.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
    arrived
}
