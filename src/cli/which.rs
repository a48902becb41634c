//! `routes METHOD PATH`: the route of a call, its limit, and the reason.

use std::path::Path as FilePath;

use http::{Method, Uri};
use serde_json::{Value, json};

use super::{Failure, load, print, routes};
use crate::{
    config::UnknownRoute,
    message::host,
    middleware::route::{Matcher, Path, of_gateway_path},
    zoho::{
        account::Account,
        catalogue::{Catalogue, Route},
        host::ZohoHost,
        product::Product,
    },
};

pub(super) fn which(config: Option<&FilePath>, as_json: bool, method: &str, target: &str) -> Result<(), Failure> {
    let (catalogue, accounts, unknown) = match config {
        Some(path) => {
            let config = load(path)?;
            (config.catalogue, config.accounts, config.routing.unknown)
        }
        None => {
            let published = Catalogue::published().map_err(|error| Failure::Run(error.to_string()))?;
            (published, Vec::new(), UnknownRoute::Limit)
        }
    };
    let matcher = Matcher::new(&catalogue).map_err(|error| Failure::Run(error.to_string()))?;
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
        .map_err(|_| Failure::Usage(format!("{method:?} is not a method; expected one such as GET")))?;
    let (product, path) = asked(target, &accounts)?;
    let path = Path::parse(&path).map_err(|fault| Failure::Usage(format!("the path {fault}; it is refused")))?;
    let call = format!("{method} {} of {}", path.as_str(), product.as_str());
    let verdict = match matcher.known(product, &method, &path) {
        Some(route) => WhichResult { route: Some(route), known: true, call },
        None if unknown == UnknownRoute::Deny => WhichResult { route: None, known: false, call },
        None => WhichResult { route: matcher.default_route(product), known: false, call },
    };
    let text = if as_json { format!("{:#}\n", verdict.object(&accounts)) } else { verdict.text(&accounts) };
    Ok(print(&text)?)
}

/// Product and path of a URL of Zoho or a path of the gateway.
fn asked(target: &str, accounts: &[Account]) -> Result<(Product, String), Failure> {
    let usage = || {
        Failure::Usage(format!(
            "{target:?} is no path of {}; expected one such as /people/api/v1/courses/1/share or \
             https://people.zoho.com/api/v1/courses/1/share",
            Product::list("or", |product| product.title().to_owned())
        ))
    };
    let uri: Uri = target.parse().map_err(|_| usage())?;
    let path = uri.path();
    let asked = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let configured = || accounts.iter().find_map(|account| account.product_of(asked));
    let published = || match ZohoHost::of(&host::name(asked))? {
        ZohoHost::Product(product, _) => Some(product),
        ZohoHost::Accounts | ZohoHost::Other => None,
    };
    if let Some(product) = configured().or_else(published) {
        return Ok((product, path.to_owned()));
    }
    of_gateway_path(path).ok_or_else(usage)
}

struct WhichResult {
    /// `None`: the call is refused.
    route: Option<std::sync::Arc<Route>>,
    /// Whether the catalogue has an entry for it.
    known: bool,
    call: String,
}

impl WhichResult {
    /// Why this route.
    fn because(&self) -> &'static str {
        match (&self.route, self.known) {
            (Some(_), true) => "an entry of the catalogue fits",
            (Some(_), false) => {
                "no entry of the catalogue fits; all such calls share this one (routing.unknown = \"limit\")"
            }
            (None, _) => "no entry of the catalogue fits, so it is refused (routing.unknown = \"deny\")",
        }
    }

    fn object(&self, accounts: &[Account]) -> Value {
        let route = self.route.as_ref().map(|route| routes::object(route, accounts));
        let why = self.route.as_ref().map(|route| route.trust.in_words());
        json!({ "call": self.call, "known": self.known, "because": self.because(), "why": why, "route": route })
    }

    fn text(&self, accounts: &[Account]) -> String {
        let mut lines = vec![("call", self.call.clone())];
        if let Some(route) = &self.route {
            let paths = route.templates().collect::<Vec<_>>().join(" or ");
            let means = match route.path {
                Some(_) => format!("{} {paths}", routes::methods(route)),
                None => "every other call".to_owned(),
            };
            lines.push(("route", format!("{}: {means}", route.id)));
            lines.push(("", self.because().to_owned()));
            lines.push(("limit", routes::limit(route)));
            lines.extend(routes::shared(accounts).map(|account| {
                let rate = routes::rate(account.threshold(route));
                ("", format!("account {} uses {} of it: {rate}", account.name, account.share))
            }));
            lines.push(("why", format!("{}: {}", route.trust.as_str(), route.trust.in_words())));
            lines.push(("source", route.source.clone()));
            lines.extend(route.note.iter().map(|note| ("note", note.clone())));
            let scopes = if route.scopes.is_empty() { "none stated".to_owned() } else { route.scopes.join(" or ") };
            lines.push(("scopes", scopes));
        } else {
            lines.push(("route", self.because().to_owned()));
        }
        lines.iter().map(|(key, value)| format!("{key:<8}{value}\n")).collect()
    }
}
