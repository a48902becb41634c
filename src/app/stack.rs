//! The path of a request through all layers, from the listener to Zoho, in order.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderName, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder};
use tower_http::{
    ServiceBuilderExt,
    request_id::{MakeRequestId, RequestId},
};
use uuid::{ContextV7, Timestamp, Uuid};

use crate::{
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
    os::{clock, shutdown::Shutdown},
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
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
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
        // Before anything can log a request: what must not be seen is marked.
        .sensitive_request_headers([header::AUTHORIZATION, header::COOKIE].into())
        // Every request has an id that can be read and written, and every answer tells it.
        .map_request(without_unusable_id)
        .set_request_id(X_REQUEST_ID, TimeOrdered)
        .propagate_request_id(X_REQUEST_ID)
        // Infallible from here outward: refusals and panics become answers.
        .layer(Edge::layer(shutdown.clone(), Arc::clone(&metrics)))
        // Before anybody is asked for a key: no web page gets further.
        .layer(BrowserGuard::layer(hosts))
        // Before anything is looked up for it: who is calling.
        .layer(Authenticator::layer(callers, issuers))
        // Whose call, and which: everything below is decided per account and route.
        .layer(router.layer())
        // Before all that costs: a bad payload spends no slot, no token and no connection.
        .layer(Validate::layer(max_body, max_form, max_held, shutdown.clone()))
        // Before a slot is spent: what the login was not granted, Zoho would refuse all the same.
        .layer(CheckScope::layer(check_scopes.then(|| Arc::clone(&sources))))
        // What is only asked, not called, ends here: it is never cached, queued or sent.
        .layer(DryRun::layer(Arc::clone(&limiters), max_wait))
        // Before the throttle: what the cache can answer spends no slot.
        .layer(Cache::layer(cache_bytes, max_wait, timeout, Arc::clone(&metrics)))
        // Below the cache, since what that answers changes nothing; above the retries: a call has one outcome.
        .layer(Audit::layer(audit_required))
        // Above the throttle: a second attempt asks for a second permit.
        .layer(Retry::layer())
        // Before the token: none is fetched for a call that waits, none goes stale in the queue.
        .layer(Throttle::layer(limiters, max_wait, max_body, metrics))
        // One token for all callers of an account.
        .layer(Sign::layer(sources, check_scopes, shutdown))
        // Out to Zoho.
        .service(Forward::service(client, timeout, max_body))
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a caller.
const LONGEST_ID: usize = 256;

/// An id that no log or problem could repeat is as good as none.
fn without_unusable_id(mut request: Request<Incoming>) -> Request<Incoming> {
    let usable = |id: &HeaderValue| id.len() <= LONGEST_ID && id.to_str().is_ok_and(|id| !id.trim().is_empty());
    if request.headers().get(X_REQUEST_ID).is_some_and(|id| !usable(id)) {
        request.headers_mut().remove(X_REQUEST_ID);
    }
    request
}

/// Within a millisecond ids are told apart, and kept in order, by a count that all share.
static SEQUENCE: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// Ids for requests that bring none: UUID version 7, so that they sort by time.
#[derive(Debug, Clone, Copy)]
struct TimeOrdered;

impl MakeRequestId for TimeOrdered {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = Uuid::new_v7(Timestamp::from_unix(&SEQUENCE, now.as_secs(), now.subsec_nanos()));
        id.to_string().parse().ok().map(RequestId::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_moment_stay_in_order() {
        let ids = (0..1000).map(|_| TimeOrdered.make_request_id(&Request::new(())).unwrap().into_header_value());
        assert!(ids.map(|id| id.to_str().unwrap().to_owned()).is_sorted_by(|one, next| one < next));
    }
}
