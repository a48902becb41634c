//! The guard room: whether a web page made the request.
//!
//! Whatever runs in a browser on this machine can reach a port on loopback, and would act as Zoho's administrator. A
//! page of another origin shows itself by `Origin` (RFC 6454) or `Sec-Fetch-Site` (W3C Fetch Metadata). A page whose own
//! name was made to lead here (DNS rebinding) is of the same origin then, and shows itself by that name in `Host`. All
//! three are refused, and nothing of CORS is ever granted.

use std::{
    future::ready,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use tower::{Layer, Service};

use crate::{
    body::Body,
    boxed::BoxFuture,
    peer::{Peer, Reach},
    refusal::{Cause, Foreign, Refusal},
};

/// The names under which the gateway is known, beside addresses and names beyond DNS: in lower case, without ports.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts(Arc<[String]>);

impl KnownHosts {
    /// These names.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Refuses what a page of another origin sent.
    ///
    /// # Errors
    /// [`Cause::ForeignOrigin`], naming the field.
    pub fn check<B>(&self, request: &Request<B>) -> Result<(), Cause> {
        check_origin(request.headers())?;
        self.check_host(request)
    }

    /// Refuses what a page sent whose name was made to lead here.
    ///
    /// # Errors
    /// [`Cause::ForeignOrigin`], naming the field.
    pub fn check_host<B>(&self, request: &Request<B>) -> Result<(), Cause> {
        // From other machines and through a file no page gets in by its name alone; and what a target names by itself goes
        // before Host (RFC 9112 section 3.2.2), and is judged by the route room.
        let local = request.extensions().get::<Peer>().is_some_and(|peer| peer.reach == Reach::Loopback);
        if !local || request.uri().authority().is_some() {
            return Ok(());
        }
        match host(request.headers()) {
            Some(host) if !self.knows(host) => Err(Cause::ForeignOrigin(Foreign::Host)),
            _ => Ok(()),
        }
    }

    /// Addresses are beyond DNS; a name without a dot is in nobody's zone, and neither are `localhost` and `test`
    /// (RFC 6761).
    fn knows(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let beyond_dns = !name.contains('.') || name.ends_with(".localhost") || name.ends_with(".test");
        (beyond_dns && !name.is_empty()) || address.parse::<IpAddr>().is_ok() || self.0.contains(&name)
    }
}

fn check_origin(headers: &HeaderMap) -> Result<(), Cause> {
    if headers.get_all("sec-fetch-site").iter().any(|site| site != "none" && site != "same-origin") {
        return Err(Cause::ForeignOrigin(Foreign::Site));
    }
    if headers.get_all(header::ORIGIN).iter().any(|origin| !is_own(origin.to_str().ok(), host(headers))) {
        return Err(Cause::ForeignOrigin(Foreign::Origin));
    }
    Ok(())
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// Whether an origin is the very server that was asked.
fn is_own(origin: Option<&str>, host: Option<&str>) -> bool {
    let authority = origin.and_then(|origin| origin.strip_prefix("http://").or(origin.strip_prefix("https://")));
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Hangs the room.
#[derive(Debug, Clone)]
pub struct GuardLayer(KnownHosts);

/// The room.
#[derive(Debug, Clone)]
pub struct Guard<S> {
    hosts: KnownHosts,
    inner: S,
}

impl GuardLayer {
    /// Lets in by these names.
    #[must_use]
    pub fn new(hosts: KnownHosts) -> Self {
        Self(hosts)
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { hosts: self.0.clone(), inner }
    }
}

impl<S> Service<Request<Incoming>> for Guard<S>
where
    S: Service<
            Request<Incoming>,
            Response = Response<Body>,
            Error = Refusal,
            Future = BoxFuture<Response<Body>, Refusal>,
        >,
{
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = BoxFuture<Response<Body>, Refusal>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        match self.hosts.check(&request) {
            Ok(()) => self.inner.call(request),
            Err(cause) => Box::pin(ready(Err(cause.into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(reach: Reach, uri: &str, fields: &[(&'static str, &str)]) -> Result<(), Cause> {
        let hosts = KnownHosts::new(["people.zoho.com".to_owned(), "Gateway.Example".to_owned()]);
        let request = Request::get(uri).extension(Peer { reach, names: Arc::default() });
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        hosts.check(&request.body(()).unwrap())
    }

    #[test]
    fn services_are_let_in() {
        for fields in [
            &[][..],
            &[("host", "127.0.0.1:8080")],
            &[("host", "[::1]:8080")],
            &[("host", "[::1]")],
            &[("host", "10.1.2.3")],
            &[("host", "LocalHost:1")],
            &[("host", "app.localhost")],
            &[("host", "localhost.")],
            &[("host", "upstream.test")],
            &[("host", "gateway:8080")],
            &[("host", "gateway.example:8080")],
            &[("host", "People.Zoho.com:443")],
            &[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")],
            &[("host", "127.0.0.1:8080"), ("sec-fetch-site", "none")],
            &[("host", "127.0.0.1:8080"), ("sec-fetch-site", "same-origin")],
            // Node's fetch.
            &[("host", "127.0.0.1:8080"), ("sec-fetch-mode", "cors")],
        ] {
            assert!(outcome(Reach::Loopback, "/people/x", fields).is_ok(), "{fields:?}");
        }
        assert!(outcome(Reach::Loopback, "http://people.zoho.com/x", &[("host", "evil.example")]).is_ok());
    }

    #[test]
    fn web_pages_are_not() {
        let local = ("host", "127.0.0.1:8080");
        for fields in [
            &[local, ("sec-fetch-site", "cross-site")][..],
            &[local, ("sec-fetch-site", "same-site")],
            &[local, ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
            &[local, ("origin", "https://evil.example")],
            &[local, ("origin", "null")],
            &[local, ("origin", "http://127.0.0.1:3000")],
            &[local, ("origin", "127.0.0.1:8080")],
            &[local, ("origin", "http://127.0.0.1:8080"), ("origin", "http://evil.example")],
        ] {
            for reach in [Reach::Loopback, Reach::Unix, Reach::Network] {
                assert!(outcome(reach, "/people/x", fields).is_err(), "{fields:?}");
            }
        }
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_is_no_name_of_ours() {
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "test.evil.example",
            "",
            ":80",
        ] {
            assert!(outcome(Reach::Loopback, "/people/x", &[("host", host)]).is_err(), "{host}");
            assert!(outcome(Reach::Network, "/people/x", &[("host", host)]).is_ok(), "{host}");
            assert!(outcome(Reach::Unix, "/people/x", &[("host", host)]).is_ok(), "{host}");
        }
    }
}
