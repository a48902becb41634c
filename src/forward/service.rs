//! One call's visit to the forward room.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, Uri, header, response::Parts};
use hyper::body::Incoming;
use tower::Service;

use super::{
    coding, hygiene,
    peek::{self, Peeked},
    signs::{self, Sign},
};
use crate::{
    body::Body,
    boxed::BoxFuture,
    call::{Answer, Call, Signed, Token, Unexecuted},
    clock,
    endpoint::Endpoint,
    ledger::Permit,
    refusal::{Cause, Refusal},
    upstream::{Client, Failure},
};

/// The last room before Zoho.
#[derive(Debug, Clone)]
pub struct Forward(Arc<Way>);

#[derive(Debug)]
struct Way {
    client: Client,
    timeout: Duration,
    max_body: u64,
}

impl Forward {
    /// Over this client; an answer's head has to be here within `timeout`. `max_body` is told to callers whose
    /// streamed body turned out larger.
    #[must_use]
    pub fn new(client: Client, timeout: Duration, max_body: u64) -> Self {
        Self(Arc::new(Way { client, timeout, max_body }))
    }
}

impl Way {
    async fn visit(self: Arc<Self>, signed: Signed) -> Result<Answer, Refusal> {
        let Signed { call, mut permit, token } = signed;
        let subject = call.subject.clone();
        let endpoint = subject.account.endpoints.product(subject.route.product);
        let request = request(call, endpoint, &token).ok_or_else(|| Refusal::from(Cause::Internal).of(&subject))?;
        let (head, body) =
            self.send(request, endpoint, permit.as_mut()).await.map_err(|cause| Refusal::from(cause).of(&subject))?;
        let may_carry_a_sign = peek::may_carry_a_sign(head.status, &head.headers);
        // Without a permit there is no lock to be kept, so only a refused token is of interest.
        if !may_carry_a_sign || (permit.is_none() && head.status.is_success()) {
            permit.as_mut().map(Permit::executed);
            return Ok(answer(head, Body::from(body).patient(self.timeout), None));
        }
        let Peeked { body, seen } =
            self.peek(body, endpoint).await.map_err(|cause| Refusal::from(cause).of(&subject))?;
        let sign = sign(&head, &seen);
        if let (Some(Sign::Locked(retry_after)), Some(permit)) = (&sign, &mut permit)
            && let Some(until) = permit.locked(*retry_after)
        {
            return Ok(answer(head, body, Some(Unexecuted::Locked { until })));
        }
        permit.as_mut().map(Permit::executed);
        let body = body.patient(self.timeout);
        let unexecuted = (sign == Some(Sign::DeadToken)).then_some(Unexecuted::DeadToken);
        Ok(answer(head, body, unexecuted))
    }

    /// The exchange itself, with the ledger's books kept at the three moments that count.
    async fn send(
        &self,
        request: Request<Body>,
        endpoint: &Endpoint,
        mut permit: Option<&mut Permit>,
    ) -> Result<(Parts, Incoming), Cause> {
        permit.as_deref_mut().map(Permit::sending);
        let outcome = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        let failure = match outcome {
            Ok(Ok(response)) => {
                permit.map(Permit::answered);
                return Ok(response.into_parts());
            }
            Ok(Err(error)) => Failure::of(&error, endpoint.authority().as_str(), self.max_body),
            Err(_) => Failure::timeout(endpoint.authority().as_str()),
        };
        if failure.never_sent {
            permit.map(Permit::not_sent);
        }
        Err(failure.cause)
    }

    async fn peek(&self, body: Incoming, endpoint: &Endpoint) -> Result<Peeked, Cause> {
        match tokio::time::timeout(self.timeout, peek::peek(body)).await {
            Ok(Ok(peeked)) => Ok(peeked),
            Ok(Err(error)) => {
                Err(Failure::invalid(endpoint.authority().as_str(), "http_response_incomplete", error.to_string())
                    .cause)
            }
            Err(_) => Err(Failure::timeout(endpoint.authority().as_str()).cause),
        }
    }
}

impl Service<Signed> for Forward {
    type Response = Answer;
    type Error = Refusal;
    type Future = BoxFuture<Answer, Refusal>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, signed: Signed) -> Self::Future {
        Box::pin(Arc::clone(&self.0).visit(signed))
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
    hygiene::outbound(&mut headers);
    headers.insert(header::HOST, HeaderValue::from_str(endpoint.authority().as_str()).ok()?);
    headers.insert(header::AUTHORIZATION, token.header.clone());
    let mut request = Request::new(Body::from(call.payload));
    *request.method_mut() = call.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Some(request)
}

fn sign(head: &Parts, seen: &[u8]) -> Option<Sign> {
    let coding = head.headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let decoded = coding::decode(coding, seen).unwrap_or_default();
    signs::read(head.status, &head.headers, &decoded, clock::wall())
}

fn answer(mut head: Parts, body: Body, unexecuted: Option<Unexecuted>) -> Answer {
    hygiene::inbound(&mut head.headers);
    // The connection to Zoho is not the caller's.
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    Answer { response: Response::from_parts(head, body), unexecuted }
}
