//! The span of a request, by OpenTelemetry's conventions for HTTP servers.
//!
//! Paths and queries hold personal data; the span has the route's template instead.

use http::{HeaderMap, Method, header};

use super::end::End;
use crate::call::{
    CacheOutcome, MergedInto,
    peer::{ClientAddress, Peer},
    request_id::RequestId,
    request_log::RequestLog,
    trace::Span,
};

/// Longer names of clients are left out, because each span that waits for its export holds its own.
const LONGEST_AGENT: usize = 256;

/// Sets what is known when the request arrives.
pub(super) fn begin(span: &mut Span, method: &Method, headers: &HeaderMap, peer: &Peer) {
    span.set("http.request.method", || Some(known(method).unwrap_or("_OTHER").to_owned()));
    span.set("url.scheme", || Some(if peer.is_tls { "https" } else { "http" }));
    span.set("network.protocol.version", || Some("1.1"));
    span.set("client.address", || match peer.address {
        ClientAddress::Tcp(address) => Some(address.ip().to_canonical().to_string()),
        ClientAddress::Unix => None,
    });
    span.set("user_agent.original", || {
        let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
        (agent.len() <= LONGEST_AGENT).then(|| agent.to_owned())
    });
}

/// Names the span, sets what became known, and ends it.
pub(super) fn end(mut span: Span, id: &RequestId, method: &Method, log: &RequestLog, end: &End) {
    if !span.is_recorded() {
        return;
    }
    let template = log.context().and_then(|context| context.route.path.as_deref());
    let method = known(method).unwrap_or("HTTP");
    span.name(|| template.map_or_else(|| method.to_owned(), |template| format!("{method} {template}")));
    span.set("http.route", || template.map(str::to_owned));
    span.set("url.path", || template.map(str::to_owned));
    span.set("http.response.status_code", || end.status.map(i64::from));
    span.set("zoho_gateway.request_id", || Some(id.as_str().to_owned()));
    span.set("zoho_gateway.outcome", || Some(end.outcome.as_str()));
    span.set("zoho_gateway.caller", || log.caller().map(|caller| caller.name().to_owned()));
    span.set("zoho_gateway.account", || end.account(log).map(str::to_owned));
    span.set("zoho_gateway.route", || end.route(log).map(str::to_owned));
    span.set("zoho_gateway.problem", || end.problem);
    span.set("zoho_gateway.cache", || end.cache.map(CacheOutcome::as_str));
    span.set("zoho_gateway.merged_into", || end.merged_into.as_ref().map(|MergedInto(id)| id.as_str().to_owned()));
    // By the conventions, an answer below 500 is no failure of the server.
    if let Some(status) = end.status.filter(|status| *status >= 500) {
        span.fail(|| end.problem.map_or_else(|| status.to_string().into(), Into::into));
    }
}

/// The methods that may be values of attributes; any client can make up others.
fn known(method: &Method) -> Option<&'static str> {
    let known = ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT"];
    known.into_iter().find(|name| *name == method.as_str())
}
