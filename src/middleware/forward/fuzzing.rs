//! Any header fields: private ones are removed, and all others pass, unchanged and in order.

mod answers;

use http::{HeaderMap, HeaderName, HeaderValue};

pub use answers::answers;

use super::{hygiene, tracing_fields};
use crate::message::method_override;

/// The fields of RFC 9110 section 7.6.1, and those that concern a connection by custom.
const OF_THE_CONNECTION: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

const OF_THE_CALLER: [&str; 23] = [
    "authorization",
    "cf-connecting-ip",
    "client-ip",
    "cookie",
    "cookie2",
    "expect",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "host",
    "prefer",
    "priority",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-remote-ip",
    // One of the tracing fields; the others are read from their table.
    "traceparent",
];

const BEGINNINGS: [&str; 4] = ["gateway-", "x-forwarded-", "x-b3-", "uberctx-"];

/// The fields that the gateway writes or has checked.
const OF_THE_BODY: [&str; 4] = ["accept-encoding", "content-encoding", "content-length", "content-type"];

const NOT_FOR_CALLERS: [&str; 6] =
    ["proxy-status", "ratelimit", "ratelimit-policy", "set-cookie", "set-cookie2", "x-request-id"];

/// Reads one field per line and filters the fields in both directions.
pub fn headers(data: &[u8]) {
    let field = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    let fields: Vec<(HeaderName, HeaderValue)> =
        data.split(|byte| *byte == b'\n').filter_map(field).take(1000).collect();
    let named = named_by_connection(&fields);
    let stays = |name: &str| OF_THE_CONNECTION.contains(&name) || named.iter().any(|named| named == name);
    let private = |name: &str| {
        OF_THE_CALLER.contains(&name)
            || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
            || tracing_fields::is_tracing(name)
    };
    // Some servers treat `_` as `-`.
    let taken_for = |name: &str| name.contains('_').then(|| name.replace('_', "-"));
    let ends_here = |name: &str| OF_THE_CONNECTION.contains(&name) || OF_THE_BODY.contains(&name) || private(name);
    crosses(&fields, hygiene::outbound, |name| {
        let is_taken_for_another = || taken_for(name).is_some_and(|name| ends_here(&name));
        !stays(name) && !private(name) && !is_taken_for_another() && !method_override::is_override(name)
    });
    crosses(&fields, hygiene::inbound, |name| {
        !stays(name) && !NOT_FOR_CALLERS.contains(&name) && !name.starts_with("access-control-")
    });
}

/// The options in `Connection` (RFC 9110 section 5.6.1): comma-separated, with optional whitespace, in any case.
fn named_by_connection(fields: &[(HeaderName, HeaderValue)]) -> Vec<String> {
    let lists = fields.iter().filter(|(name, _)| name == "connection").map(|(_, value)| value.as_bytes());
    let options = lists.flat_map(|list| list.split(|byte| *byte == b','));
    options.map(|option| String::from_utf8_lossy(option.trim_ascii()).to_ascii_lowercase()).collect()
}

fn crosses(fields: &[(HeaderName, HeaderValue)], clean: fn(&mut HeaderMap), may: impl Fn(&str) -> bool) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value.clone());
    }
    clean(&mut headers);
    let mut expected = HeaderMap::new();
    for (name, value) in fields.iter().filter(|(name, _)| may(name.as_str())) {
        expected.append(name, value.clone());
    }
    // Names in any order, the values of a name in their order.
    assert_eq!(headers, expected);
    clean(&mut headers);
    assert_eq!(headers, expected, "a second time changes nothing");
}
