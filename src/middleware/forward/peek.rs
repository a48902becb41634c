//! Reads the beginning of an answer's body and lets the rest stream.

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{message::body::Body, zoho::reply::LARGEST_ERROR};

/// A body and the part that was read.
pub(super) struct Peeked {
    /// The whole body, as the caller gets it.
    pub(super) body: Body,
    /// Its bytes, if they are few enough for an error answer.
    pub(super) seen: Bytes,
}

/// A body that ended early.
pub(super) struct Broken {
    /// The bytes that came before.
    pub(super) seen: Bytes,
    pub(super) error: hyper::Error,
}

/// Reads as much of the body as an error answer can have.
///
/// # Errors
/// When the connection breaks.
pub(super) async fn peek(mut incoming: Incoming) -> Result<Peeked, Broken> {
    if incoming.size_hint().lower() > LARGEST_ERROR as u64 {
        return Ok(Peeked { body: incoming.into(), seen: Bytes::new() });
    }
    let mut seen = BytesMut::new();
    while seen.len() <= LARGEST_ERROR {
        let frame = match incoming.frame().await.transpose() {
            Ok(frame) => frame,
            Err(error) => return Err(Broken { seen: seen.freeze(), error }),
        };
        match frame.map(http_body::Frame::into_data) {
            None => {
                let seen = seen.freeze();
                return Ok(Peeked { body: Body::full(seen.clone()), seen });
            }
            Some(Ok(data)) => seen.extend_from_slice(&data),
            Some(Err(trailers)) => {
                let trailers = trailers.into_trailers().unwrap_or_default();
                let seen = seen.freeze();
                return Ok(Peeked { body: Body::full(seen.clone()).with_trailers(trailers), seen });
            }
        }
    }
    Ok(Peeked { body: Body::streamed(seen.freeze(), incoming), seen: Bytes::new() })
}
