//! What makes a call the call it is: its methods, paths and scopes, for `[routes."ID"]` and `[[extra_routes]]`.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    time::Duration,
};

use http::Method;

use super::{overrides, problem::Origin, reader::Section};
use crate::{
    middleware::route::Matcher,
    zoho::{
        catalogue::{Catalogue, Pace, Provenance, Route, RouteId, Threshold, template},
        product::Product,
    },
};

/// Every method, where a list of methods is expected.
const ANY: &str = "any";

/// No scope at all, where a list of scopes is expected.
const NONE: &str = "none";

const AN_ID: &str = "an id such as \"people.forms.merge-records\"";
const A_PATH: &str = "a path such as \"/api/v1/courses/{courseId}/share\"";

/// What all of Zoho's pages call the window, and what nearly all state for the lock.
const WINDOW: Duration = Duration::from_secs(60);
const LOCK: Duration = Duration::from_secs(5 * 60);

/// Where the configuration says something about a call; for telling of two that contradict each other.
pub(super) type Whereabouts = HashMap<RouteId, Origin>;

/// Reads the fields that say which requests belong to the route and who may make them.
pub(super) fn identity(section: &mut Section<'_>, route: &mut Route) {
    if route.path.is_none() {
        for key in ["methods", "path", "aliases"] {
            if let Some(origin) = section.whereabouts(key) {
                section.wrong(key, &origin, "the stand-in for all other calls has neither methods nor paths");
                section.take(key);
            }
        }
        if let Some(origin) = section.whereabouts("reads") {
            section.wrong("reads", &origin, "what the catalogue does not know may change something at Zoho");
            section.take("reads");
        }
    }
    if let Some(found) = section.list("methods", "a method such as \"GET\", or \"any\"", method)
        && !found.is_empty()
    {
        // One "any" among others is any.
        let methods: Option<Vec<Method>> = found.into_iter().map(|found| found.value).collect();
        route.methods = methods.unwrap_or_default();
        route.reads = Route::reads_by_its_name(&route.id, &route.methods);
    }
    if let Some(reads) = section.boolean("reads") {
        route.reads = reads;
    }
    let product = route.product;
    let path = |text: &str| template::parse(product.below_first_root(text));
    if let Some(found) = section.parsed("path", A_PATH, path) {
        route.path = Some(found.value);
    }
    if let Some(found) = section.list("aliases", A_PATH, path) {
        route.aliases = found.into_iter().map(|found| found.value).collect();
    }
    if let Some(found) = section.list("scopes", "a scope such as \"ZOHOPEOPLE.training.ALL\", or \"none\"", scope) {
        route.scopes = found.into_iter().filter_map(|found| found.value).collect();
    }
}

/// Reads `[[extra_routes]]` and adds them to the catalogue.
pub(super) fn extra(root: &mut Section<'_>, catalogue: &mut Catalogue, whereabouts: &mut Whereabouts) {
    let mut routes: Vec<Route> = Vec::new();
    let mut ids: HashSet<RouteId> = catalogue.iter().map(|route| route.id.clone()).collect();
    root.tables("extra_routes", |section| {
        let Some(route) = extra_route(section) else { return };
        if !ids.insert(route.id.clone()) {
            section.refuse(format!("there is a call {} already", route.id));
            return;
        }
        whereabouts.insert(route.id.clone(), section.origin().clone());
        routes.push(route);
    });
    catalogue.routes.extend(routes);
}

fn extra_route(section: &mut Section<'_>) -> Option<Route> {
    section.required("id", AN_ID);
    section.required("path", A_PATH);
    if section.whereabouts("throttle").is_none() {
        section.required("requests", "the calls that its page allows in a window, or throttle = \"off\"");
    }
    let found = section.parsed("id", AN_ID, RouteId::parse);
    let known = found.is_some();
    // Without a usable id the other fields are checked all the same, as those of some product.
    let (product, id) = found.map_or_else(|| (Product::ALL[0], RouteId::new("")), |found| found.value);
    let text = |text: &str| Ok::<_, String>(text.to_owned());
    let source = section.parsed("source", "the address of a page", text).map(|found| found.value);
    let note = section.parsed("note", "a text", text).map(|found| found.value);
    let threshold = Threshold { requests: NonZeroU32::MIN, window: WINDOW, lock: LOCK, pace: Pace::Burst };
    let source = source.unwrap_or_else(|| "the configuration".to_owned());
    let mut route = Route {
        reads: Route::reads_by_its_name(&id, &[]),
        path: Some(String::new()),
        trust: Provenance::Configured,
        note,
        ..Route::new(product, id, threshold, source)
    };
    overrides::override_fields(section, &mut route);
    // What is not named or leads nowhere can be no call; the reason is noted already.
    (known && route.path.as_deref() != Some("")).then_some(route)
}

/// Notes calls that answer to the same requests. Of two, the one that the configuration speaks of is told.
pub(super) fn contradictions(root: &Section<'_>, catalogue: &Catalogue, whereabouts: &Whereabouts) {
    if whereabouts.is_empty() {
        // A test holds the published catalogue to it.
        return;
    }
    let Err(ambiguous) = Matcher::new(catalogue) else { return };
    for ambiguity in ambiguous.iter() {
        let spoken_of = [&ambiguity.id, &ambiguity.other].into_iter().find_map(|id| whereabouts.get(id));
        let message = format!("{} answers to the same method and path as {}", ambiguity.id, ambiguity.other);
        root.wrong("routes", spoken_of.unwrap_or(root.origin()), message);
    }
}

fn method(text: &str) -> Result<Option<Method>, &'static str> {
    match Method::from_bytes(text.as_bytes()) {
        _ if text == ANY => Ok(None),
        Ok(method) if text.chars().all(|c| c.is_ascii_uppercase()) => Ok(Some(method)),
        _ => Err("expected a method in capitals such as \"GET\", or \"any\""),
    }
}

fn scope(text: &str) -> Result<Option<String>, &'static str> {
    let words = text.split('.').filter(|word| !word.is_empty() && !word.contains([' ', ',']));
    match text {
        NONE => Ok(None),
        _ if words.count() >= 3 && text.split('.').count() >= 3 => Ok(Some(text.to_owned())),
        _ => Err("expected a scope such as \"ZOHOPEOPLE.training.ALL\", or \"none\""),
    }
}
