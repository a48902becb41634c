//! How connections leave: directly, or through a proxy.

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri, uri::Scheme};
use percent_encoding::percent_decode_str;

use super::NoProxy;
use crate::secret::Secret;

/// The route of outgoing connections; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Egress(Option<Arc<Through>>);

#[derive(Debug)]
struct Through {
    proxy: Proxy,
    without: NoProxy,
    /// The key or variable that sets the proxy.
    source: String,
}

/// A proxy for tunnels (CONNECT). Its password is never printed.
#[derive(Clone)]
pub struct Proxy {
    /// Scheme, host and port.
    uri: Uri,
    /// `Basic ...`, marked sensitive.
    authorization: Option<HeaderValue>,
}

/// An invalid proxy URL. The error does not repeat it, since it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoProxyUrl {
    /// The scheme is not supported.
    #[error("expected http:// or https://; other kinds of proxies, such as SOCKS, are not supported")]
    Scheme,
    /// The URL is malformed.
    #[error(
        "expected a URL such as \"http://proxy.example:3128\"; in a user's name or password, characters such as @ : / # \
         are percent-encoded"
    )]
    Malformed,
}

impl Egress {
    /// Without a proxy.
    #[must_use]
    pub fn direct() -> Self {
        Self(None)
    }

    /// Through this proxy, except to this machine and to what `without` covers. `source` is the key or variable that
    /// sets the proxy.
    #[must_use]
    pub fn through(proxy: Proxy, without: NoProxy, source: String) -> Self {
        Self(Some(Arc::new(Through { proxy, without, source })))
    }

    /// The proxy for this address.
    pub(super) fn proxy_for(&self, uri: &Uri) -> Option<&Proxy> {
        let through = self.0.as_deref()?;
        (!through.without.covers(uri)).then_some(&through.proxy)
    }

    /// For operators: the proxy, its source, and what is reached without it; `None` without a proxy.
    #[must_use]
    pub fn description(&self) -> Option<String> {
        let Through { proxy, without, source } = self.0.as_deref()?;
        let user = if proxy.has_credentials() { ", with a password" } else { "" };
        let without = without.texts().map(|rule| format!(", {rule}")).collect::<String>();
        Some(format!("through the proxy {proxy} ({source}{user}); directly: loopback{without}"))
    }
}

impl Proxy {
    /// Reads a URL with or without user and password. The default scheme is http.
    ///
    /// # Errors
    /// [`NoProxyUrl`].
    pub fn parse(text: &str) -> Result<Self, NoProxyUrl> {
        let text = text.trim();
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = url.parse().map_err(|_| NoProxyUrl::Malformed)?;
        let scheme = uri.scheme().ok_or(NoProxyUrl::Malformed)?;
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(NoProxyUrl::Scheme);
        }
        let authority = uri.authority().ok_or(NoProxyUrl::Malformed)?.as_str();
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        // http::Uri drops a fragment, so a part of a password with # could become the host.
        if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
            return Err(NoProxyUrl::Malformed);
        }
        let bare = Uri::builder().scheme(scheme.clone()).authority(host).path_and_query("/").build();
        let proxy = Self { uri: bare.ok().filter(has_host).ok_or(NoProxyUrl::Malformed)?, authorization: None };
        let Some(userinfo) = userinfo.filter(|userinfo| !userinfo.is_empty()) else { return Ok(proxy) };
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let decoded = |text| percent_decode_str(text).decode_utf8().map_err(|_| NoProxyUrl::Malformed);
        Ok(proxy.with_credentials(&decoded(user)?, &Secret::from(&*decoded(password)?)))
    }

    /// Adds user and password (RFC 7617).
    #[must_use]
    pub fn with_credentials(mut self, user: &str, password: &Secret) -> Self {
        let pair = Secret::new(format!("{user}:{}", password.expose()));
        let value = format!("Basic {}", BASE64_STANDARD.encode(pair.expose()));
        // Base64 fits into any header field.
        self.authorization = HeaderValue::try_from(value).ok().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        self
    }

    /// Whether the proxy gets user and password.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.authorization.is_some()
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

/// Whether there is a host with or without a valid port. http::Uri accepts any text as a port.
fn has_host(uri: &Uri) -> bool {
    let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else { return false };
    let bare = authority.as_str() == host;
    !host.is_empty() && (bare || uri.port_u16().is_some_and(|port| authority.as_str() == format!("{host}:{port}")))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}", self.uri.authority().map(|authority| authority.as_str()).unwrap_or_default())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_read_but_not_printed() {
        // "user:pass", "Aladdin:open sesame" of RFC 7617, "user:", "u@x:p:q".
        for (text, printed, authorization) in [
            ("http://proxy.example:3128", "http://proxy.example:3128", None),
            ("https://proxy.example/", "https://proxy.example", None),
            ("proxy.example:3128", "http://proxy.example:3128", None),
            (" http://10.0.0.1:8080 ", "http://10.0.0.1:8080", None),
            ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128", None),
            ("http://user:pass@proxy:1", "http://proxy:1", Some("Basic dXNlcjpwYXNz")),
            ("http://Aladdin:open%20sesame@proxy", "http://proxy", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            ("http://user@proxy", "http://proxy", Some("Basic dXNlcjo=")),
            ("user:pass@proxy:1", "http://proxy:1", Some("Basic dXNlcjpwYXNz")),
            ("http://u%40x:p%3Aq@proxy", "http://proxy", Some("Basic dUB4OnA6cQ==")),
            ("http://@proxy", "http://proxy", None),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!((proxy.to_string().as_str(), format!("{proxy:?}").as_str()), (printed, printed), "{text}");
            assert_eq!(proxy.authorization().map(|value| value.to_str().unwrap()), authorization, "{text}");
            let egress = Egress::through(proxy, NoProxy::lenient(".internal"), "HTTPS_PROXY".into());
            assert!(!format!("{egress:?} {:?}", egress.description()).contains("pass@"), "{text}");
        }
    }

    #[test]
    fn an_invalid_proxy_url_is_refused_and_not_repeated() {
        for (text, expected) in [
            ("socks5://proxy.example:1080", NoProxyUrl::Scheme),
            ("ftp://user:pass@proxy", NoProxyUrl::Scheme),
            ("", NoProxyUrl::Malformed),
            ("http://", NoProxyUrl::Malformed),
            ("http://:3128", NoProxyUrl::Malformed),
            ("http://user:pass@", NoProxyUrl::Malformed),
            ("http://user:p ss@proxy", NoProxyUrl::Malformed),
            ("http://user:p#ss@proxy:3128", NoProxyUrl::Malformed),
            ("http://user:p/ss@proxy:3128", NoProxyUrl::Malformed),
            ("http://proxy:port", NoProxyUrl::Malformed),
            ("http://proxy:70000", NoProxyUrl::Malformed),
            ("http://proxy/path", NoProxyUrl::Malformed),
        ] {
            let error = Proxy::parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("proxy/path") && !error.to_string().contains(":pass"), "{text}");
        }
    }
}
