//! `[routes."ID"]`: single fields of the catalogue, overridden.

use std::{collections::HashMap, num::NonZeroU32, ops::RangeInclusive, time::Duration};

use http::Method;

use super::{
    calls::{self, Whereabouts},
    nearest::did_you_mean,
    reader::Section,
};
use crate::zoho::catalogue::{Catalogue, Pace, Provenance, Route, Validation};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Zoho's thresholds are in the hundreds; what is far beyond is a slip.
const REQUESTS: RangeInclusive<u32> = 1..=1_000_000;

/// Zoho's windows are minutes; shorter ones are for tests.
const WINDOWS: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;

/// Zoho's locks are minutes; zero never believes in one.
const LOCKS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(7 * 24 * 3600);

/// Zero: never serve an answer again.
const CACHES: RangeInclusive<Duration> = Duration::ZERO..=DAY;

/// What a threshold is made of, and what therefore says nothing once it is off.
const OF_A_THRESHOLD: [&str; 4] = ["requests", "window", "lock", "pace"];

/// Applies every `[routes."ID"]` to the catalogue.
pub(super) fn apply(root: &mut Section<'_>, catalogue: &mut Catalogue, whereabouts: &mut Whereabouts) {
    let ids: Vec<String> = catalogue.iter().map(|route| route.id.to_string()).collect();
    let mut routes: HashMap<String, &mut Route> =
        catalogue.iter_mut().map(|route| (route.id.to_string(), route)).collect();
    root.sections("routes", |id, section| match routes.get_mut(id) {
        Some(route) => {
            override_fields(section, route);
            whereabouts.insert(route.id.clone(), section.origin().clone());
        }
        None => {
            section.refuse_by(|| unknown(id, section, &ids));
            section.discard();
        }
    });
}

/// The message for an id that is not in the catalogue.
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

pub(super) fn override_fields(section: &mut Section<'_>, route: &mut Route) {
    calls::identity(section, route);
    threshold(section, route);
    let origin = section.whereabouts("validate");
    if let Some(validation) = section.choice("validate", &Validation::ALL) {
        if let Some(origin) = origin
            && validation == Validation::Strict
            && !route.parameters.are_documented()
        {
            let message = "the catalogue does not list this call's parameters, so strict would refuse every one; \
                           expected \"documented\" or \"off\"";
            section.wrong("validate", &origin, message);
        }
        route.validation = validation;
    }
    let cache_origin = section.whereabouts("cache");
    if let Some(cache) = section.duration("cache", CACHES) {
        if let Some(origin) = cache_origin.clone()
            && !cache.is_zero()
            && !may_be_read(route)
        {
            section.wrong("cache", &origin, "only the answers of a GET route can be served again; expected \"0s\"");
        } else if let Some(origin) = cache_origin
            && !cache.is_zero()
            && !route.reads
        {
            let message = "the call may change something at Zoho, which a kept answer would not; expected \"0s\", or reads = true beside it";
            section.wrong("cache", &origin, message);
        }
        route.cache = cache;
    }
    let stale_origin = section.whereabouts("stale_if_error");
    if let Some(stale) = section.duration("stale_if_error", CACHES) {
        if let Some(origin) = stale_origin
            && !stale.is_zero()
            && route.cache.is_zero()
        {
            section.wrong(
                "stale_if_error",
                &origin,
                "nothing is kept without cache; expected \"0s\", or cache beside it",
            );
        }
        route.stale_if_error = stale;
    }
}

/// Whether there are GETs to be cached, and only those: the older pages' calls take any method.
fn may_be_read(route: &Route) -> bool {
    route.path.is_some() && (route.methods.is_empty() || route.methods == [Method::GET])
}

fn threshold(section: &mut Section<'_>, route: &mut Route) {
    let origin = section.whereabouts("throttle");
    let contradicting: Vec<&str> =
        OF_A_THRESHOLD.into_iter().filter(|key| section.whereabouts(key).is_some()).collect();
    let off = section.choice("throttle", &[("off", ())]).is_some();
    let requests = section.integer("requests", REQUESTS).and_then(NonZeroU32::new);
    let window = section.duration("window", WINDOWS);
    let lock = section.duration("lock", LOCKS);
    let pace = section.choice("pace", &[("burst", Pace::Burst), ("smooth", Pace::Smooth)]);
    if let Some(threshold) = &mut route.threshold {
        let published = (threshold.requests, threshold.window);
        threshold.requests = requests.unwrap_or(threshold.requests);
        threshold.window = window.unwrap_or(threshold.window);
        threshold.lock = lock.unwrap_or(threshold.lock);
        threshold.pace = pace.unwrap_or(threshold.pace);
        if published != (threshold.requests, threshold.window) {
            route.trust = Provenance::Configured;
        }
    }
    if off {
        route.threshold = None;
        if let Some(origin) = origin.filter(|_| !contradicting.is_empty()) {
            let keys = contradicting.join(", ");
            section.wrong("throttle", &origin, format!("\"off\" contradicts {keys}: expected one or the other"));
        }
    }
}
