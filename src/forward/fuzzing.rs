//! Any header fields: what must not cross does not, and everything else does, untouched and in order.

mod answers;

use http::{HeaderMap, HeaderName, HeaderValue};

pub use answers::answers;

use super::hygiene;

/// RFC 9110 section 7.6.1, and what stands for a connection by custom.
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

const OF_THE_CALLER: [&str; 24] = [
    "authorization",
    "b3",
    "baggage",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "grpc-trace-bin",
    "host",
    "prefer",
    "priority",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-correlation-id",
    "x-ot-span-context",
    "x-real-ip",
    "x-request-id",
    // Beginnings.
    "gateway-",
    "x-forwarded-",
    "x-b3-",
];

const OF_ZOHOS_OWN: [&str; 6] =
    ["proxy-status", "ratelimit", "ratelimit-policy", "set-cookie", "set-cookie2", "x-request-id"];

/// Reads a line per field and sends the fields both ways.
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
        OF_THE_CALLER.iter().any(|own| *own == name || (own.ends_with('-') && name.starts_with(own)))
            || name.starts_with("x-datadog-")
            || name.starts_with("uberctx-")
    };
    // Some servers take `_` for `-`.
    let taken_for = |name: &str| name.contains('_').then(|| name.replace('_', "-"));
    let ends_here = |name: &str| OF_THE_CONNECTION.contains(&name) || name == "content-length" || private(name);
    crosses(&fields, hygiene::outbound, |name| {
        !stays(name) && !private(name) && !taken_for(name).is_some_and(|name| ends_here(&name))
    });
    crosses(&fields, hygiene::inbound, |name| {
        !stays(name) && !OF_ZOHOS_OWN.contains(&name) && !name.starts_with("access-control-")
    });
}

/// What `Connection` lists, by the letter of RFC 9110 section 5.6.1: parted by commas, with blanks around, in any case.
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
    // By name in any order, and the values of a name in theirs.
    assert_eq!(headers, expected);
    clean(&mut headers);
    assert_eq!(headers, expected, "a second time changes nothing");
}
