//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): what is left of a route's threshold.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    ledger::{Allowance, Quota},
    zoho::catalogue::RouteId,
};

/// The threshold: name, calls, span in seconds.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of it and when the next slot comes back.
pub const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Both.
pub const FIELDS: [HeaderName; 2] = [POLICY, LIMIT];

/// The name of the account's daily limit in both fields.
const DAILY: &str = "daily-calls";

/// Writes both fields: the route's threshold, and behind it the account's daily limit where there is one.
pub fn write(headers: &mut HeaderMap, route: &RouteId, allowance: &Allowance) {
    let (mut policy, mut limit) = items(route.as_str(), &allowance.route);
    if let Some(daily) = &allowance.daily {
        let (daily_policy, daily_limit) = items(DAILY, daily);
        policy = format!("{policy}, {daily_policy}");
        limit = format!("{limit}, {daily_limit}");
    }
    for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

/// One item of each field. A structured field's integer is whole seconds, so spans round up: to the safe side.
fn items(name: &str, quota: &Quota) -> (String, String) {
    let policy = format!("\"{name}\";q={};w={}", quota.requests, whole_seconds(quota.window));
    let reset = quota.reset.map(|reset| format!(";t={}", whole_seconds(reset))).unwrap_or_default();
    (policy, format!("\"{name}\";r={}{reset}", quota.remaining))
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
        let route = Quota { requests, window, remaining: 4, reset };
        let id = RouteId::new("people.lms.share-course");
        write(&mut headers, &id, &Allowance { route, daily: None });
        assert_eq!(headers[POLICY], "\"people.lms.share-course\";q=30;w=60");
        assert_eq!(headers[LIMIT], "\"people.lms.share-course\";r=4;t=2");
        let daily = Quota { window: Duration::from_secs(86_400), remaining: 29, reset: None, ..route };
        write(&mut headers, &id, &Allowance { route, daily: Some(daily) });
        assert_eq!(headers[POLICY], "\"people.lms.share-course\";q=30;w=60, \"daily-calls\";q=30;w=86400");
        assert_eq!(headers[LIMIT], "\"people.lms.share-course\";r=4;t=2, \"daily-calls\";r=29");
    }
}
