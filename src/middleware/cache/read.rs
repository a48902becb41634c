//! One read of a route whose answers are kept: the calls that can be made for it, and what its caller gets.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Response, header};

use super::{
    cached_response::CachedResponse,
    directives::{Directives, Lifetime},
    epochs::Place,
    key::Key,
};
use crate::{
    call::{CacheOutcome, Call, CallContext, Payload, RequestSummary},
    message::body::{Body, BodyError},
    problem::{Cause, Refusal, UpstreamFault},
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// One read of a route whose answers are kept.
pub(super) struct Read {
    pub(super) call: Call,
    pub(super) directives: Directives,
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) lifetime: Lifetime,
}

/// What a call brought, for the read that made it.
pub(super) enum Brought {
    /// The call was not made: in the meantime an answer was kept.
    Found(Arc<CachedResponse>),
    /// A good answer, for everybody who waits for it.
    Good {
        kept: Arc<CachedResponse>,
        /// Later reads can have it too.
        stored: bool,
        summary: Option<RequestSummary>,
    },
    /// Anything else.
    Other(Box<Result<Response<Body>, Refusal>>),
}

impl Read {
    /// What its call asks of the cache; its writes meet at `place`.
    pub(super) fn new(call: Call, place: Place) -> Self {
        let route = &call.context.route;
        let lifetime = Lifetime { fresh: route.cache, grace: route.stale_if_error };
        let (directives, key) = (Directives::of(&call.headers), Key::of(&call));
        Self { call, directives, key, place, lifetime }
    }

    /// A part is not the whole, a body may change what is asked, and some conditions are only Zoho's to judge.
    pub(super) fn is_plain(&self) -> bool {
        let not_ours = [header::RANGE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
        let empty = matches!(&self.call.payload, Payload::Held { bytes, trailers: None } if bytes.is_empty());
        empty && !not_ours.iter().any(|name| self.call.headers.contains_key(name))
    }

    /// The call as others can share its answer.
    pub(super) fn shared(&self) -> Call {
        let mut call = self.own();
        // The caller's validators are ours to answer; Zoho is asked for the whole.
        call.headers.remove(header::IF_NONE_MATCH);
        call.headers.remove(header::IF_MODIFIED_SINCE);
        // Compressed it could not be told from a failure, nor be served to everybody.
        call.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        call
    }

    /// The call as it came: what is plain has no body.
    pub(super) fn own(&self) -> Call {
        self.call.without_body()
    }

    /// What a call of one's own brought.
    pub(super) fn brought(&self, brought: Option<Brought>, why: &str) -> Result<Response<Body>, Refusal> {
        match brought {
            Some(Brought::Found(kept)) => Ok(self.hit(&kept)),
            Some(Brought::Good { kept, stored, summary }) => {
                let stored = if stored { "; stored" } else { "" };
                let mut response = self.served(&kept, &format!("fwd={why}{stored}"), CacheOutcome::Miss);
                kept.tell_limits(response.headers_mut());
                summary.map(|summary| response.extensions_mut().insert(summary));
                Ok(response)
            }
            Some(Brought::Other(outcome)) => {
                (*outcome).map(|response| marked(response, &format!("fwd={why}"), CacheOutcome::Miss))
            }
            None => Err(Refusal::from(Cause::Internal).of(&self.call.context)),
        }
    }

    pub(super) fn hit(&self, kept: &CachedResponse) -> Response<Body> {
        self.served(kept, &format!("hit; ttl={}", kept.ttl()), CacheOutcome::Hit)
    }

    pub(super) fn served(&self, kept: &CachedResponse, how: &str, outcome: CacheOutcome) -> Response<Body> {
        let head_only = self.call.method == Method::HEAD;
        let mut response = marked(kept.serve(&self.call.headers, head_only), how, outcome);
        let (account, route) = self.call.context.names();
        response.extensions_mut().insert(RequestSummary { account, route, waited: None });
        response
    }

    /// Nobody brought an answer within the time that one's own call would have had.
    pub(super) fn overdue(&self) -> Refusal {
        let log = "the call that was shared brought no answer in time".to_owned();
        let fault = fault(&self.call.context, "http_response_timeout", log);
        Refusal::from(Cause::UpstreamTimeout(fault)).of(&self.call.context)
    }
}

/// Zoho's answer broke off while it was read, and nothing of it has reached a caller.
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

/// `Cache-Status` (RFC 9211): ours stands behind those of caches nearer to Zoho.
pub(super) fn marked(mut response: Response<Body>, how: &str, outcome: CacheOutcome) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(&format!("zoho-gateway; {how}")) {
        response.headers_mut().append(CACHE_STATUS, value);
    }
    response.extensions_mut().insert(outcome);
    response
}
