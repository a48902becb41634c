//! Which headers pass the gateway, and which end here.

use http::{HeaderMap, HeaderName};

use super::tracing_fields;
use crate::message::{hop_by_hop::take_connection_options, method_override};

/// Removes from a request what must not reach Zoho.
pub fn outbound(headers: &mut HeaderMap) {
    // Overrides in the head were rejected; those in trailers are seen only when it is too late for that.
    let unwanted =
        |name: &str| is_not_for_zoho(name) || is_taken_for_another(name) || method_override::is_override(name);
    strip(headers, |name| is_hop_by_hop(name) || unwanted(name));
}

/// Removes from an answer what must not reach a caller.
pub fn inbound(headers: &mut HeaderMap) {
    strip(headers, |name| is_hop_by_hop(name) || is_not_for_callers(name));
}

/// Fields that concern one connection only (RFC 9110 section 7.6.1), apart from those that `Connection` names.
/// `Trailer` is not one of them: it announces fields that travel end to end.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Fields that do not concern Zoho: from the caller to the gateway, and from proxies about the caller.
fn is_not_for_zoho(name: &str) -> bool {
    match name {
        "authorization" | "cookie" | "cookie2" | "prefer" | "priority" | "idempotency-key" => true,
        // The gateway sets the endpoint's own.
        "host" => true,
        // Answered by the gateway's own listener (RFC 9110 section 10.1.1).
        "expect" => true,
        // The caller's address.
        "forwarded" | "x-original-forwarded-for" | "x-real-ip" | "x-remote-ip" | "x-client-ip" | "client-ip" => true,
        "x-cluster-client-ip" | "true-client-ip" | "cf-connecting-ip" | "fastly-client-ip" | "fly-client-ip" => true,
        "proxy-client-ip" | "wl-proxy-client-ip" | "x-azure-clientip" | "x-azure-socketip" => true,
        _ => name.starts_with("gateway-") || name.starts_with("x-forwarded-") || tracing_fields::is_tracing(name),
    }
}

/// Servers that turn fields into variables (RFC 3875 section 4.1.18) treat `_` as `-`, so they could mistake one of these for
/// a field that the gateway has written or removed.
fn is_taken_for_another(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let name = name.replace('_', "-");
    matches!(name.as_str(), "accept-encoding" | "content-encoding" | "content-length" | "content-type")
        || is_hop_by_hop(&name)
        || is_not_for_zoho(&name)
}

/// Fields for the browsers of Zoho's own users, such as CORS, and fields that only the gateway may set.
fn is_not_for_callers(name: &str) -> bool {
    matches!(name, "set-cookie" | "set-cookie2" | "proxy-status" | "ratelimit" | "ratelimit-policy" | "x-request-id")
        || name.starts_with("access-control-")
}

/// One pass over the existing fields; most requests have far fewer than the lists above.
fn strip(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    take_connection_options(headers, |_| false);
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_public_end_to_end_headers_go_out() {
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
            ("elastic-apm-traceparent", "a"),
            ("newrelic", "a"),
            ("x-instana-t", "a"),
            ("sap_passport", "a"),
            ("adrum_0", "a"),
            ("x_dynatrace", "a"),
            ("true-client-ip", "1.2.3.4"),
            ("connection", "close, x-private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("content_length", "7"),
            ("transfer_encoding", "chunked"),
            ("x_forwarded-for", "1.2.3.4"),
            ("gateway_account", "main"),
            ("not_private", "1"),
        ]);
        outbound(&mut sent);
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-type", "etag", "not_private", "trailer", "user-agent"]);
    }

    #[test]
    fn a_non_ascii_option_does_not_hide_the_others() {
        // Found by fuzzing: the whole line was ignored, and the fields that it names went to Zoho.
        let mut sent = headers(&[("x-private", "1"), ("x-other", "2"), ("accept", "*/*")]);
        sent.append("connection", HeaderValue::from_bytes("é, x-private".as_bytes()).unwrap());
        sent.append("connection", HeaderValue::from_static("\tX-Other\t,,"));
        outbound(&mut sent);
        assert_eq!(sent, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn cookies_of_zoho_are_removed() {
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
