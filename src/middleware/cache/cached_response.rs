//! A stored answer, and how it is served again.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::{
    conditions,
    directives::Lifetime,
    epochs::{self, ReadEpoch},
    key::{Key, NEGOTIATED, joined},
};
use crate::{
    message::{
        body::{Body, BodyError},
        list::{Quotes, members},
    },
    os::clock,
    problem::ratelimit,
    secret::hex,
    zoho::reply::{self, ReplyKind},
};

/// A larger answer is passed on and not stored.
const LARGEST: usize = 1024 * 1024;

/// A complete, successful answer.
#[derive(Debug)]
pub(super) struct CachedResponse {
    headers: HeaderMap,
    /// The rate-limit fields of the call; later readers do not get them.
    limits: HeaderMap,
    body: Bytes,
    etag: HeaderValue,
    /// When Zoho gave the answer, which is before its body was read.
    at: Instant,
    /// The request fields that its `Vary` names, with their values.
    varied: Vec<(HeaderName, Vec<u8>)>,
    /// The epochs in which its call began.
    pub(super) epoch: ReadEpoch,
    /// How long the operator allows it to be used.
    pub(super) lifetime: Lifetime,
}

/// What a call needs to store its answer.
#[derive(Debug)]
pub(super) struct StoreContext {
    pub(super) key: Key,
    pub(super) depends_on: epochs::Read,
    /// The read's header fields.
    pub(super) request: HeaderMap,
    /// The epochs in which the call began.
    pub(super) epoch: ReadEpoch,
    /// How long the operator allows the answer to be used.
    pub(super) lifetime: Lifetime,
    /// How long reading the answer may take.
    pub(super) read_timeout: Duration,
}

/// Why an answer is not stored.
#[derive(Debug)]
pub(super) enum NotStorable {
    /// It is successful, but too large or only for this caller.
    NotShareable(Response<Body>),
    /// It reports a failure.
    Failure(Response<Body>),
    /// It ended early.
    Broken(BodyError),
}

impl CachedResponse {
    /// Reads an answer to store it. Returns it unchanged if it cannot be stored.
    pub(super) async fn read(response: Response<Body>, context: &StoreContext) -> Result<Arc<Self>, NotStorable> {
        let StoreContext { epoch, lifetime, read_timeout, .. } = *context;
        if response.status() != StatusCode::OK {
            return Err(NotStorable::Failure(response));
        }
        let (mut head, mut body) = response.into_parts();
        let began = clock::now();
        let at = began.checked_sub(age_of(&head.headers)).unwrap_or(began);
        let mut collected = BytesMut::new();
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => collected.extend_from_slice(&data),
                Err(error) => return Err(NotStorable::Broken(error)),
                Ok(Err(trailers)) => {
                    let body = Body::full(collected.freeze());
                    let body = body.with_trailers(trailers.into_trailers().unwrap_or_default());
                    return Err(NotStorable::NotShareable(Response::from_parts(head, body)));
                }
            }
            if collected.len() > LARGEST || clock::now().saturating_duration_since(began) > read_timeout {
                return Err(NotStorable::NotShareable(Response::from_parts(head, body.behind(collected.freeze()))));
            }
        }
        let body = collected.freeze();
        let varied = varied(&head.headers, &context.request);
        // Whether a compressed answer reports a failure cannot be seen here.
        let (Some(varied), false) = (varied, head.headers.contains_key(header::CONTENT_ENCODING)) else {
            return Err(NotStorable::NotShareable(Response::from_parts(head, Body::full(body))));
        };
        if reply::read(StatusCode::OK, &body) != ReplyKind::Succeeded {
            return Err(NotStorable::Failure(Response::from_parts(head, Body::full(body))));
        }
        let limits = ratelimit::FIELDS.into_iter();
        let limits = limits.filter_map(|name| Some((name.clone(), head.headers.remove(name)?))).collect();
        let etag = head.headers.remove(header::ETAG).unwrap_or_else(|| entity_tag(&body));
        let (headers, body) = (copied(&head.headers), Bytes::copy_from_slice(&body));
        Ok(Arc::new(Self { headers, limits, body, etag: copy(&etag), at, varied, epoch, lifetime }))
    }

    /// Adds the rate-limit fields of the call.
    pub(super) fn add_limits(&self, headers: &mut HeaderMap) {
        headers.extend(self.limits.clone());
    }

    /// The time since Zoho gave the answer.
    pub(super) fn age(&self) -> Duration {
        clock::now().saturating_duration_since(self.at)
    }

    /// The remaining seconds of freshness; negative since the answer became stale.
    pub(super) fn ttl(&self) -> i64 {
        let (age, fresh) = (self.age(), self.lifetime.fresh);
        let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match fresh.checked_sub(age) {
            Some(left) => whole(left),
            None => -whole(Duration::from_secs(ratelimit::whole_seconds(age - fresh))),
        }
    }

    /// Whether it fits a read with these header fields (RFC 9111 section 4.1).
    pub(super) fn answers(&self, request: &HeaderMap) -> bool {
        self.varied.iter().all(|(name, value)| joined(request, name) == *value)
    }

    /// Its approximate memory, in bytes.
    pub(super) fn size(&self) -> usize {
        let fields = self.headers.iter().chain(&self.limits);
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 32).sum::<usize>();
        let varied = self.varied.iter().map(|(name, value)| name.as_str().len() + value.len() + 56).sum::<usize>();
        size_of::<Self>() + self.body.len() + fields + varied
    }

    /// The answer to a read with these header fields; a 304 if the caller already has it.
    pub(super) fn serve(&self, request: &HeaderMap, head_only: bool) -> Response<Body> {
        let etag = self.etag.to_str().unwrap_or_default();
        let unchanged = conditions::unchanged(request, etag, self.headers.get(header::LAST_MODIFIED));
        let bare = unchanged || head_only;
        let mut response = Response::new(if bare { Body::default() } else { Body::full(self.body.clone()) });
        *response.headers_mut() = self.headers.clone();
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::AGE, self.age().as_secs().into());
        if unchanged {
            headers.remove(header::CONTENT_LENGTH);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else if head_only {
            headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        }
        response
    }
}

/// The age of an answer at its arrival, if a cache in front of Zoho reports one.
fn age_of(headers: &HeaderMap) -> Duration {
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(age.unwrap_or_default())
}

/// A copy of the fields. The originals are parts of a connection's buffer and would keep all of it in memory.
fn copied(headers: &HeaderMap) -> HeaderMap {
    let name = |name: &HeaderName| HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone());
    headers.iter().map(|(key, value)| (name(key), copy(value))).collect()
}

fn copy(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// The request fields in the answer's `Vary` that are not part of the key, with their values. `None` if the answer depends
/// on something outside the request.
fn varied(response: &HeaderMap, request: &HeaderMap) -> Option<Vec<(HeaderName, Vec<u8>)>> {
    let mut varied = Vec::new();
    for name in members(response, header::VARY, Quotes::Strings) {
        let name: HeaderName = name.parse().ok().filter(|_| name != "*")?;
        // Equal for all stored answers: the gateway sets the first two itself, and Zoho never gets the third.
        let settled = [header::ACCEPT_ENCODING, header::AUTHORIZATION, header::COOKIE].contains(&name);
        if !settled && !NEGOTIATED.contains(&name) {
            let value = joined(request, &name);
            let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
            varied.push((name, value));
        }
    }
    Some(varied)
}

/// A strong entity tag for the content.
fn entity_tag(body: &[u8]) -> HeaderValue {
    let hash = digest::digest(&digest::SHA256, body);
    let half = hash.as_ref().get(..16).unwrap_or_default();
    HeaderValue::try_from(format!("\"{}\"", hex::lower(half))).unwrap_or(HeaderValue::from_static("\"\""))
}
