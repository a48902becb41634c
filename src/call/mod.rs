//! The data that passes from layer to layer.
//!
//! [`Arrived`] → [`Accepted`] → [`Identified`] → [`Matched`] → [`Call`] → [`Permitted`] → [`Signed`] → [`Answer`] →
//! `http::Response`. Each type is made of the one before it, and only here, so a
//! stack without one of its layers does not compile.

mod answer;
pub mod attempt_log;
pub mod dry_run;
pub mod peer;
pub mod permissions;
mod permitted;
pub mod prefer;
mod priority;
mod queue_status;
pub mod request_id;
pub mod request_log;
mod stages;
pub mod trace;

use std::{
    any::Any,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};
use tokio::time::Instant;

pub use self::{
    answer::{Answer, CacheOutcome, MergedInto, RequestSummary, RetryReason},
    permitted::{Permitted, Signed, Token},
    queue_status::QueueStatus,
    stages::{Accepted, Arrived, Exchange, Identified, Matched, Unread},
};
use crate::{
    call::{attempt_log::AttemptLog, request_id::RequestId, trace::Trace},
    ledger::{Arrival, Caller, Identity, SlotRequest, Urgency, Waited},
    message::body::{self, Body},
    os::clock,
    zoho::{
        account::{Account, AccountName},
        catalogue::{Route, RouteId},
    },
};

/// The caller, account and route of a call, as the `route` layer determined them.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The caller.
    pub caller: Caller,
    /// The account that it uses.
    pub account: Arc<Account>,
    /// The route from the catalogue, with its threshold and rules.
    pub route: Arc<Route>,
}

impl CallContext {
    /// Account and route, for logs and answers.
    #[must_use]
    pub fn names(&self) -> (AccountName, RouteId) {
        (self.account.name.clone(), self.route.id.clone())
    }
}

/// A call that breaks no documented rule and can wait for its slot.
#[derive(Debug)]
pub struct Call {
    /// Caller, account and route.
    pub context: CallContext,
    /// The method, forwarded unchanged.
    pub method: Method,
    /// Path and query, forwarded unchanged.
    pub target: PathAndQuery,
    /// The caller's headers, not yet cleaned for Zoho.
    pub headers: HeaderMap,
    /// The body.
    pub payload: Payload,
    /// The id of the request in logs, answers and the audit.
    pub request_id: RequestId,
    /// When the call was ready; its waiting time starts here.
    pub ready_at: Instant,
    /// When its wait for a slot ends.
    pub deadline: Instant,
    /// The wait that its caller prefers, as far as it is granted.
    pub preferred_wait: Option<Duration>,
    /// How urgent it is among its caller's calls.
    pub urgency: Urgency,
    arrival: Arrival,
    /// Shows callers that share this call whether it has left the queue.
    pub queue_status: QueueStatus,
    /// Whether it had to wait for a slot, if others may merge with it.
    pub waited: Waited,
    /// What happened to it at Zoho, for the audit.
    pub attempt_log: AttemptLog,
    connection: Weak<dyn Any + Send + Sync>,
    token_refused: bool,
    /// Whether no fault of its payload was only reported.
    pub follows_rules: bool,
}

/// The bytes that each waiting call takes in addition to its own: the buffers of its connection (two of 8 KiB for
/// reading, one for writing), the tasks that wait, its head as fields and its entry in the queue. docs/benchmarks.md
/// has the measurement.
pub const WAITING_BYTES: usize = 24 * 1024;

/// The bytes that a body takes in addition, unless it arrives in one piece with its head: the buffers of its connection
/// grow with it, and they hold pieces of a streamed body. Measured in a release build: 500 waiting forms of 20 to 130
/// KB took 20 to 40 KiB each in addition to their bytes.
pub const BUFFER_BYTES: usize = 32 * 1024;

/// The longest body that can arrive in one piece with its head, in bytes.
const LONGEST_WITH_HEAD: usize = 8 * 1024;

/// How much of a body tells calls apart: forms of a megabyte differ in their first kilobytes too.
const FINGERPRINT_BYTES: usize = 16 * 1024;

impl Call {
    /// A call whose request was answered already: it is ready now, and waits for its slot until `deadline`.
    #[must_use]
    pub fn kept(
        context: CallContext,
        (method, target, headers): (Method, PathAndQuery, HeaderMap),
        payload: Payload,
        request_id: RequestId,
        urgency: Urgency,
        deadline: Instant,
        trace: Trace,
    ) -> Self {
        Self {
            context,
            method,
            target,
            headers,
            payload,
            request_id,
            ready_at: clock::now(),
            deadline,
            preferred_wait: None,
            urgency,
            arrival: Arrival::New,
            waited: Waited::default(),
            queue_status: QueueStatus::default(),
            attempt_log: AttemptLog::traced(trace),
            connection: Weak::<()>::new(),
            token_refused: false,
            follows_rules: true,
        }
    }

    /// About how much memory it takes while it waits, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let body = match &self.payload {
            Payload::Held { bytes, trailers } => {
                let buffers = if bytes.len() > LONGEST_WITH_HEAD { BUFFER_BYTES } else { 0 };
                bytes.len() + buffers + trailers.as_ref().map_or(0, body::weight)
            }
            Payload::Streamed(body) => body.at_hand() + BUFFER_BYTES,
        };
        WAITING_BYTES + body + self.target.as_str().len() + body::weight(&self.headers)
    }

    /// Its request for a slot.
    #[must_use]
    pub fn slot_request(&self) -> SlotRequest {
        SlotRequest {
            caller: self.context.caller.clone(),
            urgency: self.urgency,
            arrival: self.arrival,
            deadline: self.deadline,
            identity: self.identity(),
            bytes: self.held_bytes(),
            request_id: self.request_id.as_str().into(),
            waited: self.waited.clone(),
            observer: Some(self.attempt_log.observer()),
        }
    }

    /// Calls that may merge keep no turn, because they may go sooner with others; nor do calls that nobody waits for.
    fn identity(&self) -> Option<Identity> {
        let keeps_turn = !self.waited.is_observed() && self.connection.strong_count() > 0;
        keeps_turn.then(|| Identity { fingerprint: self.fingerprint(), connection: Weak::clone(&self.connection) })
    }

    /// A hash by which the call is known when it comes again.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.method, self.target.as_str()).hash(&mut hasher);
        if let Payload::Held { bytes, .. } = &self.payload {
            (bytes.len(), &bytes[..bytes.len().min(FINGERPRINT_BYTES)]).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Whether it changes nothing at Zoho.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        self.context.route.changes_nothing(&self.method)
    }

    /// A copy for a second attempt; `None` if its body is streamed and thus gone after the first.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        let Payload::Held { bytes, trailers } = &self.payload else { return None };
        Some(self.with(Payload::Held { bytes: bytes.clone(), trailers: trailers.clone() }))
    }

    /// The same call, which goes before new ones, because it had its turn and met a lock.
    #[must_use]
    pub fn requeued(self) -> Self {
        Self { arrival: Arrival::Requeued, ..self }
    }

    /// The same call, which comes a second time because Zoho refused its token.
    #[must_use]
    pub fn with_another_token(self) -> Self {
        Self { token_refused: true, ..self }
    }

    /// Whether it comes a second time because Zoho refused its token.
    #[must_use]
    pub fn token_was_refused(&self) -> bool {
        self.token_refused
    }

    /// Whether it goes before new calls.
    #[must_use]
    pub fn is_requeued(&self) -> bool {
        self.arrival == Arrival::Requeued
    }

    /// The same call with its body changed, and what the change gave.
    pub fn map_payload<T>(self, change: impl FnOnce(Payload) -> (T, Payload)) -> (T, Self) {
        let (given, payload) = change(self.payload);
        (given, Self { payload, ..self })
    }

    /// The same call, composed with the payloads of others.
    #[must_use]
    pub fn composed(self, target: PathAndQuery, headers: HeaderMap, payload: Payload) -> Self {
        Self { target, headers, payload, ..self }
    }

    /// The same call, whose leaving the queue is observed.
    #[must_use]
    pub fn observed(self, queue_status: QueueStatus) -> Self {
        Self { queue_status, ..self }
    }

    /// A copy without its body.
    #[must_use]
    pub fn without_body(&self) -> Self {
        self.with(Payload::Held { bytes: Bytes::new(), trailers: None })
    }

    fn with(&self, payload: Payload) -> Self {
        Self {
            context: self.context.clone(),
            method: self.method.clone(),
            target: self.target.clone(),
            headers: self.headers.clone(),
            payload,
            request_id: self.request_id.clone(),
            ready_at: self.ready_at,
            deadline: self.deadline,
            preferred_wait: self.preferred_wait,
            urgency: self.urgency,
            arrival: self.arrival,
            queue_status: self.queue_status.clone(),
            waited: self.waited.clone(),
            attempt_log: self.attempt_log.clone(),
            connection: Weak::clone(&self.connection),
            token_refused: self.token_refused,
            follows_rules: self.follows_rules,
        }
    }
}

/// A call's body.
#[derive(Debug)]
pub enum Payload {
    /// Read whole, so it can be sent again.
    Held {
        /// The whole body.
        bytes: Bytes,
        /// The trailer fields.
        trailers: Option<HeaderMap>,
    },
    /// Too large to hold: it can be streamed once.
    Streamed(Body),
}

impl From<Payload> for Body {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Held { bytes, trailers: None } => Self::full(bytes),
            Payload::Held { bytes, trailers: Some(trailers) } => Self::full(bytes).with_trailers(trailers),
            Payload::Streamed(body) => body,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use http::{HeaderValue, Request, header};

    use super::*;
    use crate::{
        call::request_log::RequestLog,
        message::protocol::RequestState,
        secret::credential::Credential,
        zoho::{catalogue::Catalogue, data_center::DataCenter, share::Share},
    };

    const WAIT: prefer::WaitLimits =
        prefer::WaitLimits { usual: Duration::from_secs(30), preferred: Duration::from_secs(24 * 3600) };

    /// A PUT of the catalogue's first call.
    pub(crate) fn call(target: &str) -> Call {
        call_of("main", target)
    }

    /// The same with another account.
    pub(crate) fn call_of(account: &str, target: &str) -> Call {
        let account = Account {
            name: AccountName::new(account),
            data_center: DataCenter::Us,
            endpoints: DataCenter::Us.endpoints(),
            client_id: String::new(),
            client_secret: Credential::awaited(None),
            refresh_token: Credential::awaited(None),
            daily_calls: None,
            share: Share::WHOLE,
        };
        let route = Catalogue::published().unwrap().find("people.lms.share-course").unwrap().clone();
        let context = CallContext { caller: Caller::anonymous(), account: Arc::new(account), route: Arc::new(route) };
        let state = RequestState::new(0, Arc::default());
        let (attempt_log, request_log) = (AttemptLog::default(), RequestLog::default());
        let exchange = Exchange { id: RequestId::generate(), state, attempt_log, request_log };
        let payload = Payload::Held { bytes: Bytes::new(), trailers: None };
        let (head, ()) = Request::put(target).body(()).unwrap().into_parts();
        Unread { context, target: target.parse().unwrap(), head, read_only: false, exchange }.call(payload, WAIT)
    }

    /// The same call with this body.
    pub(crate) fn with_payload(call: Call, payload: Payload) -> Call {
        call.map_payload(|_| ((), payload)).1
    }

    /// The same call with this method.
    pub(crate) fn with_method(call: Call, method: Method) -> Call {
        Call { method, ..call }
    }

    /// The same call with these headers.
    pub(crate) fn with_headers(call: Call, headers: HeaderMap) -> Call {
        let preferred_wait = prefer::wait(&headers, WAIT.preferred);
        let deadline = call.ready_at + preferred_wait.unwrap_or(WAIT.usual);
        Call { deadline, preferred_wait, urgency: priority::urgency(&headers), headers, ..call }
    }

    #[test]
    fn only_a_held_body_can_be_sent_again() {
        assert!(call("/a").again().is_some());
        assert!(Call { payload: Payload::Streamed(Body::default()), ..call("/a") }.again().is_none());
    }

    #[test]
    fn all_parts_of_a_call_count_as_held_bytes() {
        let (mut bare, fields) = (call("/a"), HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("x"))]));
        bare.headers = fields.clone();
        assert_eq!(bare.held_bytes(), WAITING_BYTES + "/a".len() + "hostx".len());
        let bytes = Bytes::from_static(b"12345");
        for (payload, weight) in [
            (Payload::Held { bytes: bytes.clone(), trailers: None }, 5),
            (Payload::Held { bytes: bytes.clone(), trailers: Some(fields) }, 10),
            // The rest of the body has not arrived.
            (Payload::Streamed(Body::full(bytes)), BUFFER_BYTES + 5),
        ] {
            assert_eq!(bare.with(payload).held_bytes(), bare.held_bytes() + weight);
        }
    }
}
