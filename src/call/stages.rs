//! The stages of a request before it is a [`Call`]. Each is made only of the one before it.

use std::sync::Arc;

use http::{Request, request::Parts, uri::PathAndQuery};
use hyper::body::Incoming;

use super::{
    Call, CallContext, Payload, QueueStatus,
    attempt_log::AttemptLog,
    peer::Peer,
    permissions::Permissions,
    prefer::{self, WaitLimits},
    priority,
    request_id::RequestId,
    request_log::RequestLog,
};
use crate::{
    ledger::{Arrival, Caller, Waited},
    message::{payload_error::Fault, protocol::RequestState},
    os::clock,
    zoho::{account::Account, catalogue::Route},
};

/// A request as the listener read it.
#[derive(Debug)]
pub struct Arrived {
    /// Head and body.
    pub request: Request<Incoming>,
    /// The other end of its connection.
    pub peer: Peer,
    /// How much of it has arrived, and its malformations.
    pub state: RequestState,
}

/// Facts about a request that every layer may need, from its arrival to its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The id of the request.
    pub id: RequestId,
    /// How much of it has arrived.
    pub state: RequestState,
    /// What happened to it at Zoho.
    pub attempt_log: AttemptLog,
    /// Whose it is.
    pub request_log: RequestLog,
}

/// A well-formed request that the gateway accepts.
#[derive(Debug)]
pub struct Accepted {
    /// Head and body.
    pub request: Request<Incoming>,
    /// The other end of its connection.
    pub peer: Peer,
    pub(super) exchange: Exchange,
}

impl Arrived {
    /// The same request, if nothing is wrong with it.
    #[must_use]
    pub fn accepted(self, exchange: Exchange) -> Accepted {
        Accepted { request: self.request, peer: self.peer, exchange }
    }
}

impl Accepted {
    /// Notes its caller, also if the request is then refused.
    pub fn comes_from(&self, caller: &Caller) {
        self.exchange.request_log.comes_from(caller);
    }

    /// The same request of a known caller. `permissions` is what it may do, `None` where callers are not told apart.
    #[must_use]
    pub fn identified(self, caller: Caller, permissions: Option<Arc<Permissions>>) -> Identified {
        self.exchange.request_log.comes_from(&caller);
        let (head, body) = self.request.into_parts();
        Identified { caller, permissions, head, body, exchange: self.exchange }
    }
}

/// A request whose caller is known.
#[derive(Debug)]
pub struct Identified {
    /// The caller.
    pub caller: Caller,
    /// Its permissions; `None` if callers are not authenticated.
    pub permissions: Option<Arc<Permissions>>,
    /// Its head as it came.
    pub head: Parts,
    pub(super) body: Incoming,
    pub(super) exchange: Exchange,
}

impl Identified {
    /// The same request as a call of this account and route. `target` is path and query as Zoho will see them.
    #[must_use]
    pub fn matched(self, account: Arc<Account>, route: Arc<Route>, target: PathAndQuery) -> Matched {
        let read_only = self.permissions.is_some_and(|own| own.read_only);
        let context = CallContext { caller: self.caller, account, route };
        self.exchange.request_log.calls(&context);
        let unread = Unread { context, target, head: self.head, read_only, exchange: self.exchange };
        Matched { unread, body: self.body }
    }
}

/// A request whose account and route are known.
#[derive(Debug)]
pub struct Matched {
    /// All but its body.
    pub unread: Unread,
    /// Its body, unread.
    pub body: Incoming,
}

/// A [`Matched`] request without its body.
#[derive(Debug)]
pub struct Unread {
    /// Whose call and which.
    pub context: CallContext,
    /// Path and query as Zoho gets them, byte for byte as the caller sent them.
    pub target: PathAndQuery,
    /// Its head as it came.
    pub head: Parts,
    /// Whether its caller may change nothing at Zoho, so that nothing in the body may make a write of it.
    pub read_only: bool,
    pub(super) exchange: Exchange,
}

impl Unread {
    /// How much of the request has come.
    #[must_use]
    pub fn state(&self) -> &RequestState {
        &self.exchange.state
    }

    /// Notes faults that do not refuse it.
    pub fn would_refuse(&self, faults: Vec<Fault>) {
        self.exchange.request_log.would_refuse(faults);
    }

    /// A call that is ready now. Its caller waits for a slot as long as it prefers, else its own or the usual time.
    #[must_use]
    pub fn call(self, payload: Payload, wait: WaitLimits) -> Call {
        let (ready_at, headers) = (clock::now(), self.head.headers);
        let preferred_wait = prefer::wait(&headers, wait.preferred);
        let usual = self.context.caller.terms().max_wait.unwrap_or(wait.usual);
        Call {
            context: self.context,
            method: self.head.method,
            target: self.target,
            payload,
            request_id: self.exchange.id,
            ready_at,
            deadline: ready_at + preferred_wait.unwrap_or(usual),
            preferred_wait,
            urgency: priority::urgency(&headers),
            headers,
            arrival: Arrival::New,
            queue_status: QueueStatus::default(),
            waited: Waited::default(),
            attempt_log: self.exchange.attempt_log,
            connection: self.exchange.state.connection(),
            token_refused: false,
            follows_rules: !self.exchange.request_log.has_faults(),
        }
    }
}
