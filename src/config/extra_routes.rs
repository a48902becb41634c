//! `[[extra_routes]]`: calls that the catalogue does not know, and routes that contradict each other.

use std::{collections::HashSet, num::NonZeroU32, time::Duration};

use super::{
    reader::Section,
    route_fields::{self, LOCK, Whereabouts},
};
use crate::{
    middleware::route::Matcher,
    zoho::{
        catalogue::{Catalogue, Pace, Provenance, Route, RouteGlob, RouteId, Stale, Threshold},
        product::Product,
    },
};

/// The window of all of Zoho's pages.
const WINDOW: Duration = Duration::from_secs(60);

/// Reads `[[extra_routes]]` and adds them to the catalogue.
pub(super) fn read(root: &mut Section<'_>, catalogue: &mut Catalogue, whereabouts: &mut Whereabouts) {
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
    if section.whereabouts("throttle").is_none() && section.whereabouts("limits").is_none() {
        section.required("requests", "the calls that its page allows in a window, or throttle = \"off\"");
    }
    let found = section.parsed("id", RouteId::parse);
    let known = found.is_some();
    // Without a valid id the other fields are checked as those of any product.
    let (product, id) = found.map_or_else(|| (Product::ALL[0], RouteId::new("")), |found| found.value);
    let text = |text: &str| Ok::<_, String>(text.to_owned());
    let source = section.parsed("source", text).map(|found| found.value);
    let note = section.parsed("note", text).map(|found| found.value);
    let threshold = Threshold { requests: NonZeroU32::MIN, window: WINDOW, lock: LOCK, pace: Pace::default() };
    let source = source.unwrap_or_else(|| "the configuration".to_owned());
    let mut route = Route {
        reads: Route::reads_by_its_name(&id, &[]),
        path: Some(String::new()),
        stale: Stale { reads: format!("{}.*", product.as_str()).parse::<RouteGlob>().into_iter().collect(), by: None }
            .into(),
        trust: Provenance::Configured,
        note,
        ..Route::new(product, id, threshold, source)
    };
    route_fields::override_fields(section, &mut route);
    // Without id and path there is no route; the reason is noted already.
    (known && route.path.as_deref() != Some("")).then_some(route)
}

/// Notes two routes that match the same requests, at the one that the configuration describes.
pub(super) fn contradictions(root: &Section<'_>, catalogue: &Catalogue, whereabouts: &Whereabouts) {
    if whereabouts.is_empty() {
        // The published catalogue has none: a test checks it.
        return;
    }
    let Err(ambiguous) = Matcher::new(catalogue) else { return };
    for ambiguity in ambiguous.iter() {
        let described = [&ambiguity.id, &ambiguity.other].into_iter().find_map(|id| whereabouts.get(id));
        let message = format!("{} answers to the same method and path as {}", ambiguity.id, ambiguity.other);
        root.wrong("routes", described.unwrap_or(root.origin()), message);
    }
}
