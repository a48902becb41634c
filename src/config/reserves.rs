//! `[callers.NAME] reserve` and `max_share`: what they must leave to others. Rules about them and other keys belong here.

use super::{
    Config,
    problem::{Findings, Origin, dotted},
};
use crate::{
    ledger::Terms,
    middleware::caller::Registered,
    zoho::{
        account::Account,
        catalogue::{Provenance, Route, RouteId},
    },
};

/// A caller's terms, and where they were written.
pub(super) struct LocatedTerms {
    pub(super) caller: String,
    pub(super) terms: Terms,
    pub(super) reserve: Option<Origin>,
}

/// Notes each term that contradicts another key.
pub(super) fn check(all: &[LocatedTerms], config: &Config, findings: &Findings) {
    for one in all {
        let wrong = |key: &str, origin: &Option<Origin>, message: &str| {
            if let Some(origin) = origin {
                findings.wrong(origin, dotted(["callers", &one.caller, key]), message);
            }
        };
        let Terms { reserve, max_share, .. } = one.terms;
        if let Some(most) = max_share.filter(|most| reserve > most.get()) {
            wrong("reserve", &one.reserve, &format!("expected at most {most}, which is its max_share"));
        } else if let Some(fault) = misfit(&one.caller, reserve, config) {
            wrong("reserve", &one.reserve, &fault);
        }
    }
}

/// What a reserve does not fit. It has to fit some route of its caller, and each route whose number the configuration
/// sets or whose id it allows. On other routes that are too small for it, it is cut: the catalogue has many numbers, and a
/// pattern may match them all.
fn misfit(caller: &str, reserve: u32, config: &Config) -> Option<String> {
    let own = config.callers.callers().find(|other| other.who.name() == caller).filter(|_| reserve > 0)?;
    let routes = config.accounts.iter().flat_map(|account| {
        let routes = config.throttled_routes_of(&account.name);
        routes.filter(|route| own.permissions.permit(&account.name, route)).map(move |route| (account, route))
    });
    let most = |(account, route)| Some((most_that_fits(own, account, route, config)?, route));
    let fits: Vec<(u32, &Route)> = routes.filter_map(most).collect();
    let named = |id: &RouteId| own.permissions.allow.iter().any(|glob| glob.is_exact() && glob.matches(id.as_str()));
    let explicit = |route: &Route| route.trust == Provenance::Configured || named(&route.id);
    let smallest = fits.iter().filter(|(_, route)| explicit(route)).min_by_key(|(most, _)| *most);
    let largest = fits.iter().max_by_key(|(most, _)| *most);
    let (most, route) = [smallest, largest].into_iter().flatten().find(|(most, _)| reserve > *most)?;
    let requests = route.threshold?.requests;
    Some(format!(
        "leaves others no slot of {}, whose limit is {requests}, together with the reserves of other callers; expected at \
         most {most}",
        route.id
    ))
}

/// The greatest reserve of this caller with which the route has a slot for others.
fn most_that_fits(own: &Registered, account: &Account, route: &Route, config: &Config) -> Option<u32> {
    let requests = account.threshold(route)?.requests.get();
    let others = config.callers.callers().filter(|other| other.who != own.who);
    let others = others.filter(|other| other.permissions.permit(&account.name, route));
    let reserved: u32 = others.map(|other| other.who.terms().reserve).fold(0, u32::saturating_add);
    Some((requests - 1).saturating_sub(reserved))
}
