//! `[routes."ID"]`: overrides of catalogue entries.

use std::collections::HashMap;

use super::{
    nearest::did_you_mean,
    reader::Section,
    route_fields::{self, Whereabouts},
};
use crate::zoho::catalogue::{Catalogue, Route};

/// Applies every `[routes."ID"]` to the catalogue.
pub(super) fn apply(root: &mut Section<'_>, catalogue: &mut Catalogue, whereabouts: &mut Whereabouts) {
    let ids: Vec<String> = catalogue.iter().map(|route| route.id.to_string()).collect();
    let mut routes: HashMap<String, &mut Route> =
        catalogue.iter_mut().map(|route| (route.id.to_string(), route)).collect();
    root.sections("routes", |id, section| match routes.get_mut(id) {
        Some(route) => {
            route_fields::override_fields(section, route);
            whereabouts.insert(route.id.clone(), section.origin().clone());
        }
        None => {
            section.refuse_by(|| unknown(id, section, &ids));
            section.discard();
        }
    });
}

/// The message for an unknown id.
fn unknown(id: &str, section: &Section<'_>, ids: &[String]) -> String {
    let meant = format!("{id}.{}", section.unquoted());
    let begins = |known: &&String| known.strip_prefix(id).is_some_and(|rest| rest.starts_with('.'));
    let whole = ids.iter().find(|known| **known == meant).or_else(|| ids.iter().find(begins));
    match whole {
        Some(known) if section.has_tables() => {
            format!("unknown route; an id holds dots and needs quotes: [routes.\"{known}\"]")
        }
        _ => {
            let guess = did_you_mean(id, ids.iter().map(String::as_str));
            format!("unknown route{guess} (`zoho-gateway routes` lists them all)")
        }
    }
}
