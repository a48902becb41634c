//! The path of a request through all layers, from the listener to Zoho, in order.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use http::{Response, header, header::Entry};
use tower::{Service, ServiceBuilder};

use crate::{
    call::Arrived,
    ledger::Limiters,
    message::body::Body,
    middleware::{
        audit::Audit,
        browser_guard::{BrowserGuard, KnownHosts},
        cache::Cache,
        caller::{Authenticator, Callers, Issuers},
        dry_run::DryRun,
        edge::Edge,
        forward::Forward,
        retry::Retry,
        route::Router,
        throttle::Throttle,
        token::{CheckScope, Sign, Source},
        validate::Validate,
    },
    os::shutdown::Shutdown,
    telemetry::Metrics,
    upstream::Client,
    zoho::account::AccountName,
};

/// What the layers need.
#[derive(Debug)]
pub struct StackDeps {
    /// Under which names the gateway is called.
    pub hosts: KnownHosts,
    /// Who may call.
    pub callers: Callers,
    /// Whose tokens are believed, shared with the admin listener.
    pub issuers: Issuers,
    /// Accounts and catalogue.
    pub router: Router,
    /// The queues, shared with the admin listener.
    pub limiters: Arc<Limiters>,
    /// Whether calls that the account's scopes do not allow are refused here.
    pub check_scopes: bool,
    /// The tokens, shared with the admin listener.
    pub sources: Arc<HashMap<AccountName, Arc<Source>>>,
    /// The way to Zoho.
    pub client: Client,
    /// Longest wait for a slot.
    pub max_wait: Duration,
    /// Longest wait for an answer's head.
    pub timeout: Duration,
    /// Largest body, in bytes.
    pub max_body: u64,
    /// Largest form, in bytes: it is read whole.
    pub max_form: u64,
    /// How much all bodies that are being read may hold, in bytes.
    pub max_held: u64,
    /// How much all kept answers together may hold, in bytes.
    pub cache_bytes: u64,
    /// Whether a write that cannot be recorded in the audit is not sent.
    pub audit_required: bool,
    /// The way out.
    pub shutdown: Shutdown,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// The whole stack, the outermost layer first.
pub fn stack(
    deps: StackDeps,
) -> impl Service<Arrived, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static {
    let StackDeps {
        hosts,
        callers,
        issuers,
        router,
        limiters,
        check_scopes,
        sources,
        client,
        max_wait,
        timeout,
        max_body,
        max_form,
        max_held,
        cache_bytes,
        audit_required,
        shutdown,
        metrics,
    } = deps;
    ServiceBuilder::new()
        // Before anything can log a request: marks what must not be seen.
        .map_request(with_sensitive_fields)
        // Infallible from here outward: refusals and panics become answers. Each has its request's id.
        .layer(Edge::layer(shutdown.clone(), Arc::clone(&metrics)))
        // Before anybody is asked for a key: no web page gets further.
        .layer(BrowserGuard::layer(hosts))
        // Before anything is looked up for it: who is calling.
        .layer(Authenticator::layer(callers, issuers))
        // Whose call, and which: everything below is decided per account and route.
        .layer(router.layer())
        // Before all that costs: a bad payload spends no slot, no token and no connection.
        .layer(Validate::layer(max_body, max_form, max_held, max_wait, shutdown.clone()))
        // Before a slot is spent: what the login was not granted, Zoho would refuse all the same.
        .layer(CheckScope::layer(check_scopes.then(|| Arc::clone(&sources))))
        // What is only asked, not called, ends here: it is never cached, queued or sent.
        .layer(DryRun::layer(Arc::clone(&limiters)))
        // Before the throttle: what the cache can answer spends no slot.
        .layer(Cache::layer(cache_bytes, timeout, Arc::clone(&metrics)))
        // Below the cache, since what that answers changes nothing; above the retries: a call has one outcome.
        .layer(Audit::layer(audit_required))
        // Above the throttle: a second attempt asks for a second permit.
        .layer(Retry::layer())
        // Before the token: none is fetched for a call that waits, none goes stale in the queue.
        .layer(Throttle::layer(limiters, max_body, metrics))
        // One token for all callers of an account.
        .layer(Sign::layer(sources, check_scopes, shutdown))
        // Out to Zoho.
        .service(Forward::service(client, timeout, max_body))
}

/// Marks the fields whose values no log may show.
fn with_sensitive_fields(mut arrived: Arrived) -> Arrived {
    for name in [header::AUTHORIZATION, header::COOKIE] {
        if let Entry::Occupied(mut field) = arrived.request.headers_mut().entry(name) {
            field.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
    arrived
}
