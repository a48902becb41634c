//! The requests and answers of jobs, in memory and as bytes.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, uri::PathAndQuery};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};

use super::{budget::Held, wish::IDEMPOTENCY_KEY};
use crate::{
    call::{Call, Payload},
    message::body::{self, Body, BodyError},
    problem::{Cause, ratelimit},
    secret::hex,
};

/// Fields that are not kept: credentials, and what is for the answered request alone.
const NOT_KEPT: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
    header::EXPECT,
    HeaderName::from_static("prefer"),
    IDEMPOTENCY_KEY,
];

/// A request that is sent later.
#[derive(Debug)]
pub(super) struct KeptRequest {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
}

/// An answer that its caller asks for later.
#[derive(Debug)]
pub(super) struct KeptAnswer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    content: Content,
}

/// A whole body.
#[derive(Debug, Clone)]
pub(super) struct Content {
    bytes: Bytes,
    trailers: Option<HeaderMap>,
}

/// What is left of an answer that was read to its end, as far as possible.
#[derive(Debug)]
pub(super) enum Reading {
    Whole(Box<KeptAnswer>),
    TooLarge(StatusCode),
    /// It ended early.
    Broken,
}

// === impl KeptRequest ===

impl KeptRequest {
    /// Reads the whole body of a call, which `held` counts.
    ///
    /// # Errors
    /// The body is too large, ends early or is rejected.
    pub(super) async fn read(call: Call, held: &mut Held, max_body: u64) -> Result<Self, Cause> {
        let Call { method, target, mut headers, payload, .. } = call;
        NOT_KEPT.iter().for_each(|name| drop(headers.remove(name)));
        let content = match payload {
            Payload::Held { bytes, trailers } => Content { bytes, trailers },
            Payload::Streamed(body) => {
                let content = Content::read(body, |length| held.grow_to(length)).await.map_err(|unread| match unread {
                    Unread::TooMuch(cause) => cause,
                    Unread::Broken(BodyError::TooLarge) => Cause::BodyTooLarge { limit: max_body, form: false },
                    Unread::Broken(BodyError::Refused) => Cause::BodyOverrides,
                    Unread::Broken(_) => Cause::BodyIncomplete,
                });
                content?
            }
        };
        Ok(Self { method, target, headers, content })
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> u64 {
        (self.content.bytes.len() + self.target.as_str().len() + body::weight(&self.headers)) as u64
    }

    /// The same for two requests exactly when they ask Zoho for the same.
    pub(super) fn fingerprint(&self, account: &str, product: &str) -> String {
        let kind = self.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let parts = [
            account.as_bytes(),
            product.as_bytes(),
            self.method.as_str().as_bytes(),
            self.target.as_str().as_bytes(),
            kind,
        ];
        let mut hash = Context::new(&SHA256);
        // With its length before each part, different parts never give the same text.
        for part in parts.into_iter().chain([&self.content.bytes[..]]) {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hex::lower(hash.finish().as_ref())
    }

    pub(super) fn payload(&self) -> Payload {
        let Content { bytes, trailers } = self.content.clone();
        Payload::Held { bytes, trailers }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let head = Head {
            first: self.method.as_str(),
            target: self.target.as_str(),
            ..Head::of(&self.headers, &self.content)
        };
        head.before(&self.content.bytes)
    }

    /// `None` for bytes that no version of this program wrote.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let (head, bytes) = Head::split(bytes)?;
        let content = Content { bytes, trailers: head.trailers() };
        let (method, target) = (head.first.parse().ok()?, head.target.parse().ok()?);
        Some(Self { method, target, headers: head.headers(), content })
    }
}

// === impl KeptAnswer ===

impl KeptAnswer {
    /// Reads an answer of at most `max` bytes.
    pub(super) async fn read(response: Response<Body>, max: u64) -> Reading {
        let (head, body) = response.into_parts();
        let mut headers = head.headers;
        // They describe the moment of the answer, not that of the request for it.
        ratelimit::FIELDS.iter().for_each(|name| drop(headers.remove(name)));
        let fits = |length| if length <= max { Ok(()) } else { Err(Cause::JobAnswerTooLarge { limit: max }) };
        match Content::read(body, fits).await {
            Ok(content) => Reading::Whole(Box::new(Self { status: head.status, headers, content })),
            Err(Unread::TooMuch(_)) => Reading::TooLarge(head.status),
            Err(Unread::Broken(_)) => Reading::Broken,
        }
    }

    pub(super) fn size(&self) -> u64 {
        (self.content.bytes.len() + body::weight(&self.headers)) as u64
    }

    pub(super) fn response(&self, head_only: bool) -> Response<Body> {
        let Content { bytes, trailers } = self.content.clone();
        let mut response = Response::new(Body::default());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        if !head_only {
            *response.body_mut() = Payload::Held { bytes, trailers }.into();
        }
        response
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let head = Head { first: self.status.as_str(), ..Head::of(&self.headers, &self.content) };
        head.before(&self.content.bytes)
    }

    /// `None` for bytes that no version of this program wrote.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let (head, bytes) = Head::split(bytes)?;
        let content = Content { bytes, trailers: head.trailers() };
        Some(Self { status: head.first.parse().ok()?, headers: head.headers(), content })
    }
}

// === impl Content ===

/// Why a body was not read to its end.
enum Unread {
    TooMuch(Cause),
    Broken(BodyError),
}

impl Content {
    /// Reads as long as `fits` accepts the length so far.
    async fn read(mut body: Body, mut fits: impl FnMut(u64) -> Result<(), Cause>) -> Result<Self, Unread> {
        let (mut bytes, mut trailers) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            match frame.map_err(Unread::Broken)?.into_data() {
                Ok(data) => {
                    fits((bytes.len() + data.len()) as u64).map_err(Unread::TooMuch)?;
                    bytes.extend_from_slice(&data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok(Self { bytes: bytes.freeze(), trailers })
    }
}

// === impl Head ===

/// Everything but the body, in JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Head<'a> {
    /// The method, or the status.
    first: &'a str,
    #[serde(default)]
    target: &'a str,
    fields: Vec<(String, String)>,
    trailers: Option<Vec<(String, String)>>,
}

/// The same, read back.
#[derive(Debug, Deserialize)]
struct OwnedHead {
    first: String,
    target: String,
    fields: Vec<(String, String)>,
    trailers: Option<Vec<(String, String)>>,
}

impl Head<'_> {
    fn of(headers: &HeaderMap, content: &Content) -> Self {
        Self { fields: as_text(headers), trailers: content.trailers.as_ref().map(as_text), ..Self::default() }
    }

    /// The length of the head, the head, the body.
    fn before(&self, body: &[u8]) -> Vec<u8> {
        // Texts always have a JSON form.
        let head = serde_json::to_vec(self).unwrap_or_default();
        [&(head.len() as u64).to_be_bytes(), head.as_slice(), body].concat()
    }

    fn split(bytes: Vec<u8>) -> Option<(OwnedHead, Bytes)> {
        let mut bytes = Bytes::from(bytes);
        let length = u64::from_be_bytes(*bytes.first_chunk()?);
        let end = usize::try_from(length).ok()?.checked_add(size_of::<u64>()).filter(|end| *end <= bytes.len())?;
        let body = bytes.split_off(end);
        Some((serde_json::from_slice(&bytes[size_of::<u64>()..]).ok()?, body))
    }
}

impl OwnedHead {
    fn headers(&self) -> HeaderMap {
        as_fields(&self.fields)
    }

    fn trailers(&self) -> Option<HeaderMap> {
        self.trailers.as_deref().map(as_fields)
    }
}

/// Each byte of a value becomes the character of its number, so that values that are not UTF-8 stay as they are.
fn as_text(fields: &HeaderMap) -> Vec<(String, String)> {
    let value = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
    fields.iter().map(|(name, field)| (name.as_str().to_owned(), value(field))).collect()
}

fn as_fields(fields: &[(String, String)]) -> HeaderMap {
    let value = |text: &str| {
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        HeaderValue::from_bytes(&bytes?).ok()
    };
    fields.iter().filter_map(|(name, text)| Some((name.parse::<HeaderName>().ok()?, value(text)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.append("x-many", HeaderValue::from_static("1"));
        fields.append("x-many", HeaderValue::from_static("2"));
        fields.append("x-bytes", HeaderValue::from_bytes(b"\xfe caf\xc3\xa9 \"\\").unwrap());
        fields
    }

    #[test]
    fn requests_and_answers_come_back_byte_for_byte() {
        for trailers in [None, Some(fields())] {
            for bytes in [Bytes::new(), Bytes::from_static(b"\x00\xff{}\r\n")] {
                let content = Content { bytes: bytes.clone(), trailers: trailers.clone() };
                let (method, target) = (Method::PUT, PathAndQuery::from_static("/a?b=%5B1%5D"));
                let request = KeptRequest { method, target, headers: fields(), content: content.clone() };
                let back = KeptRequest::from_bytes(request.to_bytes()).unwrap();
                assert_eq!((&back.method, &back.target, &back.headers), (&request.method, &request.target, &fields()));
                assert_eq!((&back.content.bytes, &back.content.trailers), (&bytes, &trailers));
                let answer = KeptAnswer { status: StatusCode::IM_A_TEAPOT, headers: fields(), content };
                let back = KeptAnswer::from_bytes(answer.to_bytes()).unwrap();
                assert_eq!((back.status, &back.headers), (StatusCode::IM_A_TEAPOT, &fields()));
                assert_eq!((&back.content.bytes, &back.content.trailers), (&bytes, &trailers));
                for end in 0..answer.to_bytes().len() - bytes.len() {
                    assert!(KeptAnswer::from_bytes(answer.to_bytes()[..end].to_vec()).is_none(), "{end}");
                }
            }
        }
    }

    #[test]
    fn each_part_of_a_request_has_a_part_in_its_fingerprint() {
        let request = |method: &str, target: &str, kind: &'static str, bytes: &'static [u8]| KeptRequest {
            method: method.parse().unwrap(),
            target: target.parse().unwrap(),
            headers: HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]),
            content: Content { bytes: Bytes::from_static(bytes), trailers: None },
        };
        let one = request("PUT", "/a", "t", b"x").fingerprint("main", "people");
        assert_eq!(one, request("PUT", "/a", "t", b"x").fingerprint("main", "people"));
        for other in [
            request("POST", "/a", "t", b"x").fingerprint("main", "people"),
            request("PUT", "/b", "t", b"x").fingerprint("main", "people"),
            request("PUT", "/a", "u", b"x").fingerprint("main", "people"),
            request("PUT", "/a", "t", b"y").fingerprint("main", "people"),
            request("PUT", "/a", "", b"tx").fingerprint("main", "people"),
            request("PUT", "/a", "t", b"x").fingerprint("other", "people"),
            request("PUT", "/a", "t", b"x").fingerprint("main", "calendar"),
        ] {
            assert_ne!(one, other);
        }
    }
}
