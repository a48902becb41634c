//! Where Zoho is: its data centres, and the three origins that the gateway calls for one account.
//!
//! A login lives in one data centre; its tokens are worth nothing in another. The table is `DataCenter::hosts`.
//! An [`Endpoint`] is an origin (RFC 6454) and nothing more: what the caller wrote as path goes there as it stands.

use std::{fmt, str::FromStr};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use crate::zoho::catalogue::Product;

/// One of Zoho's data centres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataCenter {
    /// United States, `zoho.com`.
    Us,
    /// Europe, `zoho.eu`.
    Eu,
    /// India, `zoho.in`.
    In,
    /// Australia, `zoho.com.au`.
    Au,
    /// Japan, `zoho.jp`.
    Jp,
    /// Canada, `zohocloud.ca`.
    Ca,
    /// Saudi Arabia, `zoho.sa`.
    Sa,
    /// China, `zoho.com.cn`.
    Cn,
    /// United Kingdom, `zoho.uk`.
    Uk,
    /// United Arab Emirates, `zoho.ae`.
    Ae,
    /// Singapore, `zoho.sg`.
    Sg,
}

/// One row of the table of data centres.
struct Hosts {
    accounts: &'static str,
    people: &'static str,
    calendar: &'static str,
}

impl DataCenter {
    /// Every data centre.
    pub const ALL: [Self; 11] =
        [Self::Us, Self::Eu, Self::In, Self::Au, Self::Jp, Self::Ca, Self::Sa, Self::Cn, Self::Uk, Self::Ae, Self::Sg];

    /// Its short name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Eu => "eu",
            Self::In => "in",
            Self::Au => "au",
            Self::Jp => "jp",
            Self::Ca => "ca",
            Self::Sa => "sa",
            Self::Cn => "cn",
            Self::Uk => "uk",
            Self::Ae => "ae",
            Self::Sg => "sg",
        }
    }

    /// The three origins of this data centre, all https.
    #[must_use]
    pub fn endpoints(self) -> Endpoints {
        let Hosts { accounts, people, calendar } = self.hosts();
        Endpoints {
            accounts: Endpoint::https(accounts),
            people: Endpoint::https(people),
            calendar: Endpoint::https(calendar),
        }
    }

    /// The host of a product, for example `people.zoho.com`.
    #[must_use]
    pub fn host(self, product: Product) -> &'static str {
        match product {
            Product::People => self.hosts().people,
            Product::Calendar => self.hosts().calendar,
        }
    }

    /// The table. "Documented" means that Zoho's multi-DC page lists the accounts host; "seen" that the host answered.
    fn hosts(self) -> Hosts {
        match self {
            // Documented, and the hosts on Zoho's own sample requests.
            Self::Us => {
                Hosts { accounts: "accounts.zoho.com", people: "people.zoho.com", calendar: "calendar.zoho.com" }
            }
            // Documented; people seen.
            Self::Eu => Hosts { accounts: "accounts.zoho.eu", people: "people.zoho.eu", calendar: "calendar.zoho.eu" },
            // Documented; people seen.
            Self::In => Hosts { accounts: "accounts.zoho.in", people: "people.zoho.in", calendar: "calendar.zoho.in" },
            // Documented; people seen.
            Self::Au => Hosts {
                accounts: "accounts.zoho.com.au",
                people: "people.zoho.com.au",
                calendar: "calendar.zoho.com.au",
            },
            // Documented; people seen.
            Self::Jp => Hosts { accounts: "accounts.zoho.jp", people: "people.zoho.jp", calendar: "calendar.zoho.jp" },
            // Documented; people and calendar seen. The zoho.ca that analogy suggests does not exist.
            Self::Ca => Hosts {
                accounts: "accounts.zohocloud.ca",
                people: "people.zohocloud.ca",
                calendar: "calendar.zohocloud.ca",
            },
            // Documented; people seen, calendar by analogy.
            Self::Sa => Hosts { accounts: "accounts.zoho.sa", people: "people.zoho.sa", calendar: "calendar.zoho.sa" },
            // Documented on the pages of Zoho CRM; people seen.
            Self::Cn => Hosts {
                accounts: "accounts.zoho.com.cn",
                people: "people.zoho.com.cn",
                calendar: "calendar.zoho.com.cn",
            },
            // The least sure row: accounts and people only ever met in other people's code, calendar by analogy.
            Self::Uk => Hosts { accounts: "accounts.zoho.uk", people: "people.zoho.uk", calendar: "calendar.zoho.uk" },
            // Accounts and people seen, calendar met in other people's code.
            Self::Ae => Hosts { accounts: "accounts.zoho.ae", people: "people.zoho.ae", calendar: "calendar.zoho.ae" },
            // Accounts and people seen, calendar by analogy. people.zoho.com.sg does not exist.
            Self::Sg => Hosts { accounts: "accounts.zoho.sg", people: "people.zoho.sg", calendar: "calendar.zoho.sg" },
        }
    }
}

/// What Zoho has at one of its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZohoHost {
    /// A product that is served here, in one of the data centres.
    Product(Product, DataCenter),
    /// The server that grants tokens.
    Accounts,
    /// Another product.
    Other,
}

impl ZohoHost {
    /// By a host's [name](crate::message::host::name); `None`: it is not under one of Zoho's domains.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        DataCenter::ALL.into_iter().find_map(|center| {
            if let Some(product) = Product::ALL.into_iter().find(|product| center.host(*product) == name) {
                return Some(Self::Product(product, center));
            }
            let accounts = center.hosts().accounts;
            if accounts == name {
                return Some(Self::Accounts);
            }
            let domain = accounts.strip_prefix("accounts.")?;
            let (_, ending) = domain.split_once('.')?;
            // `www.zohoapis.eu` is where Zoho's newer products answer.
            let api = name.strip_suffix(ending).and_then(|rest| rest.strip_suffix("zohoapis."));
            let under = |rest: &str| rest.is_empty() || rest.ends_with('.');
            (name.strip_suffix(domain).is_some_and(under) || api.is_some_and(under)).then_some(Self::Other)
        })
    }
}

impl fmt::Display for DataCenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The origins that are called for one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Grants and revokes tokens.
    pub accounts: Endpoint,
    /// Zoho People.
    pub people: Endpoint,
    /// Zoho Calendar.
    pub calendar: Endpoint,
}

impl Endpoints {
    /// The origin that serves a product.
    #[must_use]
    pub fn product(&self, product: Product) -> &Endpoint {
        match product {
            Product::People => &self.people,
            Product::Calendar => &self.calendar,
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
    /// The origin of a host of the table above.
    fn https(host: &'static str) -> Self {
        Self { scheme: Scheme::HTTPS, authority: Authority::from_static(host) }
    }

    /// `https`; `http` only where a configuration wrote it out.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Host and port as they go into a URI and into the Host header; in lower case.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The host alone; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// Whether what is sent there can be read on its way: not by `https`, and beyond this machine.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        let here = match host.parse::<std::net::IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        };
        self.scheme == Scheme::HTTP && !here
    }

    /// Whether the host is a name of the DNS, neither an address nor `localhost`.
    #[must_use]
    pub fn is_named(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        host != "localhost" && host.parse::<std::net::IpAddr>().is_err()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// What keeps a text from being an [`Endpoint`]. It never repeats the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No absolute URL at all.
    #[error("expected a URL such as https://people.zoho.com")]
    NotAUrl,
    /// A scheme that the gateway does not speak.
    #[error("expected a URL that begins with https:// or http://")]
    Scheme,
    /// `user:password@`.
    #[error("expected a URL without user name and password; credentials have keys of their own")]
    UserInfo,
    /// A port that no server can listen on.
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
        // What follows the host is nothing or a colon and a port.
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
    fn every_data_centre_has_three_hosts_of_one_domain() {
        for center in DataCenter::ALL {
            let endpoints = center.endpoints();
            let domain = endpoints.accounts.host().strip_prefix("accounts.").unwrap();
            assert_eq!(endpoints.people.host(), format!("people.{domain}"));
            assert_eq!(endpoints.calendar.host(), format!("calendar.{domain}"));
            for product in Product::ALL {
                assert_eq!(endpoints.product(product).host(), center.host(product));
                assert_eq!(*endpoints.product(product).scheme(), Scheme::HTTPS);
            }
        }
    }

    #[test]
    fn zohos_hosts_are_told_from_all_others() {
        for center in DataCenter::ALL {
            for product in Product::ALL {
                assert_eq!(ZohoHost::of(center.host(product)), Some(ZohoHost::Product(product, center)));
            }
            assert_eq!(ZohoHost::of(center.hosts().accounts), Some(ZohoHost::Accounts));
        }
        for name in
            ["crm.zoho.com", "zoho.eu", "www.zohoapis.com", "www.zohoapis.com.au", "www.zohoapis.ca", "mail.zoho.in"]
        {
            assert_eq!(ZohoHost::of(name), Some(ZohoHost::Other), "{name}");
        }
        for name in
            ["", "evilzoho.com", "people.zoho.com.evil.example", "zohoapis.evil.example", "com", "xzohoapis.com"]
        {
            assert_eq!(ZohoHost::of(name), None, "{name}");
        }
    }

    #[test]
    fn canada_is_not_where_analogy_puts_it() {
        assert_eq!(DataCenter::Ca.host(Product::People), "people.zohocloud.ca");
        assert_eq!(DataCenter::Ca.endpoints().accounts.to_string(), "https://accounts.zohocloud.ca");
    }

    #[test]
    fn takes_origins() {
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
    fn knows_what_crosses_a_network_in_the_clear() {
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
    fn refuses_everything_else() {
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
