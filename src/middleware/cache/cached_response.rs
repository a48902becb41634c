//! An answer that is kept, and how it is served again.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::{
    conditions,
    directives::Lifetime,
    key::{NEGOTIATED, joined},
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

/// A larger answer streams through and is not kept.
const LARGEST: usize = 1024 * 1024;

/// A successful answer, whole.
#[derive(Debug)]
pub(super) struct CachedResponse {
    headers: HeaderMap,
    /// What was left of the threshold when it was called for; of no interest to later readers.
    limits: HeaderMap,
    body: Bytes,
    etag: HeaderValue,
    /// When Zoho gave it, which is before it was read whole.
    at: Instant,
    /// The request fields that its `Vary` names, as they were.
    varied: Vec<(HeaderName, Vec<u8>)>,
    /// The epoch in which its call began.
    pub(super) epoch: u64,
    /// For how long the operator lets it serve.
    pub(super) lifetime: Lifetime,
}

/// What the answer is kept with.
#[derive(Debug)]
pub(super) struct Circumstances {
    /// The call's header fields.
    pub(super) request: HeaderMap,
    /// The epoch in which the call began.
    pub(super) epoch: u64,
    /// For how long the operator lets it serve.
    pub(super) lifetime: Lifetime,
    /// How long reading it may take.
    pub(super) patience: Duration,
}

/// An answer that is not kept.
#[derive(Debug)]
pub(super) enum NotKept {
    /// A successful one, as it was; it is only too large, or not for everybody.
    Unfit(Response<Body>),
    /// A failure, as it was.
    Failure(Response<Body>),
    /// It broke off before its end.
    Broken(BodyError),
}

impl CachedResponse {
    /// Keeps an answer, or gives it back as it was when it is none to be kept.
    pub(super) async fn keep(
        response: Response<Body>,
        Circumstances { request, epoch, lifetime, patience }: Circumstances,
    ) -> Result<Arc<Self>, NotKept> {
        if response.status() != StatusCode::OK {
            return Err(NotKept::Failure(response));
        }
        let (mut head, mut body) = response.into_parts();
        let began = clock::now();
        let at = began.checked_sub(age_of(&head.headers)).unwrap_or(began);
        let mut collected = BytesMut::new();
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => collected.extend_from_slice(&data),
                Err(error) => return Err(NotKept::Broken(error)),
                Ok(Err(trailers)) => {
                    let body = Body::full(collected.freeze());
                    let body = body.with_trailers(trailers.into_trailers().unwrap_or_default());
                    return Err(NotKept::Unfit(Response::from_parts(head, body)));
                }
            }
            if collected.len() > LARGEST || clock::now().saturating_duration_since(began) > patience {
                return Err(NotKept::Unfit(Response::from_parts(head, body.behind(collected.freeze()))));
            }
        }
        let body = collected.freeze();
        let varied = varied(&head.headers, &request);
        // What is compressed all the same cannot be told from a failure here.
        let (Some(varied), false) = (varied, head.headers.contains_key(header::CONTENT_ENCODING)) else {
            return Err(NotKept::Unfit(Response::from_parts(head, Body::full(body))));
        };
        if reply::read(StatusCode::OK, &body) != ReplyKind::Succeeded {
            return Err(NotKept::Failure(Response::from_parts(head, Body::full(body))));
        }
        let limits = ratelimit::FIELDS.into_iter();
        let limits = limits.filter_map(|name| Some((name.clone(), head.headers.remove(name)?))).collect();
        let etag = head.headers.remove(header::ETAG).unwrap_or_else(|| entity_tag(&body));
        let (headers, body) = (copied(&head.headers), Bytes::copy_from_slice(&body));
        Ok(Arc::new(Self { headers, limits, body, etag: copy(&etag), at, varied, epoch, lifetime }))
    }

    /// Tells the one whose call it was what is left of the threshold.
    pub(super) fn tell_limits(&self, headers: &mut HeaderMap) {
        headers.extend(self.limits.clone());
    }

    /// How long ago it was answered.
    pub(super) fn age(&self) -> Duration {
        clock::now().saturating_duration_since(self.at)
    }

    /// For how many more seconds it is fresh; below zero, for how many it has not been.
    pub(super) fn ttl(&self) -> i64 {
        let (age, fresh) = (self.age(), self.lifetime.fresh);
        let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match fresh.checked_sub(age) {
            Some(left) => whole(left),
            None => -whole(Duration::from_secs(ratelimit::whole_seconds(age - fresh))),
        }
    }

    /// Whether it answers a read with these header fields (RFC 9111 section 4.1).
    pub(super) fn answers(&self, request: &HeaderMap) -> bool {
        self.varied.iter().all(|(name, value)| joined(request, name) == *value)
    }

    /// What it holds in memory, about.
    pub(super) fn size(&self) -> usize {
        let fields = self.headers.iter().chain(&self.limits);
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 32).sum::<usize>();
        let varied = self.varied.iter().map(|(name, value)| name.as_str().len() + value.len() + 56).sum::<usize>();
        size_of::<Self>() + self.body.len() + fields + varied
    }

    /// The answer once more, to a read with these header fields; 304 without the body to who has it.
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

/// How old an answer was when it came, where a cache before Zoho says so.
fn age_of(headers: &HeaderMap) -> Duration {
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(age.unwrap_or_default())
}

/// Header fields as read are parts of a connection's buffer, which they would keep whole in memory.
fn copied(headers: &HeaderMap) -> HeaderMap {
    let name = |name: &HeaderName| HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone());
    headers.iter().map(|(key, value)| (name(key), copy(value))).collect()
}

fn copy(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// The request fields by which Zoho says that the answer differs, beyond those that the key knows of. `None`: by
/// something that no request tells.
fn varied(response: &HeaderMap, request: &HeaderMap) -> Option<Vec<(HeaderName, Vec<u8>)>> {
    let mut varied = Vec::new();
    for name in members(response, header::VARY, Quotes::Strings) {
        let name: HeaderName = name.parse().ok().filter(|_| name != "*")?;
        // The same for all that is kept: the gateway writes the first two itself, and Zoho never sees the third.
        let settled = [header::ACCEPT_ENCODING, header::AUTHORIZATION, header::COOKIE].contains(&name);
        if !settled && !NEGOTIATED.contains(&name) {
            let value = joined(request, &name);
            let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
            varied.push((name, value));
        }
    }
    Some(varied)
}

/// A strong entity tag of the content.
fn entity_tag(body: &[u8]) -> HeaderValue {
    let hash = digest::digest(&digest::SHA256, body);
    let half = hash.as_ref().get(..16).unwrap_or_default();
    HeaderValue::try_from(format!("\"{}\"", hex::lower(half))).unwrap_or(HeaderValue::from_static("\"\""))
}
