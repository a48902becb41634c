//! Rejects requests from web pages.
//!
//! A page in a browser on this machine can reach a port on loopback, and would act as Zoho's administrator. A page of
//! another origin is recognised by `Origin` (RFC 6454) or `Sec-Fetch-Site` (W3C Fetch Metadata). A page whose own name
//! resolves to this machine (DNS rebinding) has the same origin, and is recognised by that name in `Host`. All three are
//! rejected, and CORS is never granted.
//!
//! Browsers send `Sec-Fetch-Site` only to potentially trustworthy addresses, and `Origin` with few GETs. Loopback addresses
//! and `localhost` are trustworthy. Through any other address, such as `0.0.0.0` or a name in the hosts file, a page could
//! not be recognised. So a browser has to use a trustworthy address.

use std::{future::ready, sync::Arc};

use http::{HeaderMap, HeaderValue, Request, Response, header, uri::Authority};

use crate::{
    call::{
        Accepted,
        peer::{Exposure, Peer},
    },
    message::{body::Body, host},
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    problem::{Cause, Foreign, Refusal},
    zoho::host::ZohoHost,
};

/// The gateway's public host names, in lower case, without ports. Addresses and private names need no entry.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts(Arc<[String]>);

impl KnownHosts {
    /// Takes names in any case, with or without ports.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| host::name(&name)).collect())
    }

    /// Rejects a request from a page whose name resolves to this machine.
    ///
    /// # Errors
    /// [`Cause::ForeignOrigin`], naming the field.
    pub fn check_host<B>(&self, request: &Request<B>, peer: &Peer) -> Result<(), Cause> {
        // Only on loopback can a page of another name reach the gateway.
        let local = peer.exposure == Exposure::Loopback;
        // An authority in the target takes precedence over Host (RFC 9112 section 3.2.2).
        let asked = request.uri().authority().map(Authority::as_str).or_else(|| host_field(request.headers()));
        match asked {
            Some(asked) if local && !self.knows(asked, is_browser(request.headers())) => {
                Err(Cause::ForeignOrigin(Foreign::Host))
            }
            _ => Ok(()),
        }
    }

    /// Turns an absolute form that names the gateway itself into origin form. Its authority replaces `Host`, which is ignored
    /// then (RFC 9112 section 3.2.2). Other absolute forms stay unchanged.
    fn as_origin_form<B>(&self, request: &mut Request<B>) {
        let (Some(authority), Some(path)) = (request.uri().authority(), request.uri().path_and_query()) else { return };
        let (name, path) = (authority.as_str(), path.clone());
        // A user name before the host may hide the real server.
        if name.contains('@') || !self.knows(name, is_browser(request.headers())) {
            return;
        }
        let Ok(host) = HeaderValue::from_str(name) else { return };
        request.headers_mut().insert(header::HOST, host);
        *request.uri_mut() = path.into();
    }

    /// Whether the gateway answers to this host. The DNS cannot give a page an address or a private name; but a browser is
    /// recognised only through local names.
    fn knows(&self, asked: &str, is_browser: bool) -> bool {
        let name = host::name(asked);
        let not_in_dns = host::address(&name).is_some() || host::is_private(&name);
        host::is_local(&name) || (not_in_dns && !is_browser) || self.0.contains(&name)
    }
}

/// Rejects a request from a page of another origin.
///
/// # Errors
/// [`Cause::ForeignOrigin`], naming the field.
pub fn check_origin(headers: &HeaderMap) -> Result<(), Cause> {
    if headers.get_all("sec-fetch-site").iter().any(|site| site != "none" && site != "same-origin") {
        return Err(Cause::ForeignOrigin(Foreign::Site));
    }
    if headers.get_all(header::ORIGIN).iter().any(|origin| !is_own(origin.to_str().ok(), host_field(headers))) {
        return Err(Cause::ForeignOrigin(Foreign::Origin));
    }
    Ok(())
}

/// All browsers, and few other programs, start so; a page cannot change it in a request to another origin.
fn is_browser(headers: &HeaderMap) -> bool {
    headers.get(header::USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"))
}

fn host_field(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// Whether an origin is the requested server itself.
fn is_own(origin: Option<&str>, host: Option<&str>) -> bool {
    let authority = origin.and_then(|origin| origin.strip_prefix("http://").or(origin.strip_prefix("https://")));
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

/// Rejects requests from web pages.
#[derive(Debug)]
pub struct BrowserGuard {
    hosts: KnownHosts,
}

impl BrowserGuard {
    /// Accepts requests for these hosts.
    pub fn layer(hosts: KnownHosts) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(Self { hosts })
    }
}

impl<S: Inner<Accepted>> Middleware<Accepted, S> for BrowserGuard {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, mut accepted: Accepted, inner: &mut S) -> BoxFuture {
        let Accepted { request, peer, .. } = &mut accepted;
        self.hosts.as_origin_form(request);
        let zoho = || host_field(request.headers()).is_some_and(|host| ZohoHost::of(&host::name(host)).is_some());
        let checked = check_origin(request.headers()).and_then(|()| match request.uri().authority() {
            // The route layer checks this host.
            Some(_) => Ok(()),
            // Zoho's hosts pass too: the route layer accepts the account's own, and its rejection names them.
            None => self.hosts.check_host(request, peer).or_else(|cause| if zoho() { Ok(()) } else { Err(cause) }),
        });
        match checked {
            Ok(()) => inner.call(accepted),
            Err(cause) => Box::pin(ready(Err(cause.into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::peer::ClientAddress;

    fn outcome(exposure: Exposure, uri: &str, fields: &[(&'static str, &str)]) -> Result<(), Cause> {
        let hosts = KnownHosts::new(["people.zoho.com".to_owned(), "Gateway.Example".to_owned()]);
        let peer = Peer { exposure, address: ClientAddress::Unix, is_tls: false, names: Arc::default() };
        let request = Request::get(uri);
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(()).unwrap();
        check_origin(request.headers()).and_then(|()| hosts.check_host(&request, &peer))
    }

    #[test]
    fn services_are_accepted() {
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
            &[("host", "host.docker.internal:8080")],
            &[("host", "host.containers.internal")],
            &[("host", "Host.Lima.Internal.:8080")],
            &[("host", "gateway.team.svc.cluster.local")],
            &[("host", "gateway.home.arpa")],
            &[("host", "gateway.example:8080")],
            &[("host", "People.Zoho.com:443")],
            &[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")],
            &[("host", "127.0.0.1:8080"), ("sec-fetch-site", "none")],
            &[("host", "127.0.0.1:8080"), ("sec-fetch-site", "same-origin")],
            // Node's fetch.
            &[("host", "127.0.0.1:8080"), ("sec-fetch-mode", "cors")],
        ] {
            assert!(outcome(Exposure::Loopback, "/people/x", fields).is_ok(), "{fields:?}");
        }
        assert!(outcome(Exposure::Loopback, "http://people.zoho.com/x", &[("host", "evil.example")]).is_ok());
        assert!(outcome(Exposure::Loopback, "http://evil.example/x", &[("host", "localhost")]).is_err());
    }

    #[test]
    fn web_pages_of_other_origins_are_rejected() {
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
            for exposure in [Exposure::Loopback, Exposure::Unix, Exposure::Network] {
                assert!(outcome(exposure, "/people/x", fields).is_err(), "{fields:?}");
            }
        }
    }

    #[test]
    fn dns_rebinding_is_rejected() {
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "test.evil.example",
            "host.docker.internal.evil.example",
            "evil-internal.example",
            "gateway.lan",
            "",
            ":80",
        ] {
            assert!(outcome(Exposure::Loopback, "/people/x", &[("host", host)]).is_err(), "{host}");
            assert!(outcome(Exposure::Network, "/people/x", &[("host", host)]).is_ok(), "{host}");
            assert!(outcome(Exposure::Unix, "/people/x", &[("host", host)]).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_browser_must_use_a_trustworthy_address() {
        let agent = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
        for (host, known) in [
            ("127.0.0.1:8080", true),
            ("127.8.9.10", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]", false),
            ("localhost:8080", true),
            ("app.localhost", true),
            ("gateway.example:8080", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("10.1.2.3", false),
            ("localhost4:8080", false),
            ("ip6-localhost", false),
            ("raspberrypi", false),
            ("upstream.test", false),
            ("host.docker.internal", false),
            ("gateway.local", false),
        ] {
            let (browser, service) = ([("host", host), agent], [("host", host), ("user-agent", "curl/8.5.0")]);
            assert_eq!(outcome(Exposure::Loopback, "/people/x", &browser).is_ok(), known, "{host}");
            assert!(outcome(Exposure::Loopback, "/people/x", &service).is_ok(), "{host}");
            assert!(outcome(Exposure::Network, "/people/x", &browser).is_ok(), "{host}");
        }
    }
}
