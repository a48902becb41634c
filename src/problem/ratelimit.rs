//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): what is left of a route's threshold.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{Integer, KeyRef, ListSerializer, StringRef, key_ref};

use crate::{ledger::Allowance, zoho::catalogue::RouteId};

/// The threshold: name, calls, window in seconds.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of the threshold and when the next slot is free.
pub const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Both fields.
pub const FIELDS: [HeaderName; 2] = [POLICY, LIMIT];

/// The name of the account's daily limit in both fields.
const DAILY: &str = "daily-calls";

const QUOTA: &KeyRef = key_ref("q");
const WINDOW: &KeyRef = key_ref("w");
const REMAINING: &KeyRef = key_ref("r");
const RESET: &KeyRef = key_ref("t");

/// Enough for one item, so that writing it allocates once.
const CAPACITY: usize = 64;

/// Writes both fields: the route's threshold, then the account's daily limit where there is one.
pub fn write(headers: &mut HeaderMap, route: &RouteId, allowance: &Allowance) {
    let (mut policy, mut limit) = (String::with_capacity(CAPACITY), String::with_capacity(CAPACITY));
    let mut policies = ListSerializer::with_buffer(&mut policy);
    let mut limits = ListSerializer::with_buffer(&mut limit);
    let daily = allowance.daily.iter().map(|quota| (DAILY, quota));
    for (name, quota) in [(route.as_str(), &allowance.route)].into_iter().chain(daily) {
        let Ok(name) = StringRef::from_str(name) else { return };
        let window = integer(whole_seconds(quota.window));
        policies.bare_item(name).parameter(QUOTA, quota.requests.get()).parameter(WINDOW, window);
        let limit = limits.bare_item(name).parameter(REMAINING, quota.remaining);
        quota.reset.map(|reset| limit.parameter(RESET, integer(whole_seconds(reset))));
    }
    for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// A structured field holds integers up to 15 digits.
fn integer(number: u64) -> Integer {
    Integer::try_from(number).unwrap_or(Integer::MAX)
}

/// Whole seconds, rounded up to the safe side and at least one, for `Retry-After` and the fields above.
#[must_use]
pub fn whole_seconds(span: Duration) -> u64 {
    span.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::ledger::Quota;

    #[test]
    fn writes_threshold_rest_and_return() {
        let mut headers = HeaderMap::new();
        let requests = NonZeroU32::new(30).unwrap();
        let (window, reset) = (Duration::from_secs(60), Some(Duration::from_millis(1001)));
        let route = Quota { requests, window, used: 26, remaining: 4, reset };
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
