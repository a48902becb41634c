//! Finds the account and the route of a request.

use std::{collections::BTreeMap, future::ready, sync::Arc};

use http::{Method, Response, header, request::Parts};

use super::{Matcher, Path, PathFault, location::LocationRewriter, target};
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

/// The default account, if several accounts are configured.
const DEFAULT_ACCOUNT: &str = "main";

/// Finds the account and the route of each request.
#[derive(Debug)]
pub struct Router {
    /// Every configured account.
    pub accounts: BTreeMap<AccountName, Arc<Account>>,
    /// The catalogue.
    pub matcher: Arc<Matcher>,
    /// Whether to reject a call that the catalogue does not know.
    pub deny_unknown: bool,
}

impl<S: Inner<Matched>> Middleware<Identified, S> for Router {
    type Response = Response<Body>;
    type Error = Refusal;

    fn handle(self: &Arc<Self>, identified: Identified, inner: &mut S) -> BoxFuture {
        match self.resolve(identified) {
            Ok((matched, rewriter)) => {
                let answer = inner.call(matched);
                Box::pin(async move {
                    let mut response = answer.await?;
                    rewriter.rewrite(response.headers_mut());
                    Ok(response)
                })
            }
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }
}

impl Router {
    /// The layer of this router.
    pub fn layer(self) -> MiddlewareLayer<Self> {
        MiddlewareLayer::new(self)
    }

    fn resolve(&self, mut identified: Identified) -> Result<(Matched, LocationRewriter), Refusal> {
        // `Gateway-*` fields are for the gateway even if `Connection` lists them: the gateway is their recipient.
        take_connection_options(&mut identified.head.headers, |name| name.starts_with("gateway-"));
        let (head, permissions) = (&identified.head, identified.permissions.as_deref());
        if head.method == Method::CONNECT {
            return Err(target::unknown_route("CONNECT is not proxied; call the gateway by its own address").into());
        }
        if head.method == Method::TRACE {
            // RFC 9110 section 9.3.8: the answer repeats the request as it arrived, with the access token.
            return Err(target::unknown_route("TRACE would show the account's access token to the caller").into());
        }
        if let Some(fault) = overridden(head) {
            return Err(Cause::InvalidPayload(vec![fault]).into());
        }
        let account = self.account(head, permissions)?;
        let named = |mut refusal: Refusal| {
            refusal.account = Some(account.name.clone());
            refusal
        };
        // The listener accepts at most one Host.
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let (product, target) =
            target::resolve(&account, &head.uri, host).map_err(|cause| named(Refusal::from(cause)))?;
        let path = Path::parse(target.path()).map_err(|fault| named(ambiguous(target.path(), fault)))?;
        let route = self.route(product, &head.method, &path).map_err(named)?;
        if let Some(what) = permissions.and_then(|own| forbidden(&identified.caller, own, &route, head)) {
            let refusal = named(Cause::CallerForbidden(what).into());
            return Err(Refusal { route: Some(route.id.clone()), ..refusal });
        }
        let rewriter = LocationRewriter::new(&account, product, &target, &head.uri, host);
        Ok((identified.matched(account, route, target), rewriter))
    }

    /// The account that the request names, or the default one.
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
            (Some(_), Some(_)) => return Err(unknown("expected one Gateway-Account field, found several".into())),
        };
        let name = AccountName::new(name);
        if permissions.is_some_and(|permissions| !permissions.covers(&name)) {
            // The same answer for existing and missing accounts.
            return Err(Cause::CallerForbidden(Forbidden::Account).into());
        }
        let account = self.accounts.get(&name).cloned();
        account.ok_or_else(|| unknown(format!("name one of these in Gateway-Account: {}", names())))
    }

    fn route(&self, product: Product, method: &Method, path: &Path) -> Result<Arc<Route>, Refusal> {
        if let Some(route) = self.matcher.known(product, method, path) {
            return Ok(route);
        }
        let default = if self.deny_unknown { None } else { self.matcher.default_route(product) };
        default.ok_or_else(|| {
            let (path, product) = (path.as_str(), product.as_str());
            target::unknown_route(format!("the catalogue does not have {method} {path} of {product}")).into()
        })
    }
}

/// Why the caller may not send this call, if so.
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

/// The part of a request that would make Zoho read another method, if there is one.
fn overridden(head: &Parts) -> Option<Fault> {
    let field = head.headers.keys().find(|name| method_override::is_override(name.as_str()));
    let field = field.map(|name| method_override::fault(name.as_str()));
    field.or_else(|| method_override::in_parameters(head.uri.query()?.as_bytes()))
}

/// Rejects a path that two servers could read differently.
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

/// The part of a path around its first two slashes, short enough for a message.
fn around_two_slashes(path: &str) -> &str {
    const AROUND: usize = 20;
    let at = path.find("//").unwrap_or_default();
    // A target is ASCII.
    path.get(at.saturating_sub(AROUND)..path.len().min(at + AROUND)).unwrap_or_default()
}
