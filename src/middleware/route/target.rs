//! Finds the product and the path at Zoho from a request's target.

use http::{Uri, uri::PathAndQuery};

use crate::{
    message::host,
    problem::Cause,
    zoho::{account::Account, host::ZohoHost, product::Product},
};

/// Finds the product, and path and query, byte for byte the caller's.
///
/// A request that names the Zoho host, in an absolute-form target or in `Host`, keeps its whole path. Every other
/// request names the product in its first segment, which is removed.
pub(super) fn resolve(account: &Account, uri: &Uri, host: Option<&str>) -> Result<(Product, PathAndQuery), Cause> {
    let Some(target) = uri.path_and_query() else {
        return Err(unknown_route("a target without a path is not proxied; call the gateway by its own address"));
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        // RFC 9110 section 4.2.4: a user before the host disguises the host.
        return Err(unknown_route("the target names a user before its host; write the host alone"));
    }
    let named = uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default();
    if let Some(product) = account.product_of(named) {
        return Ok((product, target.clone()));
    }
    if let Some(zoho_host) = ZohoHost::of(&host::name(named)) {
        return Err(unknown_route(wrong_host(account, &host::name(named), zoho_host)));
    }
    // A client may write the gateway's own address in absolute form (RFC 9112 section 3.2.2).
    if let Some(authority) = uri.authority()
        && !host::is_loopback(authority.host())
    {
        let name = &account.name;
        return Err(unknown_route(format!("{authority} is not a host of account {name}; other hosts are not proxied")));
    }
    let Some((product, rest)) = of_gateway_path(target.as_str()) else {
        if target.path().starts_with("//") {
            let advice = "end the base URL without a slash, as in http://127.0.0.1:8080/people";
            return Err(unknown_route(format!("the path begins with two slashes; {advice}")));
        }
        let paths = Product::list("or", |product| format!("/{}/", product.as_str()));
        return Err(unknown_route(format!("the path must begin with {paths}, or the request must name the Zoho host")));
    };
    // The rest begins with a slash and was part of a valid target, so this never fails.
    let rest = PathAndQuery::try_from(rest).map_err(|_| unknown_route("the target is not a path"))?;
    Ok((product, rest))
}

/// Why this account does not serve a host of Zoho's, and what to do.
fn wrong_host(account: &Account, host: &str, zoho_host: ZohoHost) -> String {
    let (ours, own) = (account.data_center, |product: Product| product.host(account.data_center));
    match zoho_host {
        ZohoHost::Product(product, center) => format!(
            "{host} is in Zoho's data centre {center}, and account {} is in {ours}; use {}, or name an account in \
             {center} (Gateway-Account)",
            account.name,
            own(product)
        ),
        ZohoHost::Accounts => format!(
            "{host} grants tokens, which services behind the gateway do not need; drop that request, because the gateway \
             signs each call with the account's own token"
        ),
        ZohoHost::Other => format!(
            "{host} is a host of another Zoho product; the gateway serves {} only",
            Product::list("and", |product| format!("Zoho {} ({})", product.title(), own(product)))
        ),
    }
}

/// The product that a path names in its first segment, and the rest of the path.
#[must_use]
pub fn of_gateway_path(path: &str) -> Option<(Product, String)> {
    Product::ALL.into_iter().find_map(|product| Some((product, strip(product, path)?)))
}

/// `/people/api?x=1` → `/api?x=1`, `/people?x=1` → `/?x=1`.
///
/// Also removes a second slash after the prefix, because a base URL that ends in a slash adds it. A third slash stays,
/// so the path is rejected.
fn strip(product: Product, target: &str) -> Option<String> {
    let rest = target.strip_prefix('/')?.strip_prefix(product.as_str())?;
    let rest = if rest.starts_with("//") && !rest.starts_with("///") { &rest[1..] } else { rest };
    match rest.chars().next() {
        Some('/') => Some(rest.to_owned()),
        Some('?') | None => Some(format!("/{rest}")),
        Some(_) => None,
    }
}

/// A rejection of a target, with the reason.
pub(super) fn unknown_route(detail: impl Into<String>) -> Cause {
    Cause::UnknownRoute { detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secret::credential::Credential,
        zoho::{account::AccountName, data_center::DataCenter, share::Share},
    };

    fn account() -> Account {
        let mut endpoints = DataCenter::Us.endpoints();
        *endpoints.product_mut(Product::Calendar) = "http://127.0.0.1:9999".parse().unwrap();
        *endpoints.product_mut(Product::People) = "https://zoho.test:9999".parse().unwrap();
        Account {
            name: AccountName::new("main"),
            data_center: DataCenter::Us,
            endpoints,
            client_id: String::new(),
            client_secret: Credential::awaited(None),
            refresh_token: Credential::awaited(None),
            daily_calls: None,
            share: Share::WHOLE,
        }
    }

    fn resolved(uri: &str, host: &str) -> Option<(Product, String)> {
        let (product, target) = resolve(&account(), &uri.parse().unwrap(), Some(host)).ok()?;
        Some((product, target.to_string()))
    }

    #[test]
    fn a_base_url_or_the_zoho_host_leads_to_the_product() {
        let (people, calendar) = (Product::People, Product::Calendar);
        for (uri, host, product, target) in [
            ("/people/api/v1/x?a=%5B1%5D&b", "127.0.0.1:8080", people, "/api/v1/x?a=%5B1%5D&b"),
            ("/calendar/api/v1/x", "gateway", calendar, "/api/v1/x"),
            ("/people", "gateway", people, "/"),
            ("/people?a=1", "gateway", people, "/?a=1"),
            ("/people/people/api/forms", "gateway", people, "/people/api/forms"),
            // A base URL that ends in a slash.
            ("/people//api/v1/x?a=//", "gateway", people, "/api/v1/x?a=//"),
            ("/calendar//api/v1/x", "gateway", calendar, "/api/v1/x"),
            ("/people//people/api/forms", "gateway", people, "/people/api/forms"),
            ("/people//?a=1", "gateway", people, "/?a=1"),
            ("/people//", "gateway", people, "/"),
            // Rejected later, for its path.
            ("/people///api", "gateway", people, "///api"),
            ("/people/api//x", "gateway", people, "/api//x"),
            ("//api", "people.zoho.com", people, "//api"),
            ("/people/api/forms", "people.zoho.com", people, "/people/api/forms"),
            ("/api/v1/x", "People.Zoho.com:443", people, "/api/v1/x"),
            ("/api/v1/x", "people.zoho.com:8080", people, "/api/v1/x"),
            ("/api/v1/x", "people.zoho.com:8443", people, "/api/v1/x"),
            ("/api/v1/x", "PEOPLE.ZOHO.COM.", people, "/api/v1/x"),
            ("/api/v1/x", "people.zoho.com.:8080", people, "/api/v1/x"),
            ("/api/v1/x", "calendar.zoho.com.:8443", calendar, "/api/v1/x"),
            ("/calendar/x", "calendar.zoho.com", calendar, "/calendar/x"),
            ("/api", "127.0.0.1:9999", calendar, "/api"),
            ("/api", "zoho.test:9999", people, "/api"),
            ("/api", "zoho.test", people, "/api"),
            ("/api", "Zoho.Test.", people, "/api"),
            // The port is not the endpoint's, so the host is the gateway.
            ("/people/api", "zoho.test:8080", people, "/api"),
            ("/people/api", "127.0.0.1", people, "/api"),
            ("http://people.zoho.com/api/v1/x", "ignored", people, "/api/v1/x"),
            ("http://people.zoho.com:80/api/v1/x", "ignored", people, "/api/v1/x"),
            ("http://people.zoho.com:8080/api/v1/x", "ignored", people, "/api/v1/x"),
            ("https://Calendar.Zoho.com.:8443/api/v1/x", "ignored", calendar, "/api/v1/x"),
            ("http://127.0.0.1:8080/people/x", "127.0.0.1:8080", people, "/x"),
        ] {
            assert_eq!(resolved(uri, host), Some((product, target.to_owned())), "{uri} {host}");
        }
    }

    #[test]
    fn zoho_hosts_are_recognised_by_any_port_and_spelling() {
        for center in DataCenter::ALL {
            let account = Account { data_center: center, ..account() };
            for product in Product::ALL {
                let host = product.host(center);
                let upper = host.to_ascii_uppercase();
                for spelling in [host.to_owned(), format!("{host}:8080"), format!("{upper}.:8443"), upper] {
                    let found = resolve(&account, &"/api/x".parse().unwrap(), Some(&spelling)).unwrap();
                    assert_eq!((found.0, found.1.as_str()), (product, "/api/x"), "{spelling}");
                    let absolute = format!("http://{spelling}/api/x").parse().unwrap();
                    assert_eq!(resolve(&account, &absolute, None).unwrap(), found, "{absolute}");
                }
            }
        }
    }

    #[test]
    fn zohos_other_hosts_are_explained() {
        for (uri, host, words) in [
            (
                "/api/x",
                "people.zoho.eu",
                "people.zoho.eu is in Zoho's data centre eu, and account main is in us; use people.zoho.com,",
            ),
            ("/people/api/x", "People.Zoho.in.:8080", "people.zoho.in is in Zoho's data centre in,"),
            ("http://calendar.zoho.com.au/api/x", "gateway", "use calendar.zoho.com,"),
            ("/oauth/v2/token", "accounts.zoho.com", "accounts.zoho.com grants tokens"),
            ("/crm/v2/Leads", "www.zohoapis.com", "www.zohoapis.com is a host of another Zoho product"),
            (
                "/people/api/x",
                "crm.zoho.com",
                "serves Zoho People (people.zoho.com) and Zoho Calendar (calendar.zoho.com) only",
            ),
        ] {
            let refused = resolve(&account(), &uri.parse().unwrap(), Some(host)).unwrap_err();
            let Cause::UnknownRoute { detail } = &refused else { panic!("{refused:?}") };
            assert!(detail.contains(words), "{uri} {host}: {detail}");
        }
    }

    #[test]
    fn rejects_all_other_targets() {
        for (uri, host) in [
            ("/", "gateway"),
            ("/peoples/api", "gateway"),
            ("/People/api", "gateway"),
            ("/api/v1/x", "gateway"),
            ("//people/api", "gateway"),
            ("/api/v1/x", "people.zoho.eu"),
            ("/api/v1/x", "people.zoho.com.."),
            ("/api/v1/x", "people.zoho.com.evil.example:443"),
            ("http://example.com/people/api", "people.zoho.com"),
            ("http://people.zoho.com.example.com/people/api", "gateway"),
            ("people.zoho.com:443", "people.zoho.com"),
        ] {
            assert_eq!(resolved(uri, host), None, "{uri} {host}");
        }
    }
}
