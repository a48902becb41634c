//! A Zoho login that the gateway calls with.

use std::{fmt, num::NonZeroU32, sync::Arc};

use crate::{
    catalogue::Product,
    credential::Credential,
    endpoint::{DataCenter, Endpoints},
};

/// One login: where it lives and what it is let in with.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name in the configuration.
    pub name: AccountName,
    /// Whose hosts its callers may name in `Host`.
    pub data_center: DataCenter,
    /// Where its calls go: the data centre's hosts, or what stands in their place.
    pub endpoints: Endpoints,
    /// OAuth client id.
    pub client_id: String,
    /// OAuth client secret.
    pub client_secret: Credential,
    /// OAuth refresh token.
    pub refresh_token: Credential,
    /// How many calls of People its plan allows in a day; `None`: not watched.
    pub daily_calls: Option<NonZeroU32>,
}

impl Account {
    /// The product that a `Host` names for this account: by the data centre's host, or by the endpoint in its place.
    #[must_use]
    pub fn product_of(&self, host: &str) -> Option<Product> {
        let names = |product: &Product| {
            let endpoint = self.endpoints.product(*product);
            host.eq_ignore_ascii_case(self.data_center.host(*product))
                || host.eq_ignore_ascii_case(endpoint.authority().as_str())
                // A name without its port is the endpoint's too; an address may as well be the gateway's own.
                || (host.eq_ignore_ascii_case(endpoint.host()) && endpoint.is_named())
        };
        Product::ALL.into_iter().find(names)
    }

    /// Whether it is the same login as another account: a refresh token stands for one user of one client.
    #[must_use]
    pub fn shares_its_login_with(&self, other: &Self) -> bool {
        self.refresh_token.current().expose() == other.refresh_token.current().expose()
    }

    /// The hosts by which [`product_of`](Self::product_of) finds a product.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        let hosts = |product: Product| {
            [self.data_center.host(product).to_owned(), self.endpoints.product(product).host().to_owned()]
        };
        Product::ALL.into_iter().flat_map(hosts)
    }
}

/// An account's name. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(Arc<str>);

impl AccountName {
    /// Takes the name as written in the configuration.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as written.
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
