//! An answer that is kept, and how it is served again.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::Instant;

use super::key::NEGOTIATED;
use crate::{body::Body, clock, ratelimit};

/// A larger answer streams through and is not kept.
const LARGEST: usize = 1024 * 1024;

/// A successful answer, whole.
#[derive(Debug)]
pub(super) struct Kept {
    headers: HeaderMap,
    /// What was left of the threshold when it was called for; of no interest to later readers.
    limits: HeaderMap,
    body: Bytes,
    etag: HeaderValue,
    at: Instant,
    /// The epoch in which its call began.
    pub(super) epoch: u64,
}

impl Kept {
    /// Keeps an answer, or gives it back as it was when it is none to be kept.
    pub(super) async fn keep(response: Response<Body>, epoch: u64) -> Result<Arc<Self>, Response<Body>> {
        if response.status() != StatusCode::OK {
            return Err(response);
        }
        let (mut head, mut body) = response.into_parts();
        let mut collected = BytesMut::new();
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => collected.extend_from_slice(&data),
                // Broken off: what came is handed on, and the caller sees it break off as well.
                Err(_) => return Err(Response::from_parts(head, Body::broken(collected.freeze()))),
                Ok(Err(trailers)) => {
                    let trailers = trailers.into_trailers().unwrap_or_default();
                    return Err(Response::from_parts(head, Body::full(collected.freeze()).with_trailers(trailers)));
                }
            }
            if collected.len() > LARGEST {
                return Err(Response::from_parts(head, body.behind(collected.freeze())));
            }
        }
        let body = collected.freeze();
        // What is compressed all the same cannot be told from a failure here.
        if head.headers.contains_key(header::CONTENT_ENCODING) || varies(&head.headers) || !succeeded(&body) {
            return Err(Response::from_parts(head, Body::full(body)));
        }
        let limits = [ratelimit::POLICY, ratelimit::LIMIT];
        let limits = limits.into_iter().filter_map(|name| Some((name.clone(), head.headers.remove(name)?))).collect();
        let etag = head.headers.remove(header::ETAG).unwrap_or_else(|| entity_tag(&body));
        let (headers, body) = (copied(&head.headers), Bytes::copy_from_slice(&body));
        Ok(Arc::new(Self { headers, limits, body, etag: copy(&etag), at: clock::now(), epoch }))
    }

    /// Tells the one whose call it was what is left of the threshold.
    pub(super) fn tell_limits(&self, headers: &mut HeaderMap) {
        headers.extend(self.limits.clone());
    }

    /// How long ago it was answered.
    pub(super) fn age(&self) -> Duration {
        clock::now().saturating_duration_since(self.at)
    }

    /// Its entity tag: Zoho's, or one made of its content.
    pub(super) fn etag(&self) -> &str {
        self.etag.to_str().unwrap_or_default()
    }

    /// What it holds in memory, about.
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum::<usize>();
        size_of::<Self>() + self.body.len() + headers
    }

    /// The answer once more; `unchanged` sends 304 without the body.
    pub(super) fn serve(&self, unchanged: bool) -> Response<Body> {
        let mut response = Response::new(if unchanged { Body::default() } else { Body::full(self.body.clone()) });
        *response.headers_mut() = self.headers.clone();
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::AGE, self.age().as_secs().into());
        if unchanged {
            headers.remove(header::CONTENT_LENGTH);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    }
}

/// Header fields as read are parts of a connection's buffer, which they would keep whole in memory.
fn copied(headers: &HeaderMap) -> HeaderMap {
    let name = |name: &HeaderName| HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone());
    headers.iter().map(|(key, value)| (name(key), copy(value))).collect()
}

fn copy(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// Whether Zoho says that the answer differs by more than the key knows of (RFC 9111 section 4.1).
fn varies(headers: &HeaderMap) -> bool {
    let known = |name: &str| NEGOTIATED.iter().chain([&header::ACCEPT_ENCODING]).any(|known| known.as_str() == name);
    let listed = headers.get_all(header::VARY).iter().map(|value| value.to_str().unwrap_or("*"));
    listed.flat_map(|value| value.split(',')).any(|name| !known(&name.trim().to_ascii_lowercase()))
}

/// A strong entity tag of the content.
fn entity_tag(body: &[u8]) -> HeaderValue {
    let hash = digest::digest(&digest::SHA256, body);
    let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether an answer under 200 tells of success: JSON without the marks of Zoho's failures (zoho-facts, section 2).
fn succeeded(body: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return false };
    let failed = |value: &Value| {
        value.get("error").is_some() || value.get("errors").is_some() || {
            let status = value.get("status").and_then(Value::as_str).unwrap_or_default();
            status.eq_ignore_ascii_case("failure") || status.eq_ignore_ascii_case("error")
        }
    };
    let code_is_good = match body.get("code") {
        None => true,
        Some(Value::String(code)) => code == "200",
        Some(Value::Number(code)) => code.as_u64() == Some(200),
        Some(_) => false,
    };
    code_is_good && !failed(&body) && !failed(&body["response"])
}
