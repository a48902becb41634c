//! The id of a request in logs, problems and the audit: `X-Request-Id`.

use std::{sync::Mutex, time::UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::{ContextV7, Timestamp, Uuid};

use crate::os::clock;

/// The header field of the id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted from a caller.
const LONGEST_ID: usize = 256;

/// A counter for all ids, so that ids of the same millisecond differ and stay in order.
static SEQUENCE: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// An id that can be written as a header and as text.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's id, or a new one if the caller's cannot be repeated in a log or problem.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let usable = |id: &&HeaderValue| id.len() <= LONGEST_ID && id.to_str().is_ok_and(|id| !id.trim().is_empty());
        headers.get(X_REQUEST_ID).filter(usable).map_or_else(Self::generate, |id| Self(id.clone()))
    }

    /// The id that [`as_str`](Self::as_str) gave earlier.
    #[must_use]
    pub fn restored(text: &str) -> Self {
        HeaderValue::from_str(text).map_or_else(|_| Self::generate(), Self)
    }

    /// A new id: UUID version 7, so that ids sort by time.
    #[must_use]
    pub fn generate() -> Self {
        let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = Uuid::new_v7(Timestamp::from_unix(&SEQUENCE, now.as_secs(), now.subsec_nanos()));
        // Hexadecimal digits and hyphens are always valid in a header.
        Self(HeaderValue::try_from(id.to_string()).unwrap_or(HeaderValue::from_static("")))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl From<RequestId> for HeaderValue {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_moment_stay_in_order() {
        let ids: Vec<_> = (0..1000).map(|_| RequestId::generate()).collect();
        assert!(ids.iter().map(RequestId::as_str).is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn only_an_id_that_can_be_repeated_is_accepted() {
        let id = |id: &[u8]| {
            let id = HeaderValue::from_bytes(id).unwrap();
            RequestId::of(&HeaderMap::from_iter([(X_REQUEST_ID, id)])).as_str().to_owned()
        };
        assert_eq!(id(b"the-callers"), "the-callers");
        assert_eq!(id(&[b'a'; LONGEST_ID]).len(), LONGEST_ID);
        for unusable in [&b""[..], b"  ", b"\xff", &[b'a'; LONGEST_ID + 1]] {
            assert_eq!(id(unusable).len(), Uuid::nil().to_string().len(), "a new one");
        }
    }
}
