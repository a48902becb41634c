//! A Zoho login that the gateway uses for calls.

use std::{fmt, num::NonZeroU32, sync::Arc};

use crate::{
    message::host,
    secret::credential::Credential,
    zoho::{
        catalogue::{Route, Threshold},
        data_center::DataCenter,
        endpoint::Endpoints,
        product::Product,
        share::Share,
    },
};

/// One login: its data centre, its endpoints and its credentials.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name in the configuration.
    pub name: AccountName,
    /// Its data centre; callers may name its hosts in `Host`.
    pub data_center: DataCenter,
    /// Where its calls go: the data centre's hosts, or others that the configuration names.
    pub endpoints: Endpoints,
    /// OAuth client id.
    pub client_id: String,
    /// OAuth client secret.
    pub client_secret: Credential,
    /// OAuth refresh token.
    pub refresh_token: Credential,
    /// How many calls its plan allows in a day, for the products with a daily limit; `None` if they are not counted.
    pub daily_calls: Option<NonZeroU32>,
    /// The part of all its limits that this gateway uses, if others use the login too.
    pub share: Share,
}

impl Account {
    /// The product that an authority names for this account: by the endpoint itself, or by a host with any port and in
    /// any spelling, because a hosts file or a port mapping may direct that name here on any port.
    #[must_use]
    pub fn product_of(&self, authority: &str) -> Option<Product> {
        let name = host::name(authority);
        let spelled_out = |product: &Product| {
            let endpoint = self.endpoints.product(*product);
            authority.eq_ignore_ascii_case(endpoint.authority().as_str())
        };
        let named = |product: &Product| {
            let endpoint = self.endpoints.product(*product);
            // An address, or a private name with a port, may be the gateway's own.
            let only_the_endpoints = endpoint.is_named() && !(host::is_private(&name) && host::has_port(authority));
            name == product.host(self.data_center) || (name == host::name(endpoint.host()) && only_the_endpoints)
        };
        Product::ALL.into_iter().find(spelled_out).or_else(|| Product::ALL.into_iter().find(named))
    }

    /// How often this gateway may make a call with this account: its share of the route's threshold. `None` without a
    /// threshold.
    #[must_use]
    pub fn threshold(&self, route: &Route) -> Option<Threshold> {
        route.threshold.map(|whole| Threshold { requests: self.share.of(whole.requests), ..whole })
    }

    /// What this gateway may use of a route's limits in longer windows.
    pub fn further_limits(&self, route: &Route) -> impl Iterator<Item = Threshold> {
        route.further_limits.iter().map(|whole| Threshold { requests: self.share.of(whole.requests), ..*whole })
    }

    /// How many calls of a product this gateway may send in a day: its share of the plan's limit. `None` if they are not
    /// counted.
    #[must_use]
    pub fn daily_limit(&self, product: Product) -> Option<NonZeroU32> {
        self.daily_calls.filter(|_| product.has_daily_limit()).map(|whole| self.share.of(whole))
    }

    /// Whether it is the same login as another account: a refresh token belongs to one user of one client.
    #[must_use]
    pub fn shares_its_login_with(&self, other: &Self) -> bool {
        self.refresh_token.current().expose() == other.refresh_token.current().expose()
    }

    /// The hosts by which [`product_of`](Self::product_of) finds a product.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        let hosts = |product: Product| {
            [product.host(self.data_center).to_owned(), self.endpoints.product(product).host().to_owned()]
        };
        Product::ALL.into_iter().flat_map(hosts)
    }
}

/// An account's name. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(Arc<str>);

impl AccountName {
    /// A name from the configuration.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
