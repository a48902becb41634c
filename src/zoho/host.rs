//! Zoho's hosts: a product, the accounts server, or another service.

use super::{data_center::DataCenter, product::Product};

/// The service at one of Zoho's hosts.
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
    /// By a host's [name](crate::message::host::name); `None` outside Zoho's domains.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        DataCenter::ALL.into_iter().find_map(|center| {
            if let Some(product) = Product::ALL.into_iter().find(|product| product.host(center) == name) {
                return Some(Self::Product(product, center));
            }
            let accounts = center.accounts_host();
            if accounts == name {
                return Some(Self::Accounts);
            }
            let domain = accounts.strip_prefix("accounts.")?;
            let (_, ending) = domain.split_once('.')?;
            // Zoho's newer products answer at `www.zohoapis.eu`.
            let api = name.strip_suffix(ending).and_then(|rest| rest.strip_suffix("zohoapis."));
            let under = |rest: &str| rest.is_empty() || rest.ends_with('.');
            (name.strip_suffix(domain).is_some_and(under) || api.is_some_and(under)).then_some(Self::Other)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zohos_hosts_are_distinguished_from_all_others() {
        for center in DataCenter::ALL {
            for product in Product::ALL {
                assert_eq!(ZohoHost::of(product.host(center)), Some(ZohoHost::Product(product, center)));
            }
            assert_eq!(ZohoHost::of(center.accounts_host()), Some(ZohoHost::Accounts));
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
}
