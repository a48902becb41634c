//! Sends a call to Zoho and reads the answer.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, response::Parts};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use tokio::time::Instant;
use tower::service_fn;

use super::{
    attempt_span::AttemptSpan,
    coding, framing, hygiene,
    peek::{self, Broken, Peeked},
};
use crate::{
    call::{Answer, Call, RetryReason, Signed, Token, attempt_log::Unrecorded},
    ledger::{Attempt, LockHit},
    message::body::Body,
    middleware::layer::{BoxFuture, Inner},
    os::clock,
    problem::{Cause, Refusal, ScopeEvidence},
    upstream::{Client, Failure},
    zoho::{
        catalogue::Route,
        endpoint::Endpoint,
        reply::{self, ReplyKind},
    },
};

/// The innermost service: it sends calls to Zoho.
#[derive(Debug)]
pub struct Forward {
    client: Client,
    timeout: Duration,
    max_body: u64,
}

impl Forward {
    /// Sends with this client; an answer's head has to arrive within `timeout`. `max_body`: the limit that a rejection of a
    /// larger streamed body names.
    #[must_use]
    pub fn service(client: Client, timeout: Duration, max_body: u64) -> impl Inner<Signed, Answer> {
        let forward = Arc::new(Self { client, timeout, max_body });
        service_fn(move |signed| -> BoxFuture<Answer> { Box::pin(Arc::clone(&forward).handle(signed)) })
    }

    async fn handle(self: Arc<Self>, signed: Signed) -> Result<Answer, Refusal> {
        let (call, mut attempt, token) = signed.into_parts();
        let (context, attempt_log) = (call.context.clone(), call.attempt_log.clone());
        let follows_rules = call.follows_rules;
        let endpoint = context.account.endpoints.product(context.route.product);
        let request = request(call, endpoint, &token).ok_or_else(|| Refusal::from(Cause::Internal).of(&context))?;
        let refuse = |cause| Refusal::from(cause).of(&context);
        // Before the slot is used, because the record may take time and a lock may come meanwhile.
        attempt_log.announced().await.map_err(|unrecorded| {
            refuse(match unrecorded {
                Unrecorded::Audit => Cause::AuditUnavailable,
                Unrecorded::State => Cause::StateUnavailable,
            })
        })?;
        let mut span = AttemptSpan::begin(&attempt_log, &request, endpoint, &context.route);
        let outcome = match self.send(request, endpoint, &mut attempt).await {
            Ok(Sent::Answered(head, body)) => {
                span.answered(head.status);
                self.read((head, body), endpoint, &mut attempt, &context.route, follows_rules).await
            }
            Ok(Sent::HeldBack(until)) => {
                span.held_back();
                Ok(held_back(until))
            }
            Err(cause) => Err(cause),
        };
        span.ended(&outcome);
        outcome.map_err(refuse)
    }

    /// Reads the answer, and says what it means.
    async fn read(
        &self,
        (mut head, body): (Parts, Incoming),
        endpoint: &Endpoint,
        attempt: &mut Attempt,
        route: &Route,
        follows_rules: bool,
    ) -> Result<Answer, Cause> {
        let framed = framing::settle(&mut head).map_err(|unframed| {
            Failure::invalid(endpoint.authority().as_str(), "http_protocol_error", unframed.to_string()).cause
        });
        // The status alone reports the lock, whatever the body says: nothing more may be sent.
        if head.status == StatusCode::TOO_MANY_REQUESTS
            && let Some(hit) = attempt.locked(retry_after(&head))
        {
            return Ok(answer(head, body.into(), Some(RetryReason::Locked(hit))));
        }
        let (seen, peeked) = self.peek(body, endpoint).await;
        let seen = decoded(&head, &seen);
        let kind = reply::read(head.status, &seen);
        // Also in an answer that ended early or cannot be passed on, because the lock exists anyway.
        let hit = match kind {
            ReplyKind::Locked => attempt.locked(retry_after(&head)),
            _ => None,
        };
        if kind.is_unexecuted() {
            attempt.refused();
        }
        let body = framed.and(peeked)?;
        if let Some(hit) = hit {
            return Ok(answer(head, body, Some(RetryReason::Locked(hit))));
        }
        attempt.judged(!kind.is_unexecuted() && kind != ReplyKind::Failed);
        if follows_rules
            && kind == ReplyKind::Failed
            && let Some(code) = reply::payload_code(head.status, &seen)
        {
            attempt.payload_refused(&code);
        }
        let retry = match kind {
            ReplyKind::ScopeMissing(code) => {
                let scopes = route.scopes.clone();
                return Err(Cause::ScopeMissing { scopes, evidence: ScopeEvidence::Code(code) });
            }
            ReplyKind::TokenRefused(refusal) => Some(RetryReason::TokenRefused(refusal)),
            _ => None,
        };
        Ok(answer(head, body.patient(self.timeout), retry))
    }

    /// Sends the request and reports each step to the attempt.
    async fn send(
        &self,
        mut request: Request<Body>,
        endpoint: &Endpoint,
        attempt: &mut Attempt,
    ) -> Result<Sent, Cause> {
        let server = endpoint.authority().as_str();
        let connection = capture_connection(&mut request);
        let exchange = match Exchange::begin(attempt, &connection) {
            Ok(exchange) => exchange,
            Err(until) => return Ok(Sent::HeldBack(until)),
        };
        // Dropped before the exchange, which then sees whether there was a connection.
        let mut response = pin!(tokio::time::timeout(self.timeout, self.client.request(request)));
        let outcome = tokio::select! {
            outcome = &mut response => outcome,
            until = exchange.attempt.held_back() => {
                if exchange.is_unsent() {
                    return Ok(Sent::HeldBack(until));
                }
                response.await
            }
        };
        let mut failure = match outcome {
            Ok(Ok(response)) => {
                exchange.attempt.answered(response.status());
                return received(response, &connection, endpoint);
            }
            Ok(Err(error)) => Failure::of(&error, server, self.max_body),
            Err(_) => Failure::timeout(server),
        };
        if exchange.is_unsent() {
            failure = failure.without_connection();
        }
        if failure.never_sent {
            exchange.attempt.not_sent();
        }
        Err(failure.cause)
    }

    /// The bytes seen of a body, and the body, if it is intact so far.
    async fn peek(&self, body: Incoming, endpoint: &Endpoint) -> (Bytes, Result<Body, Cause>) {
        let server = endpoint.authority().as_str();
        match tokio::time::timeout(self.timeout, peek::peek(body)).await {
            Ok(Ok(Peeked { body, seen })) => (seen, Ok(body)),
            Ok(Err(Broken { seen, error })) => {
                (seen, Err(Failure::invalid(server, "http_response_incomplete", error.to_string()).cause))
            }
            Err(_) => (Bytes::new(), Err(Failure::timeout(server).cause)),
        }
    }
}

/// The request as Zoho gets it; `None` only for a target that no URI can hold, which the listener has ruled out.
fn request(call: Call, endpoint: &Endpoint, token: &Token) -> Option<Request<Body>> {
    let uri = Uri::builder()
        .scheme(endpoint.scheme().clone())
        .authority(endpoint.authority().clone())
        .path_and_query(call.target)
        .build()
        .ok()?;
    let mut headers: HeaderMap = call.headers;
    // Without a length, an empty body of these would have no framing at all, and strict servers answer 411 (RFC 9110
    // section 8.6).
    let declares = headers.contains_key(header::TRANSFER_ENCODING) || headers.contains_key(header::CONTENT_LENGTH);
    let has_length = declares || matches!(call.method, Method::POST | Method::PUT | Method::PATCH);
    hygiene::outbound(&mut headers);
    coding::without_unreadable(&mut headers);
    headers.insert(header::HOST, HeaderValue::from_str(endpoint.authority().as_str()).ok()?);
    headers.insert(header::AUTHORIZATION, token.header.clone());
    let body = Body::from(call.payload).with_clean_trailers(hygiene::outbound);
    if body.is_end_stream() && has_length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    } else if !body.is_end_stream() && body.size_hint().exact().is_none() {
        // hyper leaves out a body of unknown length on methods that seldom have one, such as GET, unless told.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = call.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Some(request)
}

/// One attempt, which counts as sent from just before its first byte may leave. If it ends without a connection, nothing was
/// written, so it was not sent.
struct Exchange<'a> {
    attempt: &'a mut Attempt,
    connection: &'a CaptureConnection,
}

impl<'a> Exchange<'a> {
    /// # Errors
    /// The end of a lock that came after the attempt got its slot; nothing may be sent before.
    fn begin(attempt: &'a mut Attempt, connection: &'a CaptureConnection) -> Result<Self, Instant> {
        attempt.sending()?;
        Ok(Self { attempt, connection })
    }

    /// Whether the request has no connection yet, so that a lock can still hold it back.
    fn is_unsent(&self) -> bool {
        self.connection.connection_metadata().is_none()
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if self.is_unsent() {
            self.attempt.not_sent();
        }
    }
}

/// How a successful exchange ended.
enum Sent {
    Answered(Parts, Incoming),
    /// A lock came before anything was sent; its end.
    HeldBack(Instant),
}

/// Takes the answer, and decides whether its connection can be used again.
fn received(response: Response<Incoming>, connection: &CaptureConnection, endpoint: &Endpoint) -> Result<Sent, Cause> {
    let (head, body) = response.into_parts();
    // The gateway never asks for another protocol, because `Upgrade` is not forwarded.
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let log = "101 Switching Protocols without an Upgrade request".to_owned();
        return Err(Failure::invalid(endpoint.authority().as_str(), "http_protocol_error", log).cause);
    }
    // On a connection that spoke HTTP/1.0 once, hyper speaks it too, and would leave out a body of unknown length.
    if head.version < Version::HTTP_11
        && let Some(connected) = &*connection.connection_metadata()
    {
        connected.poison();
    }
    Ok(Sent::Answered(head, body))
}

/// The answer for a call that a lock held back; only `retry` sees it.
fn held_back(until: Instant) -> Answer {
    Answer {
        response: Response::new(Body::default()),
        retry: Some(RetryReason::Locked(LockHit { until, external: false })),
    }
}

fn retry_after(head: &Parts) -> Option<Duration> {
    reply::retry_after(&head.headers, clock::wall())
}

/// The seen bytes of a body, decoded.
fn decoded(head: &Parts, seen: &[u8]) -> Vec<u8> {
    let codings = head.headers.get_all(header::CONTENT_ENCODING).iter().filter_map(|coding| coding.to_str().ok());
    coding::decode(&codings.collect::<Vec<_>>().join(","), seen).unwrap_or_default()
}

fn answer(mut head: Parts, body: Body, retry: Option<RetryReason>) -> Answer {
    hygiene::inbound(&mut head.headers);
    // The version and extensions of Zoho's connection do not concern the caller's.
    head.version = Version::HTTP_11;
    head.extensions.clear();
    let body = body.with_clean_trailers(hygiene::inbound);
    Answer { response: Response::from_parts(head, body), retry }
}
