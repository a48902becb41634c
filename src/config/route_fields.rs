//! The fields of a route, for `[routes."ID"]` and `[[extra_routes]]`.

use std::{collections::HashMap, num::NonZeroU32, time::Duration};

use http::Method;
use serde::Deserialize;

use super::{
    keys::Kind,
    problem::Origin,
    reader::{Section, some_text},
    scalar::Off,
    source::{Entry, Node, Value},
};
use crate::zoho::catalogue::{
    Limit, Merge, NotMergeable, Parameter, Parameters, Provenance, Route, RouteGlob, RouteId, Stale, Threshold,
    Validation, template,
};

/// Every method, where a list of methods is expected.
const ANY: &str = "any";

/// No scope at all, where a list of scopes is expected.
const NONE: &str = "none";

/// The keys of a threshold; without one they have no meaning.
const OF_A_THRESHOLD: [&str; 5] = ["requests", "window", "lock", "limits", "pace"];

/// The lock of nearly all of Zoho's pages.
pub(super) const LOCK: Duration = Duration::from_secs(5 * 60);

/// Where the configuration describes a route, for messages about two that contradict each other.
pub(super) type Whereabouts = HashMap<RouteId, Origin>;

/// Reads every field that is there into the route.
pub(super) fn override_fields(section: &mut Section<'_>, route: &mut Route) {
    identity(section, route);
    threshold(section, route);
    if let Some(parameters) = parameters(section) {
        (route.parameters, route.unchecked) = (parameters, Vec::new());
    }
    let origin = section.whereabouts("validate");
    if let Some(validation) = section.given("validate") {
        if let Some(origin) = origin
            && validation == Validation::Strict
            && !route.parameters.are_documented()
        {
            let message = "the catalogue does not list this call's parameters, so strict would refuse every one; \
                           expected \"documented\", \"report\" or \"off\"";
            section.wrong("validate", &origin, message);
        }
        route.validation = validation;
    }
    let is_get = route.path.is_some() && (route.methods.is_empty() || route.methods == [Method::GET]);
    let uncacheable = match route.reads {
        // The calls of the older pages take any method.
        _ if !is_get => Some("only the answers of a GET route can be served again; expected \"0s\""),
        false => Some(
            "the call may change something at Zoho, which a cached answer would not; expected \"0s\", or also reads = true",
        ),
        true => None,
    };
    if let Some(cache) = period(section, "cache", uncacheable) {
        route.cache = cache;
    }
    let uncached = route.cache.is_zero().then_some("nothing is cached without cache; expected \"0s\", or also cache");
    if let Some(stale) = period(section, "stale_if_error", uncached) {
        route.stale_if_error = stale;
    }
    if let Some(merge) = section.optional("merge", |section| merge(section, route)) {
        route.merge = Some(merge);
    }
}

/// Reads rules in the language of the catalogue.
fn parameters(section: &mut Section<'_>) -> Option<Parameters> {
    const KEY: &str = "parameters";
    let origin = section.whereabouts(KEY)?;
    let Entry { node: Node { origin: given, value }, .. } = section.take(KEY)?;
    let Value::List(nodes) = value else {
        section.wrong_kind(KEY, &given, &Kind::Rules.expected(), &value);
        return None;
    };
    let (count, mut parameters) = (nodes.len(), Vec::new());
    for Node { origin, value } in nodes {
        match plain(value).and_then(|value| Parameter::deserialize(value).map_err(|error| error.message().to_owned())) {
            Ok(parameter) => parameters.push(parameter),
            Err(message) => section.wrong(KEY, &origin, message),
        }
    }
    if parameters.len() < count {
        return None;
    }
    Parameters::checked(parameters).map_err(|message| section.wrong(KEY, &origin, message)).ok()
}

/// A value without its positions.
fn plain(value: Value) -> Result<toml::Value, String> {
    Ok(match value {
        Value::Text(text) => toml::Value::String(text.expose().to_owned()),
        Value::Integer(number) => toml::Value::Integer(number.try_into().map_err(|_| "expected a smaller number")?),
        Value::Boolean(is) => toml::Value::Boolean(is),
        Value::List(nodes) => {
            toml::Value::Array(nodes.into_iter().map(|node| plain(node.value)).collect::<Result<_, _>>()?)
        }
        Value::Table(table) => {
            let entry = |entry: Entry| Ok((entry.key, plain(entry.node.value)?));
            toml::Value::Table(table.0.into_iter().map(entry).collect::<Result<_, String>>()?)
        }
        Value::Other(kind) => return Err(format!("expected no {kind} in a rule")),
    })
}

/// Reads how calls merge, and checks it against the rules of the route's page.
fn merge(section: &mut Section<'_>, route: &Route) -> Option<Merge> {
    let place = |key| section.whereabouts(key).unwrap_or_else(|| section.origin().clone());
    let (of_parameter, of_max) = (place("parameter"), place("max"));
    let parameter = section.parsed("parameter", some_text).map(|found| found.value);
    let max: Option<usize> = section.given("max");
    let merge = Merge { parameter: parameter?, max: max? };
    match merge.check(&route.parameters) {
        Ok(()) => return Some(merge),
        Err(NotMergeable::Parameter(message)) => section.wrong("parameter", &of_parameter, message),
        Err(NotMergeable::Max(message)) => section.wrong("max", &of_max, message),
    }
    None
}

/// A duration that has to be zero where there is a reason.
fn period(section: &mut Section<'_>, key: &str, reason: Option<&str>) -> Option<Duration> {
    let origin = section.whereabouts(key);
    let period: Duration = section.given(key)?;
    if let (Some(origin), Some(reason), false) = (origin, reason, period.is_zero()) {
        section.wrong(key, &origin, reason);
    }
    Some(period)
}

/// Reads the fields that say which requests belong to the route and who may make them.
fn identity(section: &mut Section<'_>, route: &mut Route) {
    if route.path.is_none() {
        for key in ["methods", "path", "aliases"] {
            if let Some(origin) = section.whereabouts(key) {
                section.wrong(
                    key,
                    &origin,
                    "the default route, which all other calls belong to, has neither methods nor paths",
                );
                section.take(key);
            }
        }
        if let Some(origin) = section.whereabouts("reads") {
            section.wrong("reads", &origin, "what the catalogue does not know may change something at Zoho");
            section.take("reads");
        }
    }
    if let Some(found) = section.list("methods", method)
        && !found.is_empty()
    {
        // One "any" among others is any.
        let methods: Option<Vec<Method>> = found.into_iter().map(|found| found.value).collect();
        route.methods = methods.unwrap_or_default();
        route.reads = Route::reads_by_its_name(&route.id, &route.methods);
    }
    if let Some(reads) = section.given("reads") {
        route.reads = reads;
    }
    if let Some(found) = section.list("stale", |text| text.parse::<RouteGlob>()) {
        route.stale = Stale { reads: found.into_iter().map(|found| found.value).collect(), by: None }.into();
    }
    let product = route.product;
    let path = |text: &str| template::parse(product.below_first_root(text));
    if let Some(found) = section.parsed("path", path) {
        route.path = Some(found.value);
    }
    if let Some(found) = section.list("aliases", path) {
        route.aliases = found.into_iter().map(|found| found.value).collect();
    }
    if let Some(found) = section.list("scopes", scope) {
        route.scopes = found.into_iter().filter_map(|found| found.value).collect();
    }
}

fn threshold(section: &mut Section<'_>, route: &mut Route) {
    let origin = section.whereabouts("throttle");
    let contradicting: Vec<&str> =
        OF_A_THRESHOLD.into_iter().filter(|key| section.whereabouts(key).is_some()).collect();
    let off = section.given::<Off>("throttle").is_some();
    let limits = limits(section, route);
    let (requests, window) = (section.given("requests"), section.given("window"));
    let (lock, pace) = (section.given("lock"), section.given("pace"));
    if let (Some((threshold, further)), Some(_)) = (limits, route.threshold) {
        (route.threshold, route.further_limits) = (Some(threshold), further);
        (route.trust, route.read) = (Provenance::Configured, None);
    }
    if let Some(threshold) = &mut route.threshold {
        let published: (NonZeroU32, Duration) = (threshold.requests, threshold.window);
        threshold.requests = requests.unwrap_or(threshold.requests);
        threshold.window = window.unwrap_or(threshold.window);
        threshold.lock = lock.unwrap_or(threshold.lock);
        threshold.pace = pace.unwrap_or(threshold.pace);
        if published != (threshold.requests, threshold.window) {
            (route.trust, route.read) = (Provenance::Configured, None);
        }
    }
    if off {
        (route.threshold, route.further_limits) = (None, Vec::new());
        if let Some(origin) = origin.filter(|_| !contradicting.is_empty()) {
            let keys = contradicting.join(", ");
            section.wrong("throttle", &origin, format!("\"off\" contradicts {keys}: expected one or the other"));
        }
    }
}

/// Reads several limits that hold at once.
fn limits(section: &mut Section<'_>, route: &Route) -> Option<(Threshold, Vec<Threshold>)> {
    let origin = section.whereabouts("limits")?;
    let instead = ["requests", "window", "lock"].into_iter().filter(|key| section.whereabouts(key).is_some());
    let contradicting: Vec<&str> = instead.collect();
    if !contradicting.is_empty() {
        let keys = contradicting.join(", ");
        section.wrong("limits", &origin, format!("contradicts {keys}: expected one or the other"));
    }
    let (mut all, mut are_valid) = (Vec::new(), true);
    let is_list = section.tables("limits", |section| {
        let lock = section.given("lock");
        match (section.given("requests"), section.given("window")) {
            (Some(requests), Some(window)) => all.push(Limit { requests, window, lock }),
            _ => are_valid = false,
        }
    });
    if !(is_list && are_valid) {
        return None;
    }
    let lock = route.threshold.map_or(LOCK, |threshold| threshold.lock);
    Threshold::of_limits(all, lock).map_err(|error| section.wrong("limits", &origin, error)).ok()
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
