//! One read of a cached route: the calls that can be made for it, and the answers that its caller gets.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Response, header};

use super::{
    cached_response::CachedResponse,
    directives::{Directives, Lifetime},
    epochs,
    key::Key,
};
use crate::{
    call::{CacheOutcome, Call, CallContext, Payload, RequestSummary},
    message::body::{Body, BodyError},
    problem::{Cause, Refusal, UpstreamFault},
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// One read of a cached route.
pub(super) struct Read {
    pub(super) call: Call,
    pub(super) directives: Directives,
    pub(super) key: Key,
    pub(super) depends_on: epochs::Read,
    pub(super) lifetime: Lifetime,
}

/// The outcome of a call, for the read that started it.
pub(super) enum Fetched {
    /// No call was made, because an answer had been stored meanwhile.
    Cached(Arc<CachedResponse>),
    /// A new answer that all readers can have.
    New {
        answer: Arc<CachedResponse>,
        /// Whether later reads can have it too.
        stored: bool,
        summary: Option<RequestSummary>,
    },
    /// An answer for this caller only, or a failure.
    Other(Box<Result<Response<Body>, Refusal>>),
}

impl Read {
    pub(super) fn new(call: Call) -> Self {
        let depends_on = epochs::Read::of(&call);
        let route = &call.context.route;
        let lifetime = Lifetime { fresh: route.cache, grace: route.stale_if_error };
        let (directives, key) = (Directives::of(&call.headers), Key::of(&call));
        Self { call, directives, key, depends_on, lifetime }
    }

    /// Whether the cache can answer: not a partial read, not a read with a body, which may change the answer, and not one
    /// with conditions that only Zoho can check.
    pub(super) fn is_cacheable(&self) -> bool {
        let for_zoho = [header::RANGE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
        let empty = matches!(&self.call.payload, Payload::Held { bytes, trailers: None } if bytes.is_empty());
        empty && !for_zoho.iter().any(|name| self.call.headers.contains_key(name))
    }

    /// The call in the form whose answer other reads can share.
    pub(super) fn shared_call(&self) -> Call {
        let mut call = self.own_call();
        // The cache checks the caller's validators; Zoho is asked for the complete answer.
        call.headers.remove(header::IF_NONE_MATCH);
        call.headers.remove(header::IF_MODIFIED_SINCE);
        // A failure in a compressed answer could not be seen, and not every caller could read the answer.
        call.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        call
    }

    /// The call as it came; a cacheable read has no body.
    pub(super) fn own_call(&self) -> Call {
        self.call.without_body()
    }

    /// The answer from the read's own call; `fetched` is `None` if that call panicked.
    pub(super) fn answer(&self, fetched: Option<Fetched>, why: &str) -> Result<Response<Body>, Refusal> {
        match fetched {
            Some(Fetched::Cached(answer)) => Ok(self.hit(&answer)),
            Some(Fetched::New { answer, stored, summary }) => {
                let stored = if stored { "; stored" } else { "" };
                let mut response = self.served(&answer, &format!("fwd={why}{stored}"), CacheOutcome::Miss);
                answer.add_limits(response.headers_mut());
                summary.map(|summary| response.extensions_mut().insert(summary));
                Ok(response)
            }
            Some(Fetched::Other(outcome)) => {
                (*outcome).map(|response| marked(response, &format!("fwd={why}"), CacheOutcome::Miss))
            }
            None => Err(Refusal::from(Cause::Internal).of(&self.call.context)),
        }
    }

    pub(super) fn hit(&self, answer: &CachedResponse) -> Response<Body> {
        self.served(answer, &format!("hit; ttl={}", answer.ttl()), CacheOutcome::Hit)
    }

    /// The answer of another read's call.
    pub(super) fn collapsed(&self, answer: &CachedResponse, why: &str) -> Response<Body> {
        self.served(answer, &format!("fwd={why}; collapsed"), CacheOutcome::Collapsed)
    }

    pub(super) fn served(&self, answer: &CachedResponse, how: &str, outcome: CacheOutcome) -> Response<Body> {
        let head_only = self.call.method == Method::HEAD;
        let mut response = marked(answer.serve(&self.call.headers, head_only), how, outcome);
        let (account, route) = self.call.context.names();
        response.extensions_mut().insert(RequestSummary { account, route, waited: None });
        response
    }

    /// The shared call was not answered within the time that the read's own call would have had.
    pub(super) fn timed_out(&self) -> Refusal {
        let log = "the shared call was not answered in time".to_owned();
        let fault = fault(&self.call.context, "http_response_timeout", log);
        Refusal::from(Cause::UpstreamTimeout(fault)).of(&self.call.context)
    }
}

/// Zoho's answer ended early, and no part of it has reached a caller.
pub(super) fn broken(context: &CallContext, error: &BodyError) -> Refusal {
    let log = error.to_string();
    let cause = match error {
        BodyError::Stalled => Cause::UpstreamTimeout(fault(context, "http_response_timeout", log)),
        _ => Cause::UpstreamInvalidResponse(fault(context, "http_response_incomplete", log)),
    };
    Refusal::from(cause).of(context)
}

fn fault(context: &CallContext, error: &'static str, log: String) -> UpstreamFault {
    let server = context.account.endpoints.product(context.route.product).authority().to_string();
    UpstreamFault { error, server, log, before_the_call: false, proxy: None }
}

/// Adds `Cache-Status` (RFC 9211), after those of caches nearer to Zoho.
pub(super) fn marked(mut response: Response<Body>, how: &str, outcome: CacheOutcome) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(&format!("zoho-gateway; {how}")) {
        response.headers_mut().append(CACHE_STATUS, value);
    }
    response.extensions_mut().insert(outcome);
    response
}
