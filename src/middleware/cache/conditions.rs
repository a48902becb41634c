//! Whether the caller already has the answer: `If-None-Match` and `If-Modified-Since` (RFC 9110 section 13.1).

use http::{HeaderMap, HeaderValue, header};

use crate::message::list::{Quotes, members};

/// Whether a 304 is the right answer, if the stored answer has these validators.
pub(super) fn unchanged(request: &HeaderMap, etag: &str, last_modified: Option<&HeaderValue>) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        // Then If-Modified-Since is ignored (RFC 9110 section 13.1.3).
        let mut tags = members(request, header::IF_NONE_MATCH, Quotes::Tags);
        return tags.any(|tag| tag == "*" || opaque(tag) == opaque(etag));
    }
    let date = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok();
    let since = request.get(header::IF_MODIFIED_SINCE).and_then(date);
    since.zip(last_modified.and_then(date)).is_some_and(|(since, modified)| modified <= since)
}

/// The part that a weak comparison uses (RFC 9110 section 8.8.3.2).
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}
