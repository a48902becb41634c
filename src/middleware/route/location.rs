//! Rewrites Zoho's redirects to the form in which the caller calls the gateway.
//!
//! A location on one of the account's hosts leads back through the gateway, because a request past the gateway has no
//! token and is not counted. All other locations stay unchanged.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Uri, header, uri::PathAndQuery};
use oauth2::url::Url;

use crate::{
    problem::respond,
    zoho::{account::Account, product::Product},
};

/// The fields whose value is one location (RFC 9110 sections 10.2.2 and 8.7).
const FIELDS: [HeaderName; 2] = [header::LOCATION, header::CONTENT_LOCATION];

/// Rewrites the locations in the answer to one call.
#[derive(Debug)]
pub(super) struct LocationRewriter {
    account: Arc<Account>,
    product: Product,
    /// The target at Zoho, the base of relative locations.
    target: PathAndQuery,
    /// The authority by which the caller names the product; `None` if it names the product in the path.
    authority: Option<String>,
}

impl LocationRewriter {
    /// The rewriter for the answer to a call of `uri`, which leads to `target`.
    pub(super) fn new(
        account: &Arc<Account>,
        product: Product,
        target: &PathAndQuery,
        uri: &Uri,
        host: Option<&str>,
    ) -> Self {
        let by_host = uri.path_and_query() == Some(target);
        let authority = || uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default().to_owned();
        Self { account: Arc::clone(account), product, target: target.clone(), authority: by_host.then(authority) }
    }

    /// Rewrites the locations that lead to one of the account's hosts.
    pub(super) fn rewrite(&self, headers: &mut HeaderMap) {
        // An answer of the gateway itself needs no rewriting.
        if respond::is_own(headers) {
            return;
        }
        for (_, value) in headers.iter_mut().filter(|(name, _)| FIELDS.contains(name)) {
            if let Some(rewritten) = self.rewritten(value.as_bytes()).and_then(|location| location.try_into().ok()) {
                *value = rewritten;
            }
        }
    }

    /// The location as the caller can follow it; `None` for one that stays unchanged.
    ///
    /// It has an absolute path, and takes the rest from the caller's own URL (RFC 3986 section 5.2), so scheme, name
    /// and port are also right behind other proxies.
    fn rewritten(&self, location: &[u8]) -> Option<String> {
        if location.trim_ascii().is_empty() {
            return None;
        }
        let base = Url::parse(&format!("{}{}", self.account.endpoints.product(self.product), self.target)).ok()?;
        let url = base.join(&ascii(location)).ok()?;
        let product = self.product_at(&url, &base)?;
        let mut reference = match &self.authority {
            None => format!("/{}", product.as_str()),
            // Without the authority, a path that begins with two slashes would be read as a host.
            Some(authority) if product == self.product && url.path().starts_with("//") => format!("//{authority}"),
            Some(_) if product == self.product => String::new(),
            Some(authority) => format!("//{}", self.authority_of(product, authority)),
        };
        reference.push_str(url.path());
        for (mark, part) in [('?', url.query()), ('#', url.fragment())] {
            if let Some(part) = part {
                reference.push(mark);
                reference.push_str(part);
            }
        }
        Some(reference)
    }

    /// The product that a location leads to. If two products have one address, it is the product of the call.
    fn product_at(&self, url: &Url, base: &Url) -> Option<Product> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let (host, port) = (url.host_str()?, url.port_or_known_default()?);
        let same_server = Some(host) == base.host_str() && Some(port) == base.port_or_known_default();
        if same_server {
            return Some(self.product);
        }
        let by_port = self.account.product_of(&format!("{host}:{port}"));
        by_port.or_else(|| self.account.product_of(host).filter(|_| url.port().is_none()))
    }

    /// The authority of another product, for a caller that names its own product by `authority`.
    fn authority_of(&self, product: Product, authority: &str) -> String {
        let center = self.account.data_center;
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, format!(":{port}")),
            _ => (authority, String::new()),
        };
        let is_zoho = name.trim_end_matches('.').eq_ignore_ascii_case(self.product.host(center));
        match is_zoho {
            true => format!("{}{port}", product.host(center)),
            false => self.account.endpoints.product(product).authority().to_string(),
        }
    }
}

/// A location in ASCII. Some servers send other bytes unencoded; they are percent-encoded here.
fn ascii(location: &[u8]) -> String {
    let encoded = |byte: &u8| match byte {
        byte if byte.is_ascii() => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    location.iter().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::{
        middleware::route::target,
        secret::credential::Credential,
        zoho::{account::AccountName, data_center::DataCenter, share::Share},
    };

    fn account(people: Option<&str>, calendar: Option<&str>) -> Arc<Account> {
        let mut endpoints = DataCenter::Us.endpoints();
        if let Some(people) = people {
            *endpoints.product_mut(Product::People) = people.parse().unwrap();
        }
        if let Some(calendar) = calendar {
            *endpoints.product_mut(Product::Calendar) = calendar.parse().unwrap();
        }
        Arc::new(Account {
            name: AccountName::new("main"),
            data_center: DataCenter::Us,
            endpoints,
            client_id: String::new(),
            client_secret: Credential::awaited(None),
            refresh_token: Credential::awaited(None),
            daily_calls: None,
            share: Share::WHOLE,
        })
    }

    /// The location that the caller gets in the answer to this request.
    fn rewritten(account: &Arc<Account>, uri: &str, host: &str, location: &[u8]) -> String {
        let uri: Uri = uri.parse().unwrap();
        let (product, target) = target::resolve(account, &uri, Some(host)).unwrap();
        let rewriter = LocationRewriter::new(account, product, &target, &uri, Some(host));
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_bytes(location).unwrap());
        rewriter.rewrite(&mut headers);
        let value = headers[header::LOCATION].clone();
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    }

    #[track_caller]
    fn all(account: &Arc<Account>, uri: &str, host: &str, cases: &[(&str, &str)]) {
        for (location, expected) in cases {
            let rewritten = rewritten(account, uri, host, location.as_bytes());
            assert_eq!(rewritten, *expected, "{location} of {uri} {host}");
            // The caller's next request also leads to one of the account's hosts.
            let base = match uri.starts_with('/') {
                true => format!("http://{host}{uri}"),
                false => uri.to_owned(),
            };
            let next = Url::parse(&base).unwrap().join(&rewritten).unwrap();
            let target: Uri = format!("{}?{}", next.path(), next.query().unwrap_or_default()).parse().unwrap();
            let authority = &next[oauth2::url::Position::BeforeHost..oauth2::url::Position::AfterPort];
            let resolved = target::resolve(account, &target, Some(authority));
            assert!(resolved.is_ok(), "{location} of {uri} {host}: {next}");
        }
    }

    const COURSE: &str = "/api/v1/courses/1/share?a=1";

    #[test]
    fn locations_keep_the_product_in_the_path() {
        let account = account(None, None);
        for host in ["gateway:8080", "127.0.0.1", "[::1]:8080"] {
            all(
                &account,
                &format!("/people{COURSE}"),
                host,
                &[
                    ("https://people.zoho.com/api/v1/x?a=%5B1%5D&b#part", "/people/api/v1/x?a=%5B1%5D&b#part"),
                    ("https://people.zoho.com/people/api/forms", "/people/people/api/forms"),
                    ("https://people.zoho.com", "/people/"),
                    ("https://people.zoho.com?x=1", "/people/?x=1"),
                    ("https://people.zoho.com/x?", "/people/x?"),
                    // Other spellings of the host.
                    ("HTTPS://People.Zoho.COM:443/x", "/people/x"),
                    ("http://people.zoho.com/x", "/people/x"),
                    ("http://people.zoho.com:80/x", "/people/x"),
                    ("https://user:secret@people.zoho.com/x", "/people/x"),
                    ("//people.zoho.com/x", "/people/x"),
                    // The other product.
                    ("https://calendar.zoho.com/api/v1/calendars", "/calendar/api/v1/calendars"),
                    ("//calendar.zoho.com/x", "/calendar/x"),
                    // Relative (RFC 3986 section 5.2).
                    ("/api/v1/y", "/people/api/v1/y"),
                    ("/people/api/y", "/people/people/api/y"),
                    ("y", "/people/api/v1/courses/1/y"),
                    ("./y", "/people/api/v1/courses/1/y"),
                    ("../y?b", "/people/api/v1/courses/y?b"),
                    ("../../../../../../y", "/people/y"),
                    ("?b=2", "/people/api/v1/courses/1/share?b=2"),
                    ("#part", "/people/api/v1/courses/1/share?a=1#part"),
                    // Invalid forms that servers send.
                    (" /api/v1/y ", "/people/api/v1/y"),
                    ("/api/a b", "/people/api/a%20b"),
                    ("/api/café", "/people/api/caf%C3%A9"),
                    // A second slash stays below the prefix.
                    ("https://people.zoho.com//evil.example/x", "/people//evil.example/x"),
                ],
            );
        }
        let latin = rewritten(&account, "/people/api", "gateway", b"/api/caf\xe9");
        assert_eq!(latin, "/people/api/caf%E9");
        all(&account, "/calendar/api/v1/x", "gateway", &[("y", "/calendar/api/v1/y")]);
        all(&account, "http://127.0.0.1:8080/people/api/x", "127.0.0.1:8080", &[("/api/y", "/people/api/y")]);
    }

    #[test]
    fn locations_stay_on_the_host_that_the_caller_names() {
        let account = account(None, None);
        for (uri, host) in [
            (COURSE.to_owned(), "people.zoho.com"),
            (COURSE.to_owned(), "People.Zoho.com:443"),
            (format!("http://people.zoho.com{COURSE}"), "people.zoho.com"),
        ] {
            all(
                &account,
                &uri,
                host,
                &[
                    ("https://people.zoho.com/api/v1/x?a=1#part", "/api/v1/x?a=1#part"),
                    ("http://people.zoho.com/people/api/x", "/people/api/x"),
                    ("/api/y", "/api/y"),
                    ("../y", "/api/v1/courses/y"),
                    ("//people.zoho.com/y", "/y"),
                ],
            );
            let other = rewritten(&account, &uri, host, b"https://people.zoho.com//evil.example/x");
            let named = uri.parse::<Uri>().unwrap().authority().map_or(host.to_owned(), ToString::to_string);
            assert_eq!(other, format!("//{named}//evil.example/x"), "only the caller's own host");
        }
        for (host, other) in
            [("people.zoho.com", "//calendar.zoho.com/x"), ("people.zoho.com:443", "//calendar.zoho.com:443/x")]
        {
            all(&account, COURSE, host, &[("https://calendar.zoho.com/x", other)]);
        }
    }

    #[test]
    fn configured_endpoints_are_hosts_of_the_account() {
        let own = account(Some("http://127.0.0.1:1234"), Some("https://zoho.test:9999"));
        all(
            &own,
            "/people/api/x",
            "gateway",
            &[
                ("http://127.0.0.1:1234/api/y", "/people/api/y"),
                ("https://zoho.test:9999/y", "/calendar/y"),
                // Zoho's own name for the replaced endpoint.
                ("https://people.zoho.com/api/y", "/people/api/y"),
            ],
        );
        all(
            &own,
            "/api/x",
            "127.0.0.1:1234",
            &[("/api/y", "/api/y"), ("https://zoho.test:9999/y", "//zoho.test:9999/y")],
        );
        for location in ["http://127.0.0.1:9090/api/y", "http://127.0.0.1/api/y", "http://127.0.0.2:1234/y"] {
            assert_eq!(rewritten(&own, "/people/api/x", "gateway", location.as_bytes()), location);
        }
        let shared = account(Some("http://[::1]:1234"), Some("http://[::1]:1234"));
        all(&shared, "/calendar/api/x", "gateway", &[("http://[::1]:1234/y", "/calendar/y"), ("y", "/calendar/api/y")]);
        let plain = account(Some("http://127.0.0.1:80"), None);
        all(&plain, "/people/api/x", "gateway", &[("http://127.0.0.1/y", "/people/y")]);
    }

    #[test]
    fn all_other_locations_stay_unchanged() {
        let account = account(None, None);
        for location in [
            "https://accounts.zoho.com/signin?serviceurl=https://people.zoho.com/x",
            "https://people.zoho.eu/x",
            "https://people.zoho.com.example.com/x",
            "https://example.com/people/api",
            "https://people.zoho.com@example.com/x",
            "//example.com/x",
            "mailto:someone@example.com",
            "javascript:alert(1)",
            "https://people.zoho.com:99999/x",
            "https://[::1/x",
            "http://",
            "",
        ] {
            for (uri, host) in [("/people/api/x", "gateway"), ("/api/x", "people.zoho.com")] {
                assert_eq!(rewritten(&account, uri, host, location.as_bytes()), location);
            }
        }
    }

    #[test]
    fn every_value_is_rewritten_but_not_in_own_answers() {
        let account = account(None, None);
        let uri: Uri = "/people/api/x".parse().unwrap();
        let (product, target) = target::resolve(&account, &uri, None).unwrap();
        let rewriter = LocationRewriter::new(&account, product, &target, &uri, None);
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static("/jobs/1"));
        headers.insert("proxy-status", HeaderValue::from_static("zoho-gateway"));
        rewriter.rewrite(&mut headers);
        assert_eq!(headers[header::LOCATION], "/jobs/1");
        headers.remove("proxy-status");
        headers.append(header::LOCATION, HeaderValue::from_static("/jobs/2"));
        headers.append(header::CONTENT_LOCATION, HeaderValue::from_static("y"));
        respond::mark_as_merged(&mut headers);
        rewriter.rewrite(&mut headers);
        let values: Vec<_> = headers.get_all(header::LOCATION).iter().collect();
        assert_eq!(values, ["/people/jobs/1", "/people/jobs/2"]);
        assert_eq!(headers[header::CONTENT_LOCATION], "/people/api/y");
    }
}
