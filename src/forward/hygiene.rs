//! Which headers cross the gateway, and which end here.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Fields that concern one connection only (RFC 9110 section 7.6.1), beside those that `Connection` names.
/// `Trailer` is not among them: it announces fields that travel end to end.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What a caller tells the gateway, or others tell it about the caller: none of Zoho's business.
const NOT_FOR_ZOHO: [&str; 21] = [
    "authorization",
    "cookie",
    "cookie2",
    "expect", // answered by the gateway's own listener, RFC 9110 section 10.1.1
    "forwarded",
    "host", // the endpoint's own is set
    "prefer",
    "priority",
    "x-real-ip",
    // Tracing.
    "baggage",
    "b3",
    "grpc-trace-bin",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-correlation-id",
    "x-ot-span-context",
    "x-request-id",
];

/// The same, by the beginning of the name.
const NOT_FOR_ZOHO_PREFIXES: [&str; 5] = ["gateway-", "x-forwarded-", "x-b3-", "x-datadog-", "uberctx-"];

/// What Zoho tells its own users' browsers, and what only the gateway may say.
const NOT_FOR_CALLERS: [&str; 6] =
    ["set-cookie", "set-cookie2", "proxy-status", "ratelimit", "ratelimit-policy", "x-request-id"];

/// Takes from a request what must not reach Zoho.
pub fn outbound(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    NOT_FOR_ZOHO.iter().for_each(|name| strip(headers, name));
    let unwanted = |name: &HeaderName| NOT_FOR_ZOHO_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
    let names: Vec<_> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    names.iter().for_each(|name| strip(headers, name.as_str()));
}

/// Takes from an answer what must not reach a caller.
pub fn inbound(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    NOT_FOR_CALLERS.iter().for_each(|name| strip(headers, name));
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default();
        value.split(',').filter_map(|name| name.trim().parse::<HeaderName>().ok()).collect::<Vec<_>>()
    };
    let named: Vec<_> = headers.get_all(header::CONNECTION).iter().flat_map(listed).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        strip(headers, name.as_str());
    }
}

fn strip(headers: &mut HeaderMap, name: &str) {
    headers.remove(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_end_to_end_headers_of_no_private_matter_go_out() {
        let mut sent = headers(&[
            ("accept", "application/json+large"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("etag", "1"),
            ("user-agent", "payroll"),
            ("trailer", "x-checksum"),
            ("authorization", "Bearer key"),
            ("cookie", "CSRF_TOKEN=1"),
            ("gateway-account", "main"),
            ("gateway-dry-run", "?1"),
            ("prefer", "wait=3"),
            ("priority", "u=1"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "http"),
            ("x-request-id", "a"),
            ("traceparent", "00-a-b-01"),
            ("tracestate", "a=b"),
            ("x-b3-traceid", "a"),
            ("connection", "close, x-private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
        ]);
        outbound(&mut sent);
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-type", "etag", "trailer", "user-agent"]);
    }

    #[test]
    fn zohos_cookies_end_here() {
        let mut received = headers(&[
            ("content-type", "application/json"),
            ("etag", "\"1\""),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ]);
        received.append("set-cookie", HeaderValue::from_static("a=1"));
        received.append("set-cookie", HeaderValue::from_static("b=2"));
        inbound(&mut received);
        assert_eq!(received, headers(&[("content-type", "application/json"), ("etag", "\"1\"")]));
    }
}
