//! Finds the account and the route of a request.

use std::{collections::BTreeMap, future::ready, sync::Arc};

use http::{Method, Response, header, request::Parts};

use super::{Matcher, Path, PathFault, location::Locations, target};
use crate::{
    call::{Identified, Matched, permissions::Permissions},
    ledger::Caller,
    message::{body::Body, hop_by_hop::take_connection_options, method_override, payload_error::Fault},
    middleware::layer::{BoxFuture, Inner, Middleware, MiddlewareLayer},
    problem::{Cause, Forbidden, Refusal},
    zoho::{
        account::{Account, AccountName},
        catalogue::Route,
        product::Product,
    },
};

/// The account that serves callers who name none, where several stand side by side.
const DEFAULT_ACCOUNT: &str = "main";

/// Decides by account and path which route a request has.
#[derive(Debug)]
pub struct Router {
    /// Every configured account.
    pub accounts: BTreeMap<AccountName, Arc<Account>>,
    /// The catalogue.
    pub matcher: Matcher,
    /// Whether a call that the catalogue does not know is refused.
    pub deny_unknown: bool,
}

impl<S: Inner<Matched>> Middleware<Identified, S> for Router {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, identified: Identified, inner: &mut S) -> BoxFuture {
        match self.resolve(identified) {
            Ok((matched, locations)) => {
                let answer = inner.call(matched);
                Box::pin(async move {
                    let mut response = answer.await?;
                    locations.rewrite(response.headers_mut());
                    Ok(response)
                })
            }
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }
}

impl Router {
    /// Routes by these accounts and this catalogue.
    pub fn layer(self) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(self)
    }

    fn resolve(&self, mut identified: Identified) -> Result<(Matched, Locations), Refusal> {
        // What the caller asks of the gateway itself is asked of whoever receives it, and that is here.
        take_connection_options(&mut identified.head.headers, |name| name.starts_with("gateway-"));
        let (head, permissions) = (&identified.head, identified.permissions.as_deref());
        if head.method == Method::CONNECT {
            let detail = "tunnels (CONNECT) are not proxied; call the gateway by its own address".to_owned();
            return Err(Cause::UnknownRoute { detail }.into());
        }
        if head.method == Method::TRACE {
            // RFC 9110 section 9.3.8: its answer is the request as it arrived, and it arrives with the access token.
            let detail = "TRACE would hand the account's access token to the caller".to_owned();
            return Err(Cause::UnknownRoute { detail }.into());
        }
        if let Some(fault) = overridden(head) {
            return Err(Cause::InvalidPayload(vec![fault]).into());
        }
        let account = self.account(head, permissions)?;
        let named = |mut refusal: Refusal| {
            refusal.account = Some(account.name.clone());
            refusal
        };
        // The listener lets one in at most.
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let (product, target) =
            target::resolve(&account, &head.uri, host).map_err(|cause| named(Refusal::from(cause)))?;
        let path = Path::parse(target.path()).map_err(|fault| named(ambiguous(target.path(), fault)))?;
        let route = self.route(product, &head.method, &path).map_err(named)?;
        if let Some(what) = permissions.and_then(|own| forbidden(&identified.caller, own, &route, head)) {
            let refusal = named(Cause::CallerForbidden(what).into());
            return Err(Refusal { route: Some(route.id.clone()), ..refusal });
        }
        let locations = Locations::new(&account, product, &target, &head.uri, host);
        Ok((identified.matched(account, route, target), locations))
    }

    /// The account that the request names, or the one for callers who name none.
    fn account(&self, head: &Parts, permissions: Option<&Permissions>) -> Result<Arc<Account>, Refusal> {
        let unknown = |detail: String| Refusal::from(Cause::UnknownAccount { detail });
        let names = || self.accounts.keys().map(AccountName::as_str).collect::<Vec<_>>().join(", ");
        let mut named = head.headers.get_all("gateway-account").iter();
        let name = match (named.next(), named.next()) {
            (None, _) if permissions.is_some() => {
                permissions.and_then(|own| own.accounts.first()).map_or("", AccountName::as_str)
            }
            (None, _) if self.accounts.len() == 1 => {
                return self.accounts.values().next().cloned().ok_or_else(|| unknown(names()));
            }
            (None, _) => DEFAULT_ACCOUNT,
            (Some(name), None) => name.to_str().unwrap_or_default(),
            (Some(_), Some(_)) => return Err(unknown("Gateway-Account is given twice".into())),
        };
        let name = AccountName::new(name);
        if permissions.is_some_and(|permissions| !permissions.covers(&name)) {
            // The same for accounts that there are and that there are not.
            return Err(Cause::CallerForbidden(Forbidden::Account).into());
        }
        let account = self.accounts.get(&name).cloned();
        account.ok_or_else(|| unknown(format!("name one of these in Gateway-Account: {}", names())))
    }

    fn route(&self, product: Product, method: &Method, path: &Path) -> Result<Arc<Route>, Refusal> {
        if let Some(route) = self.matcher.known(product, method, path) {
            return Ok(route);
        }
        let other = if self.deny_unknown { None } else { self.matcher.other(product) };
        other.ok_or_else(|| {
            let detail = format!("the catalogue knows no {method} {} of {}", path.as_str(), product.as_str());
            Cause::UnknownRoute { detail }.into()
        })
    }
}

/// What a caller may not do of what it asks for, if anything.
fn forbidden(caller: &Caller, own: &Permissions, route: &Route, head: &Parts) -> Option<Forbidden> {
    if !own.allows(&route.id) {
        return Some(Forbidden::Route { caller: caller.clone(), route: route.id.clone() });
    }
    let writes = own.read_only && !route.changes_nothing(&head.method);
    writes.then(|| Forbidden::Write {
        caller: caller.clone(),
        method: head.method.clone(),
        route: route.id.clone(),
        known: route.path.is_some(),
    })
}

/// What could make another call of it.
fn overridden(head: &Parts) -> Option<Fault> {
    let field = head.headers.keys().find(|name| method_override::is_override(name.as_str()));
    let field = field.map(|name| method_override::fault(name.as_str()));
    field.or_else(|| method_override::in_parameters(head.uri.query()?.as_bytes()))
}

/// What two servers could read differently is refused.
fn ambiguous(path: &str, fault: PathFault) -> Refusal {
    let advice = match fault {
        PathFault::EmptySegment => {
            format!(" (`{}`); write one, and end a base URL without a slash", around_two_slashes(path))
        }
        _ => String::new(),
    };
    let detail = format!("the path {fault}{advice}");
    let fault = Fault { parameter: "path".to_owned(), pointer: String::new(), detail };
    Cause::InvalidPayload(vec![fault]).into()
}

/// The place in a path: enough to recognise it, too little to repeat a long path.
fn around_two_slashes(path: &str) -> &str {
    const AROUND: usize = 20;
    let at = path.find("//").unwrap_or_default();
    // A target is ASCII.
    path.get(at.saturating_sub(AROUND)..path.len().min(at + AROUND)).unwrap_or_default()
}
