//! Refuses requests that a web page made.
//!
//! Whatever runs in a browser on this machine can reach a port on loopback, and would act as Zoho's administrator. A
//! page of another origin shows itself by `Origin` (RFC 6454) or `Sec-Fetch-Site` (W3C Fetch Metadata). A page whose own
//! name was made to lead here (DNS rebinding) is of the same origin then, and shows itself by that name in `Host`. All
//! three are refused, and nothing of CORS is ever granted.
//!
//! Browsers send `Sec-Fetch-Site` to potentially trustworthy addresses only, and `Origin` with few GETs. Loopback
//! addresses and `localhost` are trustworthy; by any other way to here, such as `0.0.0.0` or a name in the hosts file, a
//! page would come without a sign. So a browser has to use the former.

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

/// The names by which the gateway is known, in addition to addresses and names beyond DNS: in lower case, without ports.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts(Arc<[String]>);

impl KnownHosts {
    /// These names.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| host::name(&name)).collect())
    }

    /// Refuses what a page sent whose name leads here.
    ///
    /// # Errors
    /// [`Cause::ForeignOrigin`], naming the field.
    pub fn check_host<B>(&self, request: &Request<B>, peer: &Peer) -> Result<(), Cause> {
        // From other machines and through a file no page gets in by its name alone.
        let local = peer.exposure == Exposure::Loopback;
        // What a target names by itself goes before Host (RFC 9112 section 3.2.2).
        let asked = request.uri().authority().map(Authority::as_str).or_else(|| host_field(request.headers()));
        match asked {
            Some(asked) if local && !self.knows(asked, is_a_browsers(request.headers())) => {
                Err(Cause::ForeignOrigin(Foreign::Host))
            }
            _ => Ok(()),
        }
    }

    /// Makes origin form of an absolute form that names the gateway itself. Its authority takes the place of `Host`, which
    /// does not count then (RFC 9112 section 3.2.2). Other absolute forms stay as they are.
    fn as_origin_form<B>(&self, request: &mut Request<B>) {
        let (Some(authority), Some(path)) = (request.uri().authority(), request.uri().path_and_query()) else { return };
        let (name, path) = (authority.as_str(), path.clone());
        // A user's name before the host may hide which server is meant.
        if name.contains('@') || !self.knows(name, is_a_browsers(request.headers())) {
            return;
        }
        let Ok(host) = HeaderValue::from_str(name) else { return };
        request.headers_mut().insert(header::HOST, host);
        *request.uri_mut() = path.into();
    }

    /// Browsers trust local names. Other addresses are beyond the DNS, and so are private names.
    fn knows(&self, asked: &str, a_browser: bool) -> bool {
        let name = host::name(asked);
        let beyond_dns = host::address(&name).is_some() || host::is_private(&name);
        host::is_local(&name) || (beyond_dns && !a_browser) || self.0.contains(&name)
    }
}

/// Refuses what a page of another origin sent.
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

/// All browsers begin so, and a few other programs; a page cannot change it in a request to another origin.
fn is_a_browsers(headers: &HeaderMap) -> bool {
    headers.get(header::USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"))
}

fn host_field(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// Whether an origin is the very server that was asked.
fn is_own(origin: Option<&str>, host: Option<&str>) -> bool {
    let authority = origin.and_then(|origin| origin.strip_prefix("http://").or(origin.strip_prefix("https://")));
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

/// Lets in by known names only.
#[derive(Debug)]
pub struct BrowserGuard {
    hosts: KnownHosts,
}

impl BrowserGuard {
    /// Lets in by these names.
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
        let zohos = || host_field(request.headers()).is_some_and(|host| ZohoHost::of(&host::name(host)).is_some());
        let checked = check_origin(request.headers()).and_then(|()| match request.uri().authority() {
            // The router decides whose host this is.
            Some(_) => Ok(()),
            // Also for Zoho's hosts: it serves the account's alone, and its refusal names the others.
            None => self.hosts.check_host(request, peer).or_else(|cause| if zohos() { Ok(()) } else { Err(cause) }),
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

    fn outcome(exposure: Exposure, uri: &str, fields: &[(&'static str, &str)]) -> Result<(), Cause> {
        let hosts = KnownHosts::new(["people.zoho.com".to_owned(), "Gateway.Example".to_owned()]);
        let peer = Peer { exposure, names: Arc::default() };
        let request = Request::get(uri);
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(()).unwrap();
        check_origin(request.headers()).and_then(|()| hosts.check_host(&request, &peer))
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
            for exposure in [Exposure::Loopback, Exposure::Unix, Exposure::Network] {
                assert!(outcome(exposure, "/people/x", fields).is_err(), "{fields:?}");
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
    fn a_browser_has_to_use_an_address_by_which_it_shows_where_it_comes_from() {
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
            let (page, service) = ([("host", host), agent], [("host", host), ("user-agent", "curl/8.5.0")]);
            assert_eq!(outcome(Exposure::Loopback, "/people/x", &page).is_ok(), known, "{host}");
            assert!(outcome(Exposure::Loopback, "/people/x", &service).is_ok(), "{host}");
            assert!(outcome(Exposure::Network, "/people/x", &page).is_ok(), "{host}");
        }
    }
}
