//! The scopes that the routes in force need, and those that a login lacks.
//!
//! A route's page lists scopes of which any one suffices. Some pages list no scope; such a route needs none.

use std::collections::BTreeMap;

use super::{Scopes, covers, is_all};
use crate::zoho::catalogue::{Route, RouteId};

/// Routes that a login may not use because it lacks a scope.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing<'a> {
    /// Any one of these suffices.
    pub any_of: &'a [String],
    /// The routes, in the order of the catalogue.
    pub routes: Vec<&'a RouteId>,
}

/// A small set of scopes that serves every route, in the order of the catalogue. Each step takes the scope that serves
/// most of the routes left, and of two equal ones the narrower.
#[must_use]
pub fn needed(routes: &[Route]) -> Vec<&str> {
    let candidates = candidates(routes);
    let needs = needs(routes);
    let mut chosen: Vec<&str> = Vec::new();
    loop {
        let left: Vec<_> = needs.iter().filter(|(any_of, _)| !serves_any(&chosen, any_of)).collect();
        let worth = |scope: &str| -> usize {
            left.iter().filter(|(any_of, _)| serves(scope, any_of)).map(|(_, routes)| **routes).sum()
        };
        // Of equals `max_by_key` returns the last, and the first is needed.
        let best = candidates.iter().rev().max_by_key(|scope| (worth(scope), !is_all(scope)));
        match best {
            Some(best) if !left.is_empty() => chosen.push(best),
            _ => break,
        }
    }
    // A scope that was chosen early may have become superfluous.
    for scope in chosen.clone() {
        let others: Vec<&str> = chosen.iter().copied().filter(|other| *other != scope).collect();
        if needs.keys().all(|any_of| serves_any(&others, any_of)) {
            chosen = others;
        }
    }
    candidates.into_iter().filter(|scope| chosen.contains(scope)).collect()
}

/// The scopes that a grant lacks; spaces or commas separate the granted scopes.
#[must_use]
pub fn missing<'a>(routes: &'a [Route], granted: &str) -> Vec<Missing<'a>> {
    let granted = Scopes::parse(granted);
    let mut missing: Vec<Missing<'a>> = Vec::new();
    for route in routes.iter().filter(|route| !granted.suffice(&route.scopes)) {
        match missing.iter_mut().find(|missing| missing.any_of == route.scopes.as_slice()) {
            Some(missing) => missing.routes.push(&route.id),
            None => missing.push(Missing { any_of: &route.scopes, routes: vec![&route.id] }),
        }
    }
    missing
}

/// Every scope on a page, each in its first spelling.
fn candidates(routes: &[Route]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for scope in routes.iter().flat_map(|route| &route.scopes) {
        if !found.iter().any(|other| other.eq_ignore_ascii_case(scope)) {
            found.push(scope);
        }
    }
    found
}

/// The lists of scopes of which one is needed, each with its number of routes. Hundreds of routes share a few dozen
/// lists.
fn needs(routes: &[Route]) -> BTreeMap<&[String], usize> {
    let mut counted: BTreeMap<&[String], usize> = BTreeMap::new();
    for route in routes.iter().filter(|route| !route.scopes.is_empty()) {
        *counted.entry(&route.scopes).or_default() += 1;
    }
    counted
}

fn serves_any(scopes: &[&str], any_of: &[String]) -> bool {
    scopes.iter().any(|scope| serves(scope, any_of))
}

fn serves(scope: &str, any_of: &[String]) -> bool {
    any_of.iter().any(|wanted| covers(scope, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoho::catalogue::Catalogue;

    /// Routes that need one of the listed scopes each.
    fn routes(scopes: &[&[&str]]) -> Vec<Route> {
        let template = Catalogue::published().unwrap().routes.swap_remove(0);
        let route = |(number, scopes): (usize, &&[&str])| Route {
            id: RouteId::new(&format!("people.lms.call-{number}")),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            ..template.clone()
        };
        scopes.iter().enumerate().map(route).collect()
    }

    #[test]
    fn the_published_catalogue_needs_one_scope_of_each_section() {
        let catalogue = Catalogue::published().unwrap();
        let needed = needed(&catalogue.routes);
        for route in &catalogue.routes {
            assert!(route.scopes.is_empty() || serves_any(&needed, &route.scopes), "{}", route.id);
        }
        for expected in ["ZOHOPEOPLE.training.ALL", "ZohoCalendar.calendar.ALL"] {
            assert!(needed.contains(&expected), "{needed:?}");
        }
    }

    #[test]
    fn only_the_necessary_scopes_are_needed() {
        let cases: [(&[&[&str]], &[&str]); 7] = [
            (&[], &[]),
            (&[&[]], &[]),
            (&[&["P.a.ALL", "P.a.READ"]], &["P.a.READ"]),
            (&[&["P.a.ALL", "P.a.READ"], &["P.a.ALL", "P.a.CREATE"]], &["P.a.ALL"]),
            (&[&["P.a.READ"], &["P.b.READ"], &["P.a.UPDATE"]], &["P.a.READ", "P.b.READ", "P.a.UPDATE"]),
            (&[&["P.a.READ"], &["P.a.UPDATE"], &["P.a.ALL"]], &["P.a.ALL"]),
            (&[&["p.A.read"], &["P.a.READ"], &["P.b.ALL"]], &["p.A.read", "P.b.ALL"]),
        ];
        for (scopes, expected) in cases {
            assert_eq!(needed(&routes(scopes)), expected, "{scopes:?}");
        }
    }

    #[test]
    fn an_early_choice_that_became_superfluous_is_dropped() {
        // c serves four routes and is chosen first; a and b are needed anyway and serve those four as well.
        let scopes: [&[&str]; 6] = [
            &["P.c.X", "P.a.X"],
            &["P.c.X", "P.a.X"],
            &["P.c.X", "P.b.X"],
            &["P.c.X", "P.b.X"],
            &["P.a.X"],
            &["P.b.X"],
        ];
        assert_eq!(needed(&routes(&scopes)), ["P.a.X", "P.b.X"]);
    }

    #[test]
    fn missing_scopes_are_listed_with_their_routes() {
        let routes = routes(&[&["P.a.ALL", "P.a.READ"], &["P.b.READ"], &["P.b.READ"], &["P.b.CREATE", "P.b.ALL"], &[]]);
        let lack = |granted: &str| -> Vec<(String, usize)> {
            missing(&routes, granted).iter().map(|missing| (missing.any_of.join("|"), missing.routes.len())).collect()
        };
        for whole in ["P.a.READ P.b.ALL", "p.A.all,P.B.aLL", "P.a.READ, P.b.READ,P.b.CREATE"] {
            assert_eq!(lack(whole), [], "{whole}");
        }
        assert_eq!(lack("P.a.CREATE P.b.CREATE"), [("P.a.ALL|P.a.READ".into(), 1), ("P.b.READ".into(), 2)]);
        assert_eq!(lack("").len(), 3);
    }
}
