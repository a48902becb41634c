//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): what is left of a route's threshold.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{catalogue::RouteId, ledger::Quota};

/// The threshold: name, calls, span in seconds.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of it and when the next slot comes back.
pub const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Writes both fields. A structured field's integer is whole seconds, so spans round up: to the safe side.
pub fn write(headers: &mut HeaderMap, route: &RouteId, quota: &Quota) {
    let policy = format!("\"{route}\";q={};w={}", quota.requests, whole_seconds(quota.window));
    let mut limit = format!("\"{route}\";r={}", quota.remaining);
    if let Some(reset) = quota.reset {
        limit.push_str(&format!(";t={}", whole_seconds(reset)));
    }
    for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

/// Whole seconds, rounded up, at least one: what `Retry-After` and the fields above can say.
#[must_use]
pub fn whole_seconds(span: Duration) -> u64 {
    span.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn tells_threshold_rest_and_return() {
        let mut headers = HeaderMap::new();
        let requests = NonZeroU32::new(30).unwrap();
        let (window, reset) = (Duration::from_secs(60), Some(Duration::from_millis(1001)));
        write(&mut headers, &RouteId::new("people.lms.share-course"), &Quota { requests, window, remaining: 4, reset });
        assert_eq!(headers[POLICY], "\"people.lms.share-course\";q=30;w=60");
        assert_eq!(headers[LIMIT], "\"people.lms.share-course\";r=4;t=2");
    }
}
