//! The origins that the gateway calls for one account.
//!
//! An [`Endpoint`] is only an origin (RFC 6454): the caller's path goes there unchanged.

use std::{fmt, str::FromStr};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use super::{data_center::DataCenter, product::Product};
use crate::message::host;

/// The origins that are called for one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Grants and revokes tokens.
    pub accounts: Endpoint,
    products: [Endpoint; Product::ALL.len()],
}

impl Endpoints {
    /// The origin that serves a product.
    #[must_use]
    pub fn product(&self, product: Product) -> &Endpoint {
        &self.products[product as usize]
    }

    /// The origin that serves a product, mutable.
    pub fn product_mut(&mut self, product: Product) -> &mut Endpoint {
        &mut self.products[product as usize]
    }
}

impl DataCenter {
    /// The origins of this data centre, all https.
    #[must_use]
    pub fn endpoints(self) -> Endpoints {
        Endpoints {
            accounts: Endpoint::https(self.accounts_host()),
            products: Product::ALL.map(|product| Endpoint::https(product.host(self))),
        }
    }
}

/// An origin: scheme, host and perhaps a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: Scheme,
    authority: Authority,
}

impl Endpoint {
    /// The origin of one of Zoho's own hosts.
    fn https(host: &'static str) -> Self {
        Self { scheme: Scheme::HTTPS, authority: Authority::from_static(host) }
    }

    /// `https`; `http` only where the configuration says so.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Host and port for a URI and for the Host header; in lower case.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The host alone; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// Whether others can read data that is sent there: without `https`, and beyond this machine.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        // An IPv4 address may be written as IPv6.
        let mapped = host::address(self.host()).is_some_and(|address| address.to_canonical().is_loopback());
        self.scheme == Scheme::HTTP && !mapped && !host::is_local(self.host())
    }

    /// Whether the host is a name of the DNS, neither an address nor `localhost`.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.host() != "localhost" && host::address(self.host()).is_none()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// Why a text is not an [`Endpoint`]. The message never repeats the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an absolute URL.
    #[error("expected a URL such as https://people.zoho.com")]
    NotAUrl,
    /// Another scheme.
    #[error("expected a URL that begins with https:// or http://")]
    Scheme,
    /// `user:password@`.
    #[error("expected a URL without user name and password; credentials have keys of their own")]
    UserInfo,
    /// Not a port that a server can listen on.
    #[error("expected a port from 1 to 65535")]
    Port,
    /// More than an origin.
    #[error("expected scheme, host and port alone, without path, query and fragment")]
    NotAnOrigin,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `Uri` silently drops fragments.
        if text.contains('#') {
            return Err(EndpointError::NotAnOrigin);
        }
        let uri: Uri = text.parse().map_err(|_| EndpointError::NotAUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(EndpointError::NotAUrl);
        };
        if *scheme != Scheme::HTTPS && *scheme != Scheme::HTTP {
            return Err(EndpointError::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(EndpointError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(EndpointError::NotAUrl);
        }
        // After the host comes nothing, or a colon and a port.
        let port = &authority.as_str()[authority.host().len()..];
        if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(EndpointError::Port);
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(EndpointError::NotAnOrigin);
        }
        let lower = authority.as_str().to_ascii_lowercase();
        let authority = Authority::try_from(lower).map_err(|_| EndpointError::NotAUrl)?;
        Ok(Self { scheme: scheme.clone(), authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_data_centre_has_the_hosts_of_one_domain() {
        for center in DataCenter::ALL {
            let endpoints = center.endpoints();
            let domain = endpoints.accounts.host().strip_prefix("accounts.").unwrap();
            for product in Product::ALL {
                assert_eq!(endpoints.product(product).host(), format!("{}.{domain}", product.as_str()));
                assert_eq!(endpoints.product(product).host(), product.host(center));
                assert_eq!(*endpoints.product(product).scheme(), Scheme::HTTPS);
            }
        }
    }

    #[test]
    fn canadas_host_differs_from_the_analogy() {
        assert_eq!(Product::People.host(DataCenter::Ca), "people.zohocloud.ca");
        assert_eq!(DataCenter::Ca.endpoints().accounts.to_string(), "https://accounts.zohocloud.ca");
    }

    #[test]
    fn accepts_origins() {
        for (text, shown) in [
            ("https://people.zoho.com", "https://people.zoho.com"),
            ("https://People.Zoho.com/", "https://people.zoho.com"),
            ("http://127.0.0.1:8443", "http://127.0.0.1:8443"),
            ("HTTP://[::1]:80/", "http://[::1]:80"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn unencrypted_networks_are_detected() {
        for (text, in_the_clear) in [
            ("http://accounts.zoho.com", true),
            ("http://10.0.0.1:9300", true),
            ("http://[2001:db8::1]", true),
            ("http://localhost.example.org", true),
            ("https://accounts.zoho.com", false),
            ("http://127.0.0.1:9300", false),
            ("http://127.8.8.8", false),
            ("http://[::1]:9300", false),
            ("http://[::ffff:127.0.0.1]:9300", false),
            ("http://LOCALHOST:9300", false),
            ("http://zoho.localhost", false),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().is_in_the_clear(), in_the_clear, "{text}");
        }
    }

    #[test]
    fn rejects_everything_else() {
        use EndpointError::{NotAUrl, NotAnOrigin, Port, Scheme, UserInfo};
        for (text, expected) in [
            ("", NotAUrl),
            ("people.zoho.com", NotAUrl),
            ("/api", NotAUrl),
            ("https://", NotAUrl),
            ("https://:443", NotAUrl),
            ("https://people zoho.com", NotAUrl),
            ("ftp://people.zoho.com", Scheme),
            ("https://me:secret@people.zoho.com", UserInfo),
            ("https://people.zoho.com:", Port),
            ("https://people.zoho.com:0", Port),
            ("https://people.zoho.com:65536", Port),
            ("https://people.zoho.com/api", NotAnOrigin),
            ("https://people.zoho.com?", NotAnOrigin),
            ("https://people.zoho.com/?a=b", NotAnOrigin),
            ("https://people.zoho.com/#top", NotAnOrigin),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(expected), "{text}");
        }
    }
}
